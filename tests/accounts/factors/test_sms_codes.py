"""SMS codes: text, limits, and provider failures."""

import json
import logging
import re
import stat
import sys
import types
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone, translation

from accounts.choices import approvals
from accounts.choices.approvals import Approval
from accounts.factors import sms_codes
from accounts.factors.sms_codes import SendStatus
from accounts.models import AuditEvent, SmsCode
from accounts.sms import SmsError, console, file
from accounts.sms import send as send_sms
from apikeys.policy.approvals import KeyPurpose
from hitobit_portal.i18n.bidi import without_isolates
from hitobit_portal.security.ratelimits import Rate
from tests.support import sms_collector
from tests.support.people import Person, address, customer, request_of

pytestmark = pytest.mark.django_db
PHONE = "+989121234567"


@pytest.fixture(autouse=True)
def _collected(settings: Any) -> None:
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    sms_collector.reset()


def send(person: Person, approval: Approval = approvals.LOGIN, caller: str = "203.0.113.7") -> SendStatus:
    return sms_codes.send_code(request_of(person, caller), person.user, approval).state


def named(name: str) -> Approval:
    return Approval(KeyPurpose.CREATE, {"name": name}, {"name": name})


def back_end(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception | None = None) -> list[str]:
    """Register a back-end under a dotted path; the returned list receives its messages."""
    module, taken = types.ModuleType(name), list[str]()

    def handed(phone: str, text: str, *, code: str, purpose: str) -> None:
        taken.append(code)
        if error is not None:
            raise error

    module.send = handed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    return taken


def test_message_has_the_code_and_names_what_it_is_for(sara: Person) -> None:
    with translation.override("fa"):
        send(sara, named("ربات معامله"))
    message = sms_collector.newest()
    assert re.fullmatch("[0-9]{6}", message.code)
    assert message.code in message.text
    assert "ربات معامله" in message.text
    assert (message.to, message.purpose) == (sara.user.phone, "key.create")


@pytest.mark.parametrize("language", ["fa", "en"])
def test_last_line_binds_the_code_to_this_site_so_that_phones_fill_it_in_here_only(
    sara: Person, settings: Any, language: str
) -> None:
    """The format of the WICG draft: the last line is ``@host #code``, without a port, and nothing follows."""
    settings.BASE_URL = "https://keys.portal.example:8443"
    with translation.override(language):
        send(sara, named("@evil.example #000000"))
    message = sms_collector.newest()
    assert message.text.splitlines()[-2:] == ["", f"@keys.portal.example #{message.code}"]
    assert message.text.count("#" + message.code) == 1


def test_message_about_a_change_names_each_part_of_it(sara: Person) -> None:
    words = {"name": "bot", "changes": "Add the permission “Withdraw”; Add IP 203.0.113.0/24"}
    send(sara, Approval(KeyPurpose.CHANGE, {"x": 1}, words))
    assert "Add IP 203.0.113.0/24" in sms_collector.newest().text


def test_name_with_format_placeholders_is_sent_unchanged(sara: Person) -> None:
    send(sara, named("100%(name)s %s {0}"))
    assert "100%(name)s %s {0}" in sms_collector.newest().text


def test_codes_are_spread_over_all_six_digits(sara: Person) -> None:
    for number in range(9):
        send(sara, named(f"bot {number}"))
    assert len({message.code for message in sms_collector.messages}) >= 8


def test_same_approval_within_a_minute_sends_nothing(sara: Person) -> None:
    assert send(sara) is SendStatus.SENT
    again = sms_codes.send_code(request_of(sara), sara.user, approvals.LOGIN)
    assert again.state is SendStatus.WAITING
    assert 1 <= again.seconds_until_resend <= 60
    assert len(sms_collector.messages) == 1


def test_another_content_is_sent_at_once_and_voids_the_code_before_it(sara: Person) -> None:
    send(sara, named("one"))
    assert send(sara, named("two")) is SendStatus.SENT
    assert SmsCode.objects.get().binding == named("two").binding


def test_other_purposes_do_not_void_a_code(sara: Person) -> None:
    send(sara, named("one"))
    send(sara, approvals.LOGIN)
    assert set(SmsCode.objects.values_list("purpose", flat=True)) == {"key.create", "login"}


def test_phone_takes_so_many_messages_in_ten_minutes(sara: Person) -> None:
    most = Rate.SMS_PHONE.value.count
    states = [send(sara, named(f"bot {n}"), address(n)) for n in range(most + 2)]
    assert states == [SendStatus.SENT] * most + [SendStatus.CAPPED] * 2
    assert len(sms_collector.messages) == most <= 20
    notified = AuditEvent.objects.get(customer=sara.user, event="sms.capped", succeeded=False)
    assert notified.detail["cap"] == "sms_phone"


def test_capped_try_leaves_the_code_before_it_alone(sara: Person) -> None:
    for number in range(Rate.SMS_PHONE.value.count + 1):
        send(sara, named(f"bot {number}"))
    assert SmsCode.objects.get().binding == named(f"bot {Rate.SMS_PHONE.value.count - 1}").binding


def test_address_is_capped_over_many_accounts() -> None:
    most = Rate.SMS_ADDRESS.value.count
    people = [customer() for _n in range(most // 10 + 1)]
    states = [send(people[n // 10], named(f"bot {n}"), "198.51.100.1") for n in range(most + 1)]
    assert states == [SendStatus.SENT] * most + [SendStatus.CAPPED]


def test_failing_provider_leaves_nothing_half_made_and_the_next_try_is_free(sara: Person) -> None:
    sms_collector.failing = True
    assert send(sara) is SendStatus.FAILED
    row = SmsCode.objects.get()
    assert (row.digest, row.delivery) == ("", "failed")
    assert AuditEvent.objects.get(customer=sara.user).event == "sms.failed"
    sms_collector.failing = False
    assert send(sara) is SendStatus.SENT


def test_next_provider_is_called_when_one_fails(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    first = back_end(monkeypatch, "provider_one", SmsError("down"))
    second, third = back_end(monkeypatch, "provider_two"), back_end(monkeypatch, "provider_three")
    settings.SMS_BACKENDS = ["provider_one", "provider_two", "provider_three"]
    send_sms(PHONE, "x", code="123456", purpose="login")
    assert (first, second, third) == (["123456"], ["123456"], [])


@pytest.mark.parametrize("error", [SmsError("x"), TimeoutError("x"), ConnectionError("x")])
def test_message_that_no_provider_accepts_is_an_error(
    monkeypatch: pytest.MonkeyPatch, settings: Any, error: Exception
) -> None:
    back_end(monkeypatch, "provider_one", error)
    settings.SMS_BACKENDS = ["provider_one"]
    with pytest.raises(SmsError):
        send_sms(PHONE, "x", code="123456", purpose="login")


def test_failure_is_logged_without_code_text_or_number(
    monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    back_end(monkeypatch, "provider_one", SmsError(f"refused 123456 for {PHONE}"))
    settings.SMS_BACKENDS = ["provider_one"]
    with caplog.at_level(logging.DEBUG), pytest.raises(SmsError) as raised:
        send_sms(PHONE, "your code is 123456", code="123456", purpose="login")
    assert "provider_one" in caplog.text
    for secret in ("123456", PHONE, PHONE[-4:]):
        assert secret not in caplog.text
        assert secret not in str(raised.value)


def test_demo_phones_each_get_every_message(
    settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.DATA_DIR, settings.SMS_BACKENDS = tmp_path, ["accounts.sms.console", "accounts.sms.file"]
    send_sms(PHONE, "کد شما", code="123456", purpose="login")
    assert "کد شما" in capsys.readouterr().out
    assert len(file.messages()) == 1
    assert console.send is not file.send


def test_file_of_a_message_is_the_documented_json_and_its_owners_only(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    before = timezone.now()
    file.send(PHONE, "کد شما", code="123456", purpose="login")
    (path,) = (tmp_path / "sms").iterdir()
    message = json.loads(path.read_text(encoding="utf-8"))
    assert list(message) == ["to", "text", "code", "purpose", "at"]
    assert {**message, "at": ""} == {
        "to": PHONE,
        "text": "کد شما",
        "code": "123456",
        "purpose": "login",
        "at": "",
    }
    assert before <= datetime.fromisoformat(message["at"]) <= timezone.now()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_names_of_message_files_sort_by_time(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    for number in range(5):
        file.send(PHONE, "x", code=f"{number:06d}", purpose="login")
    paths = sorted((tmp_path / "sms").glob("*.json"))
    assert [json.loads(path.read_text())["code"] for path in paths] == [f"{n:06d}" for n in range(5)]
    assert [message["code"] for message in file.messages()] == [f"{n:06d}" for n in range(4, -1, -1)]
    file.clear()
    assert file.messages() == []


@pytest.mark.parametrize("language", ["fa", "en"])
def test_a_call_says_what_the_code_is_for_and_each_digit_twice(
    sara: Person, language: str, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR, settings.SMS_BACKENDS = tmp_path, ["accounts.sms.file"]
    with translation.override(language):
        sent = sms_codes.send_code(request_of(sara), sara.user, named("bot"), spoken=True)
        # Without isolates: a voice does not need them.
        assert without_isolates(named("bot").sentence) in file.messages()[0]["text"]
    (message,) = file.messages()
    assert (sent.state, message["spoken"], message["purpose"]) == (SendStatus.SENT, True, "key.create")
    assert message["text"].count(", ".join(message["code"])) == 2
    assert message["code"] not in message["text"]
