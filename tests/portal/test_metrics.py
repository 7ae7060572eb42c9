"""Measures of the portal: what they say, who reads them, and that alerts and dashboard ask for what there is."""

import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from accounts import audit
from accounts.audit import chain
from accounts.choices.events import Event
from accounts.models import AuditHead, DelayedChange, SmsDelivery
from accounts.webhooks import endpoints
from apikeys.gateway import prometheus
from apikeys.gateway.metrics import GatewayMetrics
from apikeys.models import DailyUse, GatewayToken
from apikeys.operations import metrics
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.usage import recorder
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate
from tests.support import people
from tests.support.gateways import token
from tests.support.production import ROOT
from tests.support.servers import Valkey, free_port

DEPLOY = ROOT / "deploy"
LABELS = tuple[tuple[str, str], ...]
#: Functions and words of PromQL; everything else in an expression that is no label is a metric.
WORDS = set(
    "sum max min avg by on ignoring rate increase histogram_quantile absent max_over_time time and or unless le up job "
    "instance".split()
)
#: Of Prometheus' blackbox exporter, with the labels of its job alone.
PROBE = {"probe_success", "probe_ssl_earliest_cert_expiry"}


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_kept", None)


def parsed(text: str) -> dict[tuple[str, LABELS], float]:
    """Every sample by (name, labels)."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(bearer: str | None = None) -> Any:
    """As Prometheus asks: by address, over plain http."""
    authorization = {} if bearer == "" else {"authorization": f"Bearer {bearer or token()}"}
    return Client(headers={"host": "10.1.2.3:8000", **authorization}).get("/metrics")


def value(name: str, **labels: str) -> float:
    return parsed(scraped(token(timezone.now().isoformat())).content.decode())[
        name, tuple(sorted(labels.items()))
    ]


# --- who ------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_only_a_good_gateway_token_reads_them() -> None:
    good = token()
    assert scraped(good).status_code == 200
    for bad in ("", "hbgw_wrong", good[:-1], "x" * 10_000, "\u06f1"):
        answer = scraped(bad)
        assert (answer.status_code, answer.content) == (403, b""), bad
    GatewayToken.objects.update(revoked_at=timezone.now())
    assert scraped(good).status_code == 403
    signed_in = people.logged_in(people.customer())
    assert signed_in.get("/metrics").status_code == 403


@pytest.mark.django_db
def test_a_database_that_is_down_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> Iterator[Any]:
        raise DatabaseError("a value of somebody")
        yield

    bearer = token()
    monkeypatch.setattr("accounts.operations.metrics.families", broken)
    answer = scraped(bearer)
    assert (answer.status_code, answer.content) == (503, b"")


@pytest.mark.django_db
def test_they_are_read_once_in_five_seconds_and_in_few_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    bearer, text = token(), scraped(token("first")).content
    metrics._kept = None
    with CaptureQueriesContext(connection) as first:
        scraped(bearer)
    with CaptureQueriesContext(connection) as second:
        assert scraped(bearer).content.count(b"\n") == text.count(b"\n")
    assert len(second) == 1  # the token
    assert 1 < len(first) <= 15


# --- what -----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_logins_codes_and_events_of_today_are_counted() -> None:
    sara = people.customer().user
    for event, times in ((Event.LOGIN, 3), (Event.LOGIN_PASSWORD_REFUSED, 2), (Event.CODE_REFUSED, 1)):
        for _ in range(times):
            audit.record(event, None, customer=sara)
    assert value("portal_logins_total", result="ok") == 3
    metrics._kept = None
    assert value("portal_logins_total", result="password_refused") == 2
    assert value("portal_codes_total", result="refused") == 1
    assert value("portal_events_total", event="login") == 3
    assert value("portal_events_total", event="key.revoked") == 0


@pytest.mark.django_db
def test_messages_are_counted_by_provider_and_result_and_yesterdays_are_not(settings: Any) -> None:
    settings.SMS_BACKENDS = ["accounts.sms.kavenegar", "accounts.sms.smsir"]
    for succeeded, parts, ago in ((True, 2, 0), (True, 1, 0), (False, 5, 0), (True, 1, 2)):
        SmsDelivery.objects.create(
            backend="accounts.sms.kavenegar", purpose="login", number="0912***4567", succeeded=succeeded, parts=parts,
            took_ms=500, at=timezone.now() - timedelta(days=ago),
        )  # fmt: skip
    kavenegar = {"provider": "accounts.sms.kavenegar"}
    assert value("portal_sms_total", result="sent", **kavenegar) == 2
    assert value("portal_sms_total", result="failed", **kavenegar) == 1
    assert value("portal_sms_total", result="failed", provider="accounts.sms.smsir") == 0
    assert value("portal_sms_parts_total", **kavenegar) == 3
    assert value("portal_sms_seconds_total", **kavenegar) == 1.5


@pytest.mark.django_db
def test_queues_tell_how_much_waits_and_for_how_long(settings: Any) -> None:
    sara = people.customer().user
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM accounts_auditlink")
    audit.record(Event.PASSWORD_CHANGED, None, customer=sara)
    past = timezone.now() - timedelta(minutes=30)
    sara.notices.update(created_at=past)
    DelayedChange.objects.create(user=sara, kind="phone", phone="+989120000000", due_at=past)
    text = parsed(scraped().content.decode())
    for queue in ("notices", "delayed_changes"):
        label = (("queue", queue),)
        assert text["portal_queue_size", label] == 1
        assert 1800 <= text["portal_queue_age_seconds", label] < 1900
    assert ("portal_queue_age_seconds", (("queue", "audit_events"),)) in text
    metrics._kept = None
    sara.notices.update(sent_at=timezone.now())
    DelayedChange.objects.update(done_at=timezone.now())
    assert (
        value("portal_queue_size", queue="notices") == value("portal_queue_age_seconds", queue="notices") == 0
    )
    assert value("portal_queue_size", queue="delayed_changes") == 0


@pytest.mark.django_db
def test_end_of_the_last_run_of_each_recurring_task_is_there_and_0_if_it_never_ran() -> None:
    text = parsed(scraped(token("first")).content.decode())
    name, tasks = "portal_last_run_timestamp_seconds", ("tick", "prune", "backup", "verify_audit")
    assert [text[name, (("task", task),)] for task in tasks] == [0, 0, 0, 0]
    metrics._kept = None
    before = time.time()
    call_command("record_backup", "--json")
    assert before <= value(name, task="backup") <= time.time()


@pytest.mark.django_db
def test_a_run_of_verify_audit_says_whether_the_trail_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    name = "portal_last_run_timestamp_seconds"
    audit.record(Event.LOGIN, None, customer=people.customer().user)
    chain.seal_pending()
    call_command("verify_audit")
    whole = value(name, task="verify_audit")
    assert whole > 0
    assert value(name, task="verify_audit_damaged") == 0
    metrics._kept = None
    AuditHead.objects.update(mac="0" * 64)
    with pytest.raises(CommandError):
        call_command("verify_audit")
    assert value(name, task="verify_audit") == whole < value(name, task="verify_audit_damaged")


@pytest.mark.django_db
def test_use_of_the_shared_limits_of_sms_is_the_highest_of_all_ranges() -> None:
    name = "portal_sms_limit_used_ratio"
    assert value(name, limit="sms_day") == value(name, limit="sms_prefix") == 0
    metrics._kept = None
    for _ in range(3):
        ratelimits.acquire(Rate.SMS_DAY, "all")
        ratelimits.acquire(Rate.SMS_PREFIX, "+989121")
    ratelimits.acquire(Rate.SMS_PREFIX, "+989351")
    assert value(name, limit="sms_prefix") == 3 / Rate.SMS_PREFIX.value.count
    assert value(name, limit="sms_day") == 3 / Rate.SMS_DAY.value.count
    assert value(name, limit="sms_outside_day") == 0


@pytest.mark.django_db
def test_a_limit_that_is_reached_is_used_whole() -> None:
    for _ in range(Rate.SMS_OUTSIDE_PREFIX.value.count + 1):
        waits = ratelimits.acquire(Rate.SMS_OUTSIDE_PREFIX, "signup|+989121")
    assert waits is not None
    assert value("portal_sms_limit_used_ratio", limit="sms_outside_prefix") == 1


@pytest.mark.postgres
@pytest.mark.django_db
def test_valkey_that_is_down_is_a_metric_and_not_a_failure(settings: Any) -> None:
    text = parsed(scraped(token("first")).content.decode())
    assert text["portal_cache_up", ()] == 1
    assert text["portal_cache_used_bytes", ()] > 100_000
    assert text["portal_cache_limit_bytes", ()] == 0
    metrics._kept = None
    location = f"redis://127.0.0.1:{free_port()}/0"
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": location}}
    answer = scraped(token("second"))
    text = parsed(answer.content.decode())
    assert (answer.status_code, text["portal_cache_up", ()]) == (200, 0)
    assert not [name for name, _labels in text if name.startswith(("portal_cache_u", "portal_sms_limit"))][1:]


@pytest.mark.postgres
@pytest.mark.django_db
def test_valkey_whose_memory_is_full_is_not_up(settings: Any) -> None:
    with Valkey() as valkey:
        settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": valkey.url(0)}}
        with redis.Redis.from_url(valkey.url(0)) as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1_000_000)
        assert value("portal_cache_up") == 0


@pytest.mark.django_db
def test_keys_accounts_and_rejections() -> None:
    sara = people.customer()
    keys = [people.key_of(sara, f"bot {n}") for n in range(3)]
    keys[0].set_state(KeyState.FROZEN)
    for outcome, count in (("allowed", 7), ("stale", 4)):
        DailyUse.objects.create(
            key=keys[1], day=recorder.today(), outcome=outcome, permission="read", count=count
        )
    sara.user.frozen_at = timezone.now()
    sara.user.save()
    text = parsed(scraped().content.decode())
    assert [text["portal_keys", (("state", state),)] for state in ("active", "frozen", "revoked")] == [
        2,
        1,
        0,
    ]
    assert text["portal_refusals_total", (("outcome", "stale"),)] == 4
    assert ("portal_refusals_total", (("outcome", "allowed"),)) not in text
    assert text["portal_accounts", (("state", "frozen"),)] == 1
    assert text["portal_accounts", (("state", "quarantined"),)] == 0


@pytest.mark.django_db
def test_nothing_of_one_customer_stands_in_them() -> None:
    sara = people.customer()
    key = people.key_of(sara, "the label of a bot")
    audit.record(KeyEvent.CREATED, None, customer=sara.user, target=str(key.pk), label=key.label)
    text = scraped().content.decode()
    for canary in (sara.user.phone, sara.user.phone[-10:], key.key_id, key.label, str(key.pk)):
        assert canary not in text


# --- alerts and the dashboard ---------------------------------------------------------------------------------------


@pytest.fixture
def exported(db: None) -> set[str]:
    """Every name and label of a sample there is."""
    endpoints.create("risk", "https://hooks.example.com/", ["*"])
    samples = {*parsed(scraped().content.decode()), *parsed(prometheus.render(GatewayMetrics()))}
    return {name for name, _labels in samples} | {
        f"{name}{{{key}}}" for name, labels in samples for key, _ in labels
    }


def expressions(path: Path) -> list[str]:
    if path.suffix == ".json":
        panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
        return [target["expr"] for panel in panels for target in panel.get("targets", ())]
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


@pytest.mark.parametrize(("path", "least"), [("prometheus/alerts.yml", 31), ("grafana/portal.json", 25)])
def test_alerts_and_dashboard_ask_for_what_is_exported(exported: set[str], path: str, least: int) -> None:
    results = expressions(DEPLOY / path)
    assert len(results) >= least
    for expression in results:
        bare = re.sub(r'"[^"]*"', '""', expression).replace("$__rate_interval", "5m")
        labels = re.findall(r"(\w+)\{([^}]*)\}", bare)
        for name, inside in labels:
            for label in re.findall(r"(\w+)(?:=~|!~|!=|=)", inside):
                assert name == "up" or name in PROBE or f"{name}{{{label}}}" in exported, expression
        grouped = re.findall(r"(?:by|ignoring) \(([^)]*)\)", bare)
        assert {word.strip() for words in grouped for word in words.split(",")} <= {
            label.partition("{")[2].rstrip("}") for label in exported
        } | {"instance", ""}, expression
        without = re.sub(r"\{[^}]*\}|\[[^\]]*\]|(?:by|ignoring) \([^)]*\)", " ", bare)
        assert without.count("(") == without.count(")"), expression
        assert set(re.findall(r"[a-z_]\w*", without)) - WORDS - PROBE <= exported, expression


def test_the_document_has_every_metric_and_no_other(exported: set[str]) -> None:
    document = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    documented = {
        name
        for row in re.findall(r"(?m)^\| (`portal_[^|]*) \|", document)
        for name in re.findall(r"`(\w+)`", row)
    }
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported if "{" not in name}
    assert documented == names


def test_every_alert_says_what_it_means_and_the_document_what_to_do() -> None:
    document = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"]
            assert f"**{rule['alert']}**" in document, rule["alert"]
