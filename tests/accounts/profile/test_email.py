"""The e-mail for notices: both codes, then a signed link that works once, for its own account."""

import re
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.models import AuditEvent, Notice
from tests.support import sms_collector
from tests.support.concurrency import count_events
from tests.support.people import Person, browser, customer, logged_in

pytestmark = pytest.mark.django_db
PASSWORD, NEW = "/settings/password/", "/settings/password/new/"
RECOVERY, SHOWN = "/settings/recovery-codes/", "/settings/recovery-codes/new/"
EMAIL = "/settings/email/"
GOOD = "forty purple kettles hum"


@pytest.fixture(autouse=True)
def _collected_sms(settings: Any) -> None:
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    settings.EMAIL = True
    sms_collector.reset()


def codes(person: Person) -> dict[str, str]:
    return {"sms_code": sms_collector.newest().code, "totp_code": person.fresh_totp()}


def ask_email(person: Person, client: Client, email: str = "sara@example.com") -> Any:
    client.post(EMAIL, {"email": email} if email else {"remove": "1"})
    return client.post(f"{EMAIL}codes/", codes(person))


def link(number: int = -1) -> str:
    result = re.search(r"https?://\S+?(/settings/email/confirm/\S+)", str(mail.outbox[number].body))
    assert result
    return result[1]


def test_email_is_confirmed_by_the_link_and_its_button() -> None:
    person = customer()
    client = logged_in(person)
    assert ask_email(person, client)["Location"] == "/settings/"
    assert mail.outbox[-1].to == ["sara@example.com"]
    assert not person.reload().email
    assert client.get(link()).status_code == 200
    assert not person.reload().email, "looking at the link changes nothing"
    assert client.post(link())["Location"] == "/settings/"
    assert person.reload().email == "sara@example.com"
    assert set(Notice.objects.filter(event__event="email.changed").values_list("to", flat=True)) == {
        person.user.phone,
        "sara@example.com",
    }


def test_link_leads_to_the_configured_address_whatever_the_host_header_says(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    person = customer()
    client = logged_in(person)
    client.post(EMAIL, {"email": "sara@example.com"}, headers={"host": "evil.example"})
    client.post(f"{EMAIL}codes/", codes(person), headers={"host": "evil.example"})
    assert settings.BASE_URL in str(mail.outbox[-1].body)
    assert "evil" not in str(mail.outbox[-1].body)


def test_email_needs_both_codes_for_exactly_this_address() -> None:
    person = customer()
    client = logged_in(person)
    client.post(EMAIL, {"email": "sara@example.com"})
    right = codes(person)
    client.post(EMAIL, {"email": "thief@example.com"})
    sms_collector.messages.pop()
    response: Any = client.post(f"{EMAIL}codes/", right)
    assert response.context["form"].non_field_errors()
    assert not mail.outbox


def test_link_confirms_for_its_own_account_only_and_never_without_a_login() -> None:
    person, other = customer(), customer()
    ask_email(person, logged_in(person))
    assert logged_in(other).post(link()).status_code == 410
    assert browser().post(link())["Location"].startswith("/login/")
    assert not other.reload().email
    assert not person.reload().email


def test_link_works_once_and_a_change_voids_the_links_before_it() -> None:
    person = customer()
    client = logged_in(person)
    ask_email(person, client, "first@example.com")
    ask_email(person, client, "second@example.com")
    client.post(link(-1))
    assert client.post(link(-1))["Location"] == "/settings/"
    assert count_events(Event.EMAIL_CHANGED) == 1
    assert client.post(link(-2)).status_code == 410
    assert person.reload().email == "second@example.com"


def test_link_is_over_after_a_day_and_when_it_is_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    person = customer()
    client = logged_in(person)
    ask_email(person, client)
    assert client.post(link()[:-2] + "x/").status_code == 410
    monkeypatch.setattr("accounts.profile.email.LIFETIME", -1)
    assert client.post(link()).status_code == 410
    assert not person.reload().email


def test_old_email_is_notified_when_replaced_or_removed() -> None:
    person = customer()
    client = logged_in(person)
    person.user.email = "old@example.com"
    person.user.save()
    ask_email(person, client, "")
    assert not person.reload().email
    assert Notice.objects.filter(event__event="email.changed", to="old@example.com").count() == 1


@pytest.mark.parametrize(
    "email", ["nobody", "a@b", "a@example.com\r\nBcc: b@example.com", "x" * 250 + "@e.com"]
)
def test_invalid_email_is_refused_at_its_field(email: str) -> None:
    response = logged_in(customer()).post(EMAIL, {"email": email})
    assert "email" in response.context["form"].errors


def test_without_a_mail_server_there_is_no_email_page(settings: Any) -> None:
    settings.EMAIL = False
    client = logged_in(customer())
    assert client.get(EMAIL).status_code == 404
    assert client.get(f"{EMAIL}codes/").status_code == 404
    assert EMAIL not in client.get("/settings/").content.decode()


def test_no_event_of_a_change_holds_a_number_or_an_address_in_clear() -> None:
    person = customer()
    client = logged_in(person)
    ask_email(person, client)
    client.post(link())
    details = " ".join(str(event.detail) for event in AuditEvent.objects.all())
    assert "sara@example.com" not in details
    assert person.user.phone not in details


def test_sms_names_what_it_approves() -> None:
    client = logged_in(customer())
    client.post(EMAIL, {"email": "sara@example.com"})
    assert approvals.change_email("sara@example.com").sentence in sms_collector.newest("email.change").text
