"""Checks of `manage.py portal_doctor`: settings, database, cache, messages and audit trail. They change nothing.

A check yields `CheckResult`s: a result, and advice. None of them contains a secret, an address with a secret, or a
message of the database.
"""

import enum
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core import checks
from django.core.cache import cache
from django.core.mail import get_connection
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts.choices import audit_mac
from accounts.choices.registry import Registry
from accounts.models import (
    AuditEvent,
    AuditHead,
    DelayedChange,
    LastRun,
    Notice,
    SmsDelivery,
    WebhookDelivery,
    WebhookEndpoint,
)
from accounts.notifications import outbox
from accounts.sms import LOCAL, circuit_breaker
from accounts.webhooks import outbox as outbox_of_webhooks
from hitobit_portal.database import clock as database_clock

#: Signed requests are valid for 5 s (recvWindow), codes for 30 s: half a second is harmless.
SKEW_MS = 500
#: Links that are not in the sink; a few are always on their way.
SINK_BEHIND = 1000
#: `send_notices --loop` polls every 5 s; a failed message is retried within the hour.
NOTICE_LATE = timedelta(minutes=5)
NOTICE_STUCK = timedelta(hours=1)
#: The timer runs `tick` every minute, a loop records its run every minute.
RUN_LATE = timedelta(minutes=15)
#: A receiver that takes four events a second needs 40 minutes for them.
MANY_FOR_WEBHOOK = 10_000
APPS = ("accounts", "apikeys")
CLOCKS = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400",
}
VERSIONS = {"postgresql": "SHOW server_version", "sqlite": "SELECT sqlite_version()"}


class CheckStatus(enum.Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class CheckResult:
    """``summary``: the state in words; ``advice``: what to do, "" if it is ok."""

    name: str
    state: CheckStatus
    summary: str
    advice: str = ""


#: (whether it needs the database, function).
Check = tuple[bool, Callable[[], Iterator[CheckResult]]]


def run_checks() -> Iterator[CheckResult]:
    """Yield the results of all checks. An exception becomes a result; checks that need a lost database are skipped."""
    lost = False
    for name, (needs_database, check) in CHECKS.items():
        if needs_database and lost:
            continue
        try:
            yield from check()
        except Exception as error:
            # SECURITY: the class only: messages contain addresses with passwords.
            lost |= name == "database"
            yield CheckResult(
                name, CheckStatus.FAIL, f"failed: {type(error).__name__}", ADVICE.get(name, RERUN_ADVICE)
            )


NOT_SENDING_ADVICE = (
    "No process sends notices and webhooks: start manage.py send_notices --loop (or tick), and keep it "
    "running."
)
RERUN_ADVICE = "Fix what fails above, then run this again."
ADVICE = {
    "database": "Start the database, or correct DATABASE_URL. Checks that need it were left out.",
    "cache": "Start Valkey, or correct REDIS_URL.",
    "e-mail": "Correct PORTAL_EMAIL_URL; notices by e-mail wait in the outbox until then.",
    "migrations": "Run manage.py migrate.",
    "audit": "Run manage.py verify_audit.",
}


def database() -> Iterator[CheckResult]:
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(VERSIONS[connection.vendor])
        version = str(cursor.fetchone()[0])
    took = (time.monotonic() - started) * 1000
    yield CheckResult("database", CheckStatus.OK, f"{connection.vendor} {version}, {took:.0f} ms")


def migrations() -> Iterator[CheckResult]:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    known = set(executor.loader.graph.nodes)
    newer = [name for name in executor.loader.applied_migrations if name not in known and name[0] in APPS]
    if missing:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _back in missing[:5])
        yield CheckResult(
            "migrations", CheckStatus.FAIL, f"{len(missing)} not applied: {names}", ADVICE["migrations"]
        )
    elif newer:
        names = ", ".join(".".join(name) for name in newer[:5])
        advice = "Upgrade this process; the database was migrated by a newer version."
        yield CheckResult("migrations", CheckStatus.WARN, f"the database has newer ones: {names}", advice)
    else:
        yield CheckResult("migrations", CheckStatus.OK, "all applied")


def clock() -> Iterator[CheckResult]:
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute(CLOCKS[connection.vendor])
        there = float(cursor.fetchone()[0])
    skew = ((before + time.time()) / 2 - there) * 1000
    if abs(skew) > database_clock.LARGEST_SKEW.total_seconds() * 1000:
        yield CheckResult(
            "clock",
            CheckStatus.FAIL,
            f"{skew:+.0f} ms against the database; scheduled changes of factors are not applied",
            "Correct the clock of this machine or of the database, and run NTP (chrony) on both.",
        )
    elif abs(skew) <= SKEW_MS:
        yield CheckResult("clock", CheckStatus.OK, f"{skew:+.0f} ms against the database")
    else:
        advice = "Run NTP (chrony) on both machines: codes and signed requests depend on the time."
        yield CheckResult("clock", CheckStatus.WARN, f"{skew:+.0f} ms against the database", advice)


def shared_cache() -> Iterator[CheckResult]:
    key, value = f"portal-doctor:{secrets.token_hex(8)}", secrets.token_hex(8)
    started = time.monotonic()
    cache.set(key, value, 10)
    same = cache.get(key) == value
    cache.delete(key)
    took = (time.monotonic() - started) * 1000
    kind = "Valkey" if settings.REDIS_URL else "memory of this process"
    if not same:
        yield CheckResult(
            "cache", CheckStatus.FAIL, f"{kind} does not keep what is set", "Check its memory limit."
        )
    elif settings.PROCESSES > 1 and not settings.REDIS_URL:
        advice = "Set REDIS_URL: each process counts failures and limits for itself."
        yield CheckResult(
            "cache", CheckStatus.FAIL, f"{kind}, and PORTAL_PROCESSES is {settings.PROCESSES}", advice
        )
    else:
        yield CheckResult(
            "cache", CheckStatus.OK, f"{kind}, {took:.0f} ms, for {settings.PROCESSES} process(es)"
        )


def configuration() -> Iterator[CheckResult]:
    """Run the checks of Django and of the portal, as ``check --deploy`` does."""
    messages = checks.run_checks(include_deployment_checks=True)
    wrong = [message for message in messages if not message.is_silenced() and message.level >= checks.WARNING]
    for message in wrong:
        state = CheckStatus.FAIL if message.level >= checks.ERROR else CheckStatus.WARN
        yield CheckResult(
            f"settings {message.id}", state, message.msg, message.hint or "See docs/operating.md."
        )
    if settings.DEBUG:
        yield CheckResult(
            "settings", CheckStatus.FAIL, "DEBUG is on", "Remove DEBUG=True; error pages show values."
        )
    if not wrong and not settings.DEBUG:
        ring = f"{len(settings.MASTER_KEYS)} master key(s), {1 + len(settings.SECRET_KEY_FALLBACKS)} secret key(s)"
        yield CheckResult("settings", CheckStatus.OK, f"safe: https, secure cookies, no DEBUG; {ring}")


def proxies() -> Iterator[CheckResult]:
    if settings.TRUSTED_PROXIES:
        yield CheckResult(
            "proxies", CheckStatus.OK, "trusted: " + ", ".join(map(str, settings.TRUSTED_PROXIES))
        )
    elif settings.SECURE:
        advice = "If a proxy ends TLS, name its network in PORTAL_TRUSTED_PROXIES; else all callers have its address."
        yield CheckResult("proxies", CheckStatus.WARN, "none is trusted, and TLS ends elsewhere", advice)
    else:
        yield CheckResult("proxies", CheckStatus.OK, "none is trusted")


def sms() -> Iterator[CheckResult]:
    if not settings.SMS_BACKENDS:
        yield CheckResult(
            "SMS",
            CheckStatus.FAIL,
            "no provider",
            "Set PORTAL_SMS_BACKENDS: without it nobody can log in or create a key.",
        )
    for path in settings.SMS_BACKENDS:
        last = SmsDelivery.objects.filter(backend=path).order_by("-at", "-pk").first()
        summary = "nothing sent yet"
        if last is not None:
            age = f"{_age(timezone.now() - last.at)} ago, {last.took_ms} ms"
            summary = f"last message {'accepted' if last.succeeded else 'failed: ' + last.error} {age}"
        if path not in LOCAL and circuit_breaker.is_open(path):
            advice = (
                "It failed 3 times in a row and is skipped for a minute; check its status page and credit."
            )
            yield CheckResult(f"SMS {path}", CheckStatus.WARN, f"circuit open; {summary}", advice)
        elif last is not None and not last.succeeded:
            yield CheckResult(
                f"SMS {path}", CheckStatus.WARN, summary, "Try it: manage.py send_test_sms PHONE."
            )
        else:
            yield CheckResult(f"SMS {path}", CheckStatus.OK, summary)


def email() -> Iterator[CheckResult]:
    if not settings.EMAIL:
        advice = "Set PORTAL_EMAIL_URL, or accept that notices go by SMS only."
        yield CheckResult("e-mail", CheckStatus.WARN, "not configured: nobody can add an address", advice)
        return
    server = get_connection()
    server.open()  # connects and authenticates, sends nothing
    server.close()
    yield CheckResult("e-mail", CheckStatus.OK, "login at the server succeeded; no message was sent")


def notices() -> Iterator[CheckResult]:
    now = timezone.now()
    waiting = Notice.objects.filter(sent_at=None, gave_up_at=None, next_try_at__lt=outbox.NEVER)
    overdue = waiting.filter(next_try_at__lt=now - NOTICE_LATE).order_by("next_try_at").first()
    late = DelayedChange.objects.filter(stopped_at=None, done_at=None, due_at__lt=now - NOTICE_LATE).exists()
    oldest = waiting.order_by("created_at").first()
    last = Notice.objects.filter(sent_at__isnull=False).order_by("-pk").first()
    sent = (
        f"last sent {_age(now - last.sent_at)} ago" if last is not None and last.sent_at else "none sent yet"
    )
    run = LastRun.of("send_notices")
    sent += f"; last run {_age(now - run.at)} ago" if run is not None else "; send_notices never ran"
    summary = (
        f"{waiting.count()} wait, oldest for {_age(now - oldest.created_at)}; {sent}" if oldest else sent
    )
    if overdue is not None or late:
        yield CheckResult("notices", CheckStatus.FAIL, f"{summary}; due work is not done", NOT_SENDING_ADVICE)
    elif run is None or now - run.at > RUN_LATE:
        yield CheckResult("notices", CheckStatus.WARN, summary, NOT_SENDING_ADVICE)
    elif oldest is not None and now - oldest.created_at > NOTICE_STUCK:
        yield CheckResult(
            "notices",
            CheckStatus.WARN,
            summary,
            "Attempts fail; see the results for SMS and e-mail, and the log.",
        )
    else:
        yield CheckResult("notices", CheckStatus.OK, summary)


def webhooks() -> Iterator[CheckResult]:
    """Yield a result for each endpoint, under its name."""
    now, run = timezone.now(), LastRun.of("send_notices")
    is_sending = run is not None and now - run.at <= RUN_LATE
    head = AuditHead.objects.first()
    rows = outbox_of_webhooks.endpoints_with_unseen()
    for row, unseen_since in rows:
        links = max(0, head.sequence - row.sequence) if head is not None else 0
        state, summary, advice = _webhook(row, now, is_sending, unseen_since, links)
        yield CheckResult(f"webhook {row.name}", state, summary, advice)
    if not rows:
        yield CheckResult("webhooks", CheckStatus.OK, "none")


def _webhook(
    row: WebhookEndpoint, now: datetime, is_sending: bool, unseen_since: datetime | None, links: int
) -> tuple[CheckStatus, str, str]:
    """Return (state, summary, advice). ``unseen_since``, ``links``: what no sender has looked at for it."""
    deliveries = WebhookDelivery.objects.filter(endpoint=row)
    waiting = deliveries.filter(outbox_of_webhooks.WAITING)
    count, oldest = waiting.count(), waiting.order_by("created_at").first()
    summary = f"{count} wait" + (f", oldest for {_age(now - oldest.created_at)}" if oldest else "")
    if not row.is_active:
        summary = f"paused; {summary}, {links} links not looked at"
        advice = (
            f"'webhook update {row.name} --resume' sends them; events that are pruned before are lost to it."
        )
        return CheckStatus.WARN, summary, advice
    if unseen_since is not None and unseen_since < now - NOTICE_LATE:
        summary += f"; events of {_age(now - unseen_since)} are not looked at"
        return CheckStatus.FAIL, summary, NOT_SENDING_ADVICE
    if not is_sending:
        is_late = waiting.filter(next_try_at__lt=now - NOTICE_LATE).exists()
        return (
            (CheckStatus.FAIL if is_late else CheckStatus.WARN),
            f"{summary}; no sender",
            NOT_SENDING_ADVICE,
        )
    failed = waiting.filter(attempts__gt=0, created_at__lt=now - NOTICE_STUCK).order_by("created_at").first()
    if failed is not None:
        summary += f"; {failed.attempts} attempts at the oldest failed: {failed.status or failed.error or 'no answer'}"
        advice = f"See 'webhook deliveries {row.name}'. What waits is sent when the receiver answers 2xx."
        return CheckStatus.WARN, summary, advice
    given_up = deliveries.filter(gave_up_at__gt=now - timedelta(days=1)).count()
    if given_up:
        advice = f"When the receiver works: webhook resend {row.name} --given-up."
        return CheckStatus.WARN, f"{summary}; {given_up} given up within a day", advice
    if count > MANY_FOR_WEBHOOK:
        return (
            CheckStatus.WARN,
            summary,
            "The receiver is slower than the events come: see how long it takes.",
        )
    return CheckStatus.OK, summary, ""


def audit() -> Iterator[CheckResult]:
    head = AuditHead.objects.first()
    if head is None or not audit_mac.is_head(head):
        yield CheckResult(
            "audit", CheckStatus.FAIL, "the head of the chain is missing or changed", ADVICE["audit"]
        )
        return
    # Events of the last minute are no backlog: a request links its own event shortly afterwards.
    old = timezone.now() - timedelta(minutes=1)
    unlinked = AuditEvent.objects.unlinked(head.settled_event).filter(at__lt=old).count()
    behind = head.sequence - head.streamed if settings.AUDIT_SINK else 0
    summary = f"{head.sequence} links, {unlinked} events not in the chain"
    if behind > SINK_BEHIND:
        advice = "Check the disk and the directory of PORTAL_AUDIT_SINK; missing lines are written when it works again."
        yield CheckResult("audit", CheckStatus.WARN, f"{summary}, {behind} links not in the sink", advice)
    elif unlinked:
        advice = "Run manage.py send_notices, which links them; if they stay, run verify_audit."
        yield CheckResult("audit", CheckStatus.WARN, summary, advice)
    else:
        yield CheckResult("audit", CheckStatus.OK, summary)


def _age(passed: timedelta) -> str:
    seconds = max(0, int(passed.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


#: Name → check, in their order. Filled by apps in `AppConfig.ready()`: ``CHECKS.register({...})``.
CHECKS: Registry[str, Check] = Registry(
    {
        "database": (False, database),
        "migrations": (True, migrations),
        "clock": (True, clock),
        "cache": (False, shared_cache),
        "settings": (False, configuration),
        "proxies": (False, proxies),
        "SMS": (True, sms),
        "e-mail": (False, email),
        "notices": (True, notices),
        "webhooks": (True, webhooks),
        "audit": (True, audit),
    }
)
