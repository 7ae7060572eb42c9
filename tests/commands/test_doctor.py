"""``manage.py portal_doctor``: what is wrong is found, with what to do, and no secret is printed."""

import base64
import json
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.cache import cache
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from accounts.audit import chain
from accounts.choices import audit_mac
from accounts.choices.events import Event
from accounts.models import AuditHead, LastRun, Notice, WebhookDelivery, WebhookEndpoint
from accounts.operations import doctor
from accounts.sms import circuit_breaker
from accounts.webhooks import endpoints
from apikeys.models import Credential, GatewayToken
from tests.support import sms_collector
from tests.support.audit_trail import recorded, tamper
from tests.support.people import customer, key_of

pytestmark = pytest.mark.django_db
NAMES = {
    *(
        "database",
        "migrations",
        "clock",
        "cache",
        "proxies",
        "master keys",
        "SMS tests.support.sms_collector",
    ),
    *("e-mail", "notices", "webhooks", "audit", "gateways"),
}


@pytest.fixture(autouse=True)
def _phone(settings: Any) -> None:
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    sms_collector.reset()
    cache.clear()


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    """State and words by name; a failing exit code agrees with the state."""
    code = 0
    try:
        call_command("portal_doctor", "--json")
    except SystemExit as ended:
        code = int(str(ended.code))
    notified = json.loads(capsys.readouterr().out)
    # The variable with which browsers are driven by other tests of this process.
    notified["findings"] = [row for row in notified["findings"] if row["name"] != "settings async.E001"]
    rows = {row["name"]: (row["state"], f"{row['found']} {row['advice']}") for row in notified["findings"]}
    if "DJANGO_ALLOW_ASYNC_UNSAFE" not in os.environ:
        assert (
            (code == 1)
            == (notified["state"] == "fail")
            == ("fail" in {state for state, _words in rows.values()})
        )
    assert all(row["advice"] for row in notified["findings"] if row["state"] != "ok")
    return rows


def printed_by_the_doctor(capsys: pytest.CaptureFixture[str]) -> str:
    """What an operator reads; something fails in it as in the document."""
    with suppress(SystemExit):
        call_command("portal_doctor")
    return capsys.readouterr().out


def test_in_order_everything_is_ok_and_no_secret_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    key_of(customer())
    token, text = GatewayToken.new("tehran-1")
    token.save()
    rows = result(capsys)
    assert rows.keys() >= NAMES
    # The tests' own e-mail and trusted proxies are what they are.
    assert {name: row for name, row in rows.items() if row[0] == "fail"} == {}
    assert rows["database"][1].startswith(connection.vendor)
    printed = printed_by_the_doctor(capsys) + repr(rows)
    secrets = [
        configured.SECRET_KEY,
        text,
        token.digest,
        str(configured.DATABASES["default"].get("PASSWORD") or text),
    ]
    secrets += [base64.b64encode(key).decode() for key in configured.MASTER_KEYS.values()]
    assert not [secret for secret in secrets if secret in printed]


def _lose_key(settings: Any) -> None:
    sealed = Credential.objects.get(key=key_of(customer()))
    Credential.objects.filter(pk=sealed.pk).update(sealed=sealed.sealed.replace(":", ":gone-2019:", 1))


def _lose_audit_key(settings: Any) -> None:
    recorded(customer(), 1)
    chain.seal_pending()
    settings.MASTER_KEYS = {"newest": bytes(32)}


def _old_key(settings: Any) -> None:
    key_of(customer())
    settings.MASTER_KEYS = {"newer": bytes(32), **settings.MASTER_KEYS}


def _late_notice(settings: Any) -> None:
    sara = customer()
    event = recorded(sara, 1)[0]
    long_ago = timezone.now() - timedelta(hours=2)
    Notice.objects.create(
        user=sara.user, event=event, channel="sms", to="+989120000000", created_at=long_ago,
        next_try_at=long_ago,
    )  # fmt: skip


def _open_circuit(settings: Any) -> None:
    for _n in range(circuit_breaker.FAILURE_THRESHOLD):
        circuit_breaker.record_failure("tests.support.sms_collector")


def _no_run(settings: Any) -> None:
    past = timezone.now() - timedelta(minutes=20)
    LastRun.objects.update_or_create(name="send_notices", defaults={"at": past})


def _unapplied(settings: Any) -> None:
    MigrationRecorder(connection).migration_qs.filter(app="apikeys").order_by("-id")[0].delete()


def _several(settings: Any) -> None:
    settings.PROCESSES, settings.REDIS_URL = 4, ""


def _no_email(settings: Any) -> None:
    settings.EMAIL = False


def _no_sms(settings: Any) -> None:
    settings.SMS_BACKENDS = []


def _forged(settings: Any) -> None:
    AuditHead.objects.update(mac="forged")


def _webhook(passed: timedelta = timedelta(0), count: int = 1, **values: Any) -> None:
    """An endpoint with a sender, and with deliveries of the time before ``passed``."""
    LastRun.note("send_notices")
    endpoint, _secret = endpoints.create("risk", "https://hooks.example.com/s3cret", ["*"])
    event = recorded(customer(), 1)[0]
    WebhookEndpoint.objects.update(sequence=AuditHead.objects.get().sequence)
    at = timezone.now() - passed
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(endpoint=endpoint, event=event, number=n, created_at=at, next_try_at=at, **values)
        for n in range(count)
    )


def _failing_webhook(settings: Any) -> None:
    _webhook(timedelta(hours=3), attempts=5, status=500)


def _unreachable_webhook(settings: Any) -> None:
    _webhook(timedelta(hours=3), attempts=5, error="ConnectError")


def _given_up(settings: Any) -> None:
    _webhook(gave_up_at=timezone.now())


def _paused(settings: Any) -> None:
    _webhook()
    recorded(customer(), 2)
    WebhookEndpoint.objects.update(is_active=False)


def _no_sender(settings: Any) -> None:
    _webhook()
    _no_run(settings)


def _no_sender_for_long(settings: Any) -> None:
    _webhook(timedelta(hours=1))
    _no_run(settings)


def _unseen(settings: Any) -> None:
    """Events wait in the chain, although `send_notices` runs."""
    _webhook()
    WebhookEndpoint.objects.update(sequence=0)
    tamper("UPDATE accounts_auditevent SET at = %s", timezone.now() - timedelta(minutes=20))


@pytest.mark.parametrize(
    ("spoil", "name", "state", "words"),
    [
        (_failing_webhook, "webhook risk", "warn", "5 attempts at the oldest failed: 500"),
        (_unreachable_webhook, "webhook risk", "warn", "failed: ConnectError See 'webhook deliveries risk'"),
        (_given_up, "webhook risk", "warn", "webhook resend risk --given-up"),
        (_paused, "webhook risk", "warn", "paused; 1 wait, oldest for 0 s, 2 links not looked at"),
        (_no_sender, "webhook risk", "warn", "send_notices --loop"),
        (_no_sender_for_long, "webhook risk", "fail", "send_notices --loop"),
        (_unseen, "webhook risk", "fail", "events of 20 min are not looked at"),
        (lambda _settings: _webhook(), "webhook risk", "ok", "1 wait, oldest for 0 s"),
        (_lose_key, "master keys", "fail", "gone-2019 (1)"),
        (_lose_audit_key, "master keys", "fail", "not in the ring"),
        (_old_key, "master keys", "warn", "rotate_master_key"),
        (_late_notice, "notices", "fail", "send_notices --loop"),
        (_no_run, "notices", "warn", "last run 20 min ago"),
        (lambda _settings: None, "notices", "warn", "never ran"),
        (lambda _settings: None, "webhooks", "ok", "none"),
        (_open_circuit, "SMS tests.support.sms_collector", "warn", "circuit open"),
        (_unapplied, "migrations", "fail", "manage.py migrate"),
        (_several, "cache", "fail", "REDIS_URL"),
        (_several, "settings portal.E002", "fail", "REDIS_URL"),
        (_no_email, "e-mail", "warn", "PORTAL_EMAIL_URL"),
        (_no_sms, "SMS", "fail", "PORTAL_SMS_BACKENDS"),
        (_forged, "audit", "fail", "verify_audit"),
        (lambda _settings: None, "gateways", "warn", "gateway_token create"),
    ],
)
def test_what_is_wrong_is_found_with_what_to_do(
    spoil: Callable[[Any], None],
    name: str,
    state: str,
    words: str,
    settings: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    AuditHead.objects.get()
    spoil(settings)
    rows = result(capsys)
    assert rows[name][0] == state
    assert words in rows[name][1]


def test_many_events_that_wait_for_a_webhook_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _webhook(count=6)
    assert result(capsys)["webhook risk"][0] == "ok"
    monkeypatch.setattr(doctor, "MANY_FOR_WEBHOOK", 5)
    assert result(capsys)["webhook risk"][0] == "warn"


@pytest.mark.parametrize(("seconds", "state"), [(0, "ok"), (10, "warn"), (3600, "fail"), (-3600, "fail")])
def test_a_clock_that_is_off_is_a_warning_and_by_more_than_a_minute_a_failure(
    seconds: int, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    off = {vendor: f"{statement} + {seconds}" for vendor, statement in doctor.CLOCKS.items()}
    monkeypatch.setattr(doctor, "CLOCKS", off)
    monkeypatch.setattr(doctor, "SKEW_MS", 5000)
    row = result(capsys)["clock"]
    assert row[0] == state
    assert ("scheduled changes of factors are not applied" in row[1]) == (state == "fail")


def test_a_sink_that_is_behind_is_a_warning(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    AuditHead.objects.update(sequence=1500, streamed=499)
    head = AuditHead.objects.get()
    AuditHead.objects.update(mac=audit_mac.head_mac(head))
    assert "sink" not in result(capsys)["audit"][1], "no sink is configured"
    settings.AUDIT_SINK = "stdout"
    state, summary = result(capsys)["audit"][:2]
    assert (state, "1001 links not in the sink" in summary) == ("warn", True)


def test_a_lost_database_is_one_finding_and_its_message_is_not_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(*_arguments: object) -> None:
        raise DatabaseError("password=hunter2")

    monkeypatch.setattr(connection, "cursor", lost)
    rows = result(capsys)
    assert rows["database"][0] == "fail"
    assert "migrations" not in rows
    assert "cache" in rows
    assert "hunter2" not in repr(rows)


def test_events_have_words_for_what_operators_do() -> None:
    for event in (Event.STAFF_MADE, Event.SMS_TESTED, Event.TRIAL_LOADED):
        assert str(event.look.title)
