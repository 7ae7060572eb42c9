"""Failover: which provider is called, which is skipped for a while, and what is stored about a message."""

import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction

from accounts import sms
from accounts.models import SmsDelivery
from accounts.sms import ProviderError, SmsError, circuit_breaker, file
from tests.support import sms_collector
from tests.support.production import ROOT

pytestmark = pytest.mark.django_db
PHONE, TEXT, CODE = "+989121234567", "your code is 493817", "493817"


class Provider(types.ModuleType):
    """A back-end under a dotted path. ``error``: the exception it raises; ``received``: its messages."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.error: Exception | None = None
        self.received: list[dict[str, str]] = []

    def send(self, phone: str, text: str, *, code: str, purpose: str, reference: str) -> str:
        return self._take({"code": code, "reference": reference})

    def speak(self, phone: str, text: str, *, code: str, purpose: str, reference: str) -> str:
        return self._take({"code": code, "spoken": text, "reference": reference})

    def _take(self, message: dict[str, str]) -> str:
        self.received.append(message)
        if self.error is not None:
            raise self.error
        return f"id-{len(self.received)}"


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, settings: Any) -> tuple[Provider, Provider]:
    pair = Provider("provider_one"), Provider("provider_two")
    for provider in pair:
        monkeypatch.setitem(sys.modules, provider.__name__, provider)
    settings.SMS_BACKENDS = [provider.__name__ for provider in pair]
    return pair


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """``clock[0] += 60`` advances the clock of the circuit breakers."""
    moved = [circuit_breaker.now()]
    monkeypatch.setattr(circuit_breaker, "now", lambda: moved[0])
    return moved


def send(reference: str = "") -> None:
    sms.send(PHONE, TEXT, code=CODE, purpose="login", reference=reference)


def requested(*providers: Provider) -> list[int]:
    return [len(provider.received) for provider in providers]


def test_provider_is_passed_over_after_three_failures_and_tried_after_a_minute(
    two: tuple[Provider, Provider], clock: list[float]
) -> None:
    first, _second = two
    first.error = ProviderError("HTTP 503")
    for _n in range(5):
        send()
    assert requested(*two) == [3, 5]
    clock[0] += 59
    send()
    assert requested(*two) == [3, 6]
    clock[0] += 1
    send()  # the probe fails: another minute
    send()
    assert requested(*two) == [4, 8]
    first.error = None
    clock[0] += 60
    send()
    send()
    assert requested(*two) == [6, 8]


def test_failures_count_only_in_a_row(two: tuple[Provider, Provider]) -> None:
    first, _second = two
    for _n in range(4):
        first.error = ProviderError("HTTP 503")
        send()
        send()
        first.error = None
        send()
    assert requested(*two) == [12, 8]


def test_failure_of_a_single_message_opens_no_circuit(two: tuple[Provider, Provider]) -> None:
    two[0].error = ProviderError("status 411", is_message_fault=True)
    for _n in range(9):
        send()
    assert requested(*two) == [9, 9]
    assert circuit_breaker.allows("provider_one")


def test_nobody_is_called_while_all_circuits_are_open(
    two: tuple[Provider, Provider], clock: list[float]
) -> None:
    """A provider that hangs would hold a thread for each message."""
    for provider in two:
        provider.error = ProviderError("HTTP 503")
    for _n in range(5):
        with pytest.raises(SmsError):
            send()
    assert requested(*two) == [3, 3]
    two[0].error = None
    clock[0] += 60
    send()
    send()  # closed again
    assert requested(*two) == [5, 3]


def test_open_circuit_of_the_only_provider_is_respected(
    two: tuple[Provider, Provider], clock: list[float], settings: Any
) -> None:
    settings.SMS_BACKENDS = ["provider_one"]
    for _n in range(3):
        circuit_breaker.record_failure("provider_one")
    with pytest.raises(SmsError):
        send()
    assert requested(*two) == [0, 0]
    clock[0] += 60
    send()
    assert requested(*two) == [1, 0]


def test_calls_that_fail_do_not_stop_messages(two: tuple[Provider, Provider], settings: Any) -> None:
    """Anybody can ask for a call, and an account at a provider may have no voice calls at all."""
    (one, _two), settings.SMS_BACKENDS = two, ["provider_one"]
    one.error = ProviderError("status 426")
    for _n in range(circuit_breaker.FAILURE_THRESHOLD):
        with pytest.raises(SmsError):
            sms.speak(PHONE, TEXT, code=CODE, purpose="forgot")
    one.error = None
    sms.send(PHONE, TEXT, code=CODE, purpose="login")
    with pytest.raises(SmsError):
        sms.speak(PHONE, TEXT, code=CODE, purpose="login")


def test_of_many_callers_at_once_one_gets_the_trial(clock: list[float]) -> None:
    for _n in range(3):
        circuit_breaker.record_failure("provider_one")
    clock[0] += 60
    with ThreadPoolExecutor(30) as pool:
        let = list(pool.map(lambda _n: circuit_breaker.allows("provider_one"), range(60)))
    assert let.count(True) == 1


@pytest.mark.postgres  # needs Valkey: the other database has no cache between processes
def test_circuit_is_seen_by_other_processes(valkey_url: str) -> None:
    script = """
import django; django.setup()
from accounts.sms import circuit_breaker
for _n in range(3): circuit_breaker.record_failure("provider_one")
print(circuit_breaker.allows("provider_one"))
"""
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]
    assert not circuit_breaker.allows("provider_one")
    assert circuit_breaker.allows("provider_two")


def test_every_circuit_is_closed_while_the_cache_is_down(
    two: tuple[Provider, Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _n in range(3):
        circuit_breaker.record_failure("provider_one")

    def down(*arguments: object, **options: object) -> None:
        raise ConnectionError("the cache is down")

    for name in ("get", "add", "incr", "set", "delete", "delete_many"):
        monkeypatch.setattr(type(cache._connections[cache._alias]), name, down)  # type: ignore[attr-defined]
    send()
    assert requested(*two) == [1, 0]


def test_delivery_is_kept_without_text_code_or_number(two: tuple[Provider, Provider]) -> None:
    two[0].error = SmsError(f"refused {CODE} for {PHONE}")
    send()
    rows = list(SmsDelivery.objects.order_by("pk").values())
    assert [(row["backend"], row["succeeded"], row["error"], row["reference"]) for row in rows] == [
        ("provider_one", False, "SmsError", ""),
        ("provider_two", True, "", "id-1"),
    ]
    assert {(row["purpose"], row["number"], row["spoken"]) for row in rows} == {
        ("login", "+98912•••4567", False)
    }
    for secret in (CODE, PHONE, PHONE[3:], "code is"):
        assert secret not in repr(rows)


@pytest.mark.parametrize("identifier", [None, "", 7, CODE + " " + TEXT, "x" * 65, "a\nb", ["a"]])
def test_odd_id_of_a_provider_is_not_kept(two: tuple[Provider, Provider], identifier: object) -> None:
    two[0].send = lambda *arguments, **options: identifier  # type: ignore[method-assign,assignment]
    send()
    assert SmsDelivery.objects.get().reference == ""


def test_message_is_sent_when_it_cannot_be_recorded(
    two: tuple[Provider, Provider], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**fields: object) -> None:
        SmsDelivery.objects.raw("SELECT no_such_column FROM accounts_smsdelivery")[0]

    monkeypatch.setattr(SmsDelivery.objects, "create", broken)
    with transaction.atomic():
        send()
        assert SmsDelivery.objects.count() == 0  # the surrounding transaction continues
    assert requested(*two) == [1, 0]
    assert "SMS delivery not recorded" in caplog.text
    assert PHONE not in caplog.text


def test_reference_is_passed_to_back_ends_that_accept_it(
    two: tuple[Provider, Provider], settings: Any
) -> None:
    send("notice:7")
    assert two[0].received[-1]["reference"] == "notice:7"
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]  # the interface before references were added
    sms_collector.reset()
    send("notice:7")
    assert sms_collector.newest().text == TEXT


def test_same_reference_leaves_one_file(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR, settings.SMS_BACKENDS = tmp_path, ["accounts.sms.file"]
    for reference in ("notice:7", "notice:7", "notice:8", "", "", "../../x"):
        send(reference)
    assert len(file.messages()) == 5
    assert all(path.parent == tmp_path / "sms" for path in tmp_path.rglob("*.json"))


def test_spoken_codes_use_back_ends_with_voice_calls(two: tuple[Provider, Provider], settings: Any) -> None:
    settings.SMS_BACKENDS = [
        "tests.support.sms_collector",
        "accounts.sms.nothing",
        "provider_one",
        "provider_two",
    ]
    assert sms.can_speak()
    two[0].error = ProviderError("HTTP 503")
    sms.speak(PHONE, TEXT, code=CODE, purpose="login")
    assert two[1].received == [{"code": CODE, "spoken": TEXT, "reference": ""}]
    assert set(SmsDelivery.objects.values_list("backend", "spoken")) == {
        ("provider_one", True),
        ("provider_two", True),
    }
    settings.SMS_BACKENDS = ["tests.support.sms_collector", "accounts.sms.nothing", "accounts.sms.smsir"]
    assert not sms.can_speak()
    with pytest.raises(SmsError):
        sms.speak(PHONE, TEXT, code=CODE, purpose="login")


def test_demo_shows_a_spoken_code_on_both_phones(
    settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.DATA_DIR, settings.SMS_BACKENDS = tmp_path, ["accounts.sms.console", "accounts.sms.file"]
    sms.speak(PHONE, TEXT, code=CODE, purpose="login")
    (message,) = file.messages()
    assert list(message) == ["to", "text", "code", "purpose", "at", "spoken"]
    assert (message["code"], message["spoken"]) == (CODE, True)
    assert message["text"] == TEXT
    assert message["text"] in capsys.readouterr().out
