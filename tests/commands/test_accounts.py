"""Operators' commands about people: create_staff, freeze_account, thaw_account, send_test_sms."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.actions import pending_accounts
from accounts.audit import activity
from accounts.models import Notice, SmsCode, User
from tests.support import people, sms_collector
from tests.support.people import customer, key_of, logged_in, newcomer, next_phone
from tests.support.staff import events

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
GOOD = "correct horse battery staple"
WHY = "Ticket 4711: phone stolen"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{GOOD}\n"))


def text(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def refused(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command(*arguments)
    return caught.value


@pytest.mark.parametrize("role", ["support", "security", "auditor"])
def test_a_member_of_staff_has_the_role_and_enrols_at_the_first_login(
    role: str, typed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = next_phone()
    pending_accounts.get_or_create_row(
        phone
    )  # somebody typed the number into "forgotten password" a minute ago
    call_command("create_staff", phone, "--role", role, "--name", "Mina", "--password-stdin", "--json")
    assert text(capsys) == {"phone": phone, "role": role, "superuser": False}
    user = User.objects.get(phone=phone)
    assert user.is_staff
    assert not user.is_superuser
    assert user.is_active
    assert user.joined_at is not None
    assert [group.name for group in user.groups.all()] == [role]
    assert not user.has_both_factors
    (event,) = events("staff.made")
    assert event.customer_id == user.pk
    assert event.detail["role"] == role
    assert GOOD not in json.dumps(event.detail)
    browser = people.browser()
    answer = browser.post("/login/", {"phone": phone, "password": GOOD}, follow=True)
    assert answer.redirect_chain[-1][0] == "/enrol/sms/"


def test_a_superuser_is_made(typed: None) -> None:
    phone = next_phone()
    call_command("create_staff", phone, "--superuser", "--password-stdin")
    user = User.objects.get(phone=phone)
    assert user.is_staff
    assert user.is_superuser
    assert user.check_password(GOOD)


def test_a_customer_does_not_become_staff_and_nobody_gets_a_weak_password(
    typed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sara = newcomer()
    refusal = refused("create_staff", sara.user.phone, "--role", "support", "--password-stdin")
    assert "an account already" in str(refusal)
    monkeypatch.setattr("sys.stdin", io.StringIO("12345678\n"))
    refusal = refused("create_staff", next_phone(), "--role", "support", "--password-stdin")
    assert "12345678" not in str(refusal)
    assert refusal.returncode == 1
    assert not User.objects.filter(is_staff=True).exists()


def test_without_a_terminal_the_password_has_to_come_from_stdin(typed: None) -> None:
    assert refused("create_staff", next_phone(), "--role", "support").returncode == 2


def test_a_frozen_account_is_stopped_told_and_thawed(capsys: pytest.CaptureFixture[str]) -> None:
    sara = customer()
    key_of(sara)
    browser = logged_in(sara)
    local = "0" + sara.user.phone.removeprefix("+98")
    for changed in (True, False):
        call_command("freeze_account", local, "--reason", WHY, "--json")
        assert text(capsys) == {"phone": sara.user.phone, "state": "frozen", "changed": changed}
    assert sara.reload().frozen_at is not None
    assert browser.get("/").status_code == 302  # its sessions are over
    for changed in (True, False):
        call_command("thaw_account", local, "--reason", "Ticket 4711: was a mistake", "--json")
        assert text(capsys) == {"phone": sara.user.phone, "state": "thawed", "changed": changed}
    assert sara.reload().frozen_at is None
    frozen, thawed = events("account.frozen", "account.thawed")
    assert frozen.detail == {"via": "command", "reason": WHY}
    assert thawed.detail["via"] == "command"
    assert Notice.objects.filter(event=frozen, user=sara.user).exists()
    row = activity.row(frozen)
    assert WHY in row.detail
    assert "هیتوبیت" in row.detail


@pytest.mark.parametrize("command", ["freeze_account", "thaw_account"])
def test_the_number_must_have_an_account_and_the_reason_a_text(command: str) -> None:
    sara = customer()
    assert refused(command, sara.user.phone, "--reason", " ").returncode != 0
    assert refused(command, "not a number", "--reason", WHY).returncode != 0
    assert refused(command, next_phone(), "--reason", WHY).returncode == 1
    assert (
        refused(command, pending_accounts.get_or_create_row(next_phone()).phone, "--reason", WHY).returncode
        == 1
    )
    assert not events("account.frozen", "account.thawed")


def test_a_test_message_says_who_took_it_and_nothing_of_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    phone = next_phone()
    call_command("send_test_sms", phone, "--json")
    notified = text(capsys)
    (one,) = notified["tries"]
    assert notified["sent"]
    assert one["provider"] == "tests.support.sms_collector"
    assert one["took"]
    assert one["took_ms"] >= 0
    assert [message.to for message in sms_collector.messages] == [phone]
    assert not SmsCode.objects.exists()
    (event,) = events("sms.tested")
    assert phone not in event.label
    assert event.succeeded


def test_a_test_message_that_nobody_took_ends_with_1(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sms_collector.failing = True
    assert refused("send_test_sms", next_phone(), "--json").returncode == 1
    notified = text(capsys)
    assert not notified["sent"]
    assert notified["tries"][0]["error"] == "SmsError"
    settings.SMS_BACKENDS = []
    assert "PORTAL_SMS_BACKENDS" in str(refused("send_test_sms", next_phone()))
