"""Operators' commands about keys: explain_request, expire_keys, load_demo."""

import io
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.audit import activity
from accounts.models import AuditEvent, User
from apikeys.actions import key_loader
from apikeys.models import AllowedNetwork, ApiKey, DailyUse
from apikeys.operations import sample_data
from tests.support.binance_client import BinanceClient
from tests.support.people import ADDRESS, Person, key_of, secret_of
from tests.support.staff import events

pytestmark = pytest.mark.django_db
HOST = "https://api.hitobit.com"


def curl(key: ApiKey, *, secret: str = "", skew_ms: int = 0, more: str = "") -> str:
    call = BinanceClient(key.key_id, secret or secret_of(key)).call(
        "GET", "/api/v3/account", [("timestamp", str(int(time.time() * 1000) + skew_ms))]
    )
    return f"curl -H 'X-MBX-APIKEY: {key.key_id}' '{HOST}{call.path}?{call.query.decode()}'{more}\n"


@pytest.fixture
def explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the command on a text given to its standard input: exit code, and what was printed."""

    def run(text: str, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        try:
            call_command("explain_request", *arguments)
            code = 0
        except SystemExit as ended:
            code = int(str(ended.code))
        except CommandError as error:
            return error.returncode, str(error)
        return code, capsys.readouterr().out

    return run


def test_a_valid_request_exits_with_0_and_records_an_event(
    sara: Person, explained: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    key = key_of(sara)
    file = tmp_path / "request.txt"
    file.write_text(curl(key))
    code, printed = explained("", str(file), "--address", ADDRESS)
    assert (code, "This request is valid." in printed) == (0, True)
    (event,) = events("staff.viewed")
    assert event.customer_id == sara.user.pk
    assert event.target == str(key.pk)
    assert event not in activity.shown_to(sara.user)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"secret": "x" * 64}, "signature_unknown"),
        ({"skew_ms": -3_600_000}, "timestamp"),
        ({"skew_ms": 60_000}, "timestamp"),
    ],
)
def test_a_rejected_request_exits_with_1_and_names_the_cause(
    change: dict[str, Any], cause: str, sara: Person, explained: Callable[..., tuple[int, str]]
) -> None:
    key = key_of(sara)
    code, printed = explained(curl(key, **change), "--json", "--at", str(int(time.time() * 1000)))
    document = json.loads(printed)
    assert code == 1
    assert not document["right"]
    assert document["key"] == key.key_id
    assert any(cause in row["cause"] for row in document["causes"])
    assert [check["number"] for check in document["checks"]] == list(range(1, 10))
    assert explained(curl(key, **change), "--at", str(int(time.time() * 1000)))[0] == 1


def test_a_restricted_key_needs_the_address_and_checks_it(
    sara: Person, explained: Callable[..., tuple[int, str]]
) -> None:
    key = key_of(sara)
    key.apply({"read"}, "trusted", [ADDRESS])
    code, printed = explained(curl(key))
    assert code == 0
    assert "--address" in printed
    assert "browser" not in printed
    assert explained(curl(key), "--address", ADDRESS)[0] == 0
    assert explained(curl(key), "--address", "192.0.2.9")[0] == 1


def test_the_key_may_be_given_in_addition_to_the_request(
    sara: Person, explained: Callable[..., tuple[int, str]]
) -> None:
    key = key_of(sara)
    bare = curl(key).replace(f"-H 'X-MBX-APIKEY: {key.key_id}' ", "")
    code, printed = explained(bare)
    assert code == 1
    assert "--key" in printed
    assert not events("staff.viewed")
    code, printed = explained(bare, "--key", key.key_id, "--json")
    assert code == 1
    assert json.loads(printed)["causes"][0]["cause"].startswith("key")


def test_a_secret_in_the_request_is_masked_or_nothing_is_shown(
    sara: Person, explained: Callable[..., tuple[int, str]]
) -> None:
    key = key_of(sara)
    secret = secret_of(key)
    code, printed = explained(curl(key, more=f" -H 'X-Secret: {secret}'"))
    assert secret not in printed
    assert "masked" in printed
    code, printed = explained(
        curl(key, more=f" -H 'X-Secret: {secret[:30]}%{ord(secret[30]):02X}{secret[31:]}'")
    )
    assert code == 1
    assert secret[31:] not in printed
    assert printed.startswith("Not explained")


@pytest.mark.parametrize("text", ["", "no request at all", "x" * 20_000])
def test_what_is_no_request_is_rejected_in_a_sentence(
    text: str, explained: Callable[..., tuple[int, str]]
) -> None:
    code, printed = explained(text)
    assert code == 1
    assert printed.startswith("Not explained")
    assert len(printed) < 200


def test_reminders_are_sent_once(sara: Person, capsys: pytest.CaptureFixture[str]) -> None:
    key = key_of(sara)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() + timedelta(hours=20))
    counts = []
    for arguments in (["--dry-run"], [], ["--dry-run"], []):
        call_command("expire_keys", "--json", *arguments)
        counts.append(json.loads(capsys.readouterr().out)["told"])
    assert counts == [1, 1, 0, 0]
    assert len(events("key.expires_soon")) == 1


def test_sample_customers_have_keys_that_can_be_verified(
    settings: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_data, "BATCH", 4)
    settings.DEMO = True
    for _again in range(2):
        call_command("load_demo", "6", "--json")
    notified = json.loads(capsys.readouterr().out.splitlines()[-1])
    made = list(
        User.objects.filter(phone__startswith=sample_data.PREFIX)
        .select_related("totp", "sms")
        .order_by("phone")
    )
    assert len(made) == 12
    assert all(user.has_both_factors for user in made)
    assert notified["customers"] == 6
    assert notified["keys"] == 12
    assert made[-1].check_password(notified["password"])
    assert not made[0].check_password(notified["password"])
    keys = ApiKey.objects.filter(owner__in=made)
    assert {key.ip_policy for key in keys} == {"trusted", "unrestricted"}
    assert all(key_loader.load(key.key_id) is not None for key in keys)  # each secret opens
    assert AllowedNetwork.objects.exists()
    assert DailyUse.objects.filter(key__in=keys).count() >= len(keys)
    assert notified["password"] not in repr([event.detail for event in AuditEvent.objects.all()])
    assert len(events("trial.loaded")) == 2


@pytest.mark.parametrize("arguments", [["5"], ["0", "--yes-this-is-no-production"]])
def test_no_sample_data_in_production_by_accident(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("load_demo", *arguments)
    assert not User.objects.exists()
    assert not events("trial.loaded")
