"""Invitations: a link opens one account, for its number, once, within 72 hours."""

import json
import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core import signing
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.actions import invitations, pending_accounts
from accounts.choices.events import Event
from accounts.models import Invitation, User
from tests.accounts.registration.test_signup import confirmed
from tests.support import people, sms_collector
from tests.support.anonymous import GOOD_PASSWORD as GOOD
from tests.support.concurrency import count_events
from tests.support.production import HOST

pytestmark = pytest.mark.django_db
SIGNUP, CODE, PASSWORD = "/signup/", "/signup/code/", "/signup/password/"


@pytest.fixture(autouse=True)
def _by_invitation(settings: Any) -> None:
    settings.SIGNUP = "invite"
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    sms_collector.reset()


def invite(phone: str = "") -> tuple[str, dict[str, str]]:
    out = StringIO()
    call_command("invite", phone or people.next_phone(), "--json", stdout=out)
    made = json.loads(out.getvalue())
    return made["link"].removeprefix("https://" + HOST), made


def through(path: str) -> Client:
    """Return a browser that followed the link up to the password page."""
    client = people.browser()
    assert client.post(path)["Location"] == CODE
    code = sms_collector.newest("account.sign_up").code
    assert client.post(CODE, {"code": code})["Location"] == PASSWORD
    return client


def test_link_opens_one_account_for_its_number() -> None:
    path, made = invite()
    assert count_events(Event.INVITED) == 1
    page = people.browser().get(path)
    assert made["phone"] not in page.content.decode()
    assert not sms_collector.messages, "looking at the link sends nothing"
    answer = through(path).post(PASSWORD, {"password": GOOD})
    assert answer["Location"] == "/enrol/totp/"
    assert User.objects.get(phone=made["phone"]).is_active
    assert Invitation.objects.get().used_at
    assert people.browser().get(path).status_code == 410


def test_without_a_link_there_is_no_way() -> None:
    assert people.browser().post(SIGNUP, {"phone": people.next_phone()}).status_code == 403
    assert not User.objects.exists()


def test_sign_up_that_began_when_it_was_open_ends(settings: Any) -> None:
    settings.SIGNUP = "open"
    client = confirmed()
    settings.SIGNUP = "invite"
    assert client.post(PASSWORD, {"password": GOOD}).status_code == 403


def test_invitation_used_elsewhere_meanwhile_opens_nothing() -> None:
    path, _made = invite()
    client = through(path)
    Invitation.objects.update(used_at=timezone.now())
    assert client.post(PASSWORD, {"password": GOOD})["Location"] == SIGNUP
    assert not User.objects.exclude(joined_at=None).exists()


def test_account_is_not_opened_when_its_invitation_cannot_be_used() -> None:
    user = pending_accounts.get_or_create_row(people.next_phone())
    with pytest.raises(pending_accounts.NumberTakenError):
        pending_accounts.open_account(people._request(), user, GOOD, 4711)
    user.refresh_from_db()
    assert user.joined_at is None
    assert not user.is_active
    assert not count_events(Event.SIGNED_UP)


def test_expired_link_is_refused() -> None:
    path, _made = invite()
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert people.browser().post(path).status_code == 410
    assert not sms_collector.messages


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: "9" + t, lambda t: "x", lambda t: "%00"])
def test_changed_link_is_refused(change: Any) -> None:
    path, _made = invite()
    token = path.split("/")[-2]
    assert people.browser().post(f"/signup/invited/{change(token)}/").status_code == 404


def test_a_token_that_was_signed_for_something_else_is_refused() -> None:
    token = signing.TimestampSigner(salt="another").sign("1")
    assert invitations.read(token) is invitations.InvitationError.FORGED


def test_command_refuses_numbers_that_are_none_or_taken() -> None:
    with pytest.raises(CommandError, match="Not a mobile number"):
        call_command("invite", "12")
    with pytest.raises(CommandError, match="account already"):
        call_command("invite", people.customer().user.phone)


def test_command_prints_the_link_alone() -> None:
    out = StringIO()
    call_command("invite", "09121234567", stdout=out)
    assert re.fullmatch(rf"https://{re.escape(HOST)}/signup/invited/\S+/\n", out.getvalue())
