"""What `manage.py portal_doctor` looks at in settings, database, cache, messages and audit trail. Changes nothing.

A check gives `Finding`s: what was found, and what to do. None of them repeats a secret, an address with one, or a
database's own message.
"""

import enum
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core import checks
from django.core.cache import cache
from django.core.mail import get_connection
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts.choices import audit_mac
from accounts.choices.registry import Registry
from accounts.models import AuditEvent, AuditHead, DelayedChange, LastRun, Notice, SmsDelivery
from accounts.notifications import outbox
from accounts.sms import LOCAL, circuit_breaker

#: Signed requests are good for 5 s (recvWindow), and codes for 30 s: half a second is still harmless.
SKEW_MS = 500
#: `send_notices --loop` looks every 5 s; a provider's failure is tried again within the hour.
NOTICE_LATE = timedelta(minutes=5)
NOTICE_STUCK = timedelta(hours=1)
#: The timer of `tick` runs it every minute, a loop notes its run every minute.
RUN_LATE = timedelta(minutes=15)
APPS = ("accounts", "apikeys")
CLOCKS = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400",
}
VERSIONS = {"postgresql": "SHOW server_version", "sqlite": "SELECT sqlite_version()"}


class State(enum.Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """``found``: what is so; ``advice``: what to do about it, "" when it is ok."""

    name: str
    state: State
    found: str
    advice: str = ""


#: Whether it needs the database, and the work.
Check = tuple[bool, Callable[[], Iterator[Finding]]]


def examine() -> Iterator[Finding]:
    """Every finding of all checks; one that breaks is a finding itself, and what needs a lost database is left out."""
    lost = False
    for name, (needs_database, check) in CHECKS.items():
        if needs_database and lost:
            continue
        try:
            yield from check()
        except Exception as error:
            # SECURITY: the class only: messages repeat addresses with passwords in them.
            lost |= name == "database"
            yield Finding(name, State.FAIL, f"failed: {type(error).__name__}", ADVICE.get(name, AGAIN))


NOBODY_SENDS = "Nobody sends: start manage.py send_notices --loop (or tick) and keep it running."
AGAIN = "Mend what fails above, then run this again."
ADVICE = {
    "database": "Start the database, or correct DATABASE_URL. Checks that need it were left out.",
    "cache": "Start Valkey, or correct REDIS_URL.",
    "e-mail": "Correct PORTAL_EMAIL_URL; notices by e-mail wait in the outbox until then.",
    "migrations": "Run manage.py migrate.",
    "audit": "Run manage.py verify_audit.",
}


def database() -> Iterator[Finding]:
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(VERSIONS[connection.vendor])
        version = str(cursor.fetchone()[0])
    took = (time.monotonic() - started) * 1000
    yield Finding("database", State.OK, f"{connection.vendor} {version}, {took:.0f} ms")


def migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    known = set(executor.loader.graph.nodes)
    newer = [name for name in executor.loader.applied_migrations if name not in known and name[0] in APPS]
    if missing:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _back in missing[:5])
        yield Finding("migrations", State.FAIL, f"{len(missing)} not applied: {names}", ADVICE["migrations"])
    elif newer:
        found = ", ".join(".".join(name) for name in newer[:5])
        advice = "Upgrade this process; the database was migrated by a newer version."
        yield Finding("migrations", State.WARN, f"the database has newer ones: {found}", advice)
    else:
        yield Finding("migrations", State.OK, "all applied")


def clock() -> Iterator[Finding]:
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute(CLOCKS[connection.vendor])
        there = float(cursor.fetchone()[0])
    skew = ((before + time.time()) / 2 - there) * 1000
    if abs(skew) <= SKEW_MS:
        yield Finding("clock", State.OK, f"{skew:+.0f} ms against the database")
    else:
        advice = "Run NTP (chrony) on both machines: codes and signed requests depend on the time."
        yield Finding("clock", State.WARN, f"{skew:+.0f} ms against the database", advice)


def shared_cache() -> Iterator[Finding]:
    key, value = f"portal-doctor:{secrets.token_hex(8)}", secrets.token_hex(8)
    started = time.monotonic()
    cache.set(key, value, 10)
    same = cache.get(key) == value
    cache.delete(key)
    took = (time.monotonic() - started) * 1000
    kind = "Valkey" if settings.REDIS_URL else "memory of this process"
    if not same:
        yield Finding("cache", State.FAIL, f"{kind} does not keep what is set", "Look at its memory limit.")
    elif settings.PROCESSES > 1 and not settings.REDIS_URL:
        advice = "Set REDIS_URL: each process counts failures and limits for itself."
        yield Finding("cache", State.FAIL, f"{kind}, and PORTAL_PROCESSES is {settings.PROCESSES}", advice)
    else:
        yield Finding("cache", State.OK, f"{kind}, {took:.0f} ms, for {settings.PROCESSES} process(es)")


def configuration() -> Iterator[Finding]:
    """Django's and the portal's own checks, as ``check --deploy`` runs them."""
    found = checks.run_checks(include_deployment_checks=True)
    wrong = [message for message in found if not message.is_silenced() and message.level >= checks.WARNING]
    for message in wrong:
        state = State.FAIL if message.level >= checks.ERROR else State.WARN
        yield Finding(f"settings {message.id}", state, message.msg, message.hint or "See docs/operating.md.")
    if settings.DEBUG:
        yield Finding("settings", State.FAIL, "DEBUG is on", "Remove DEBUG=True; error pages show values.")
    if not wrong and not settings.DEBUG:
        ring = f"{len(settings.MASTER_KEYS)} master key(s), {1 + len(settings.SECRET_KEY_FALLBACKS)} secret key(s)"
        yield Finding("settings", State.OK, f"safe: https, secure cookies, no DEBUG; {ring}")


def proxies() -> Iterator[Finding]:
    if settings.TRUSTED_PROXIES:
        yield Finding("proxies", State.OK, "trusted: " + ", ".join(map(str, settings.TRUSTED_PROXIES)))
    elif settings.SECURE:
        advice = "If a proxy ends TLS, name its network in PORTAL_TRUSTED_PROXIES; else all callers have its address."
        yield Finding("proxies", State.WARN, "none is trusted, and TLS ends elsewhere", advice)
    else:
        yield Finding("proxies", State.OK, "none is trusted")


def sms() -> Iterator[Finding]:
    if not settings.SMS_BACKENDS:
        yield Finding(
            "SMS", State.FAIL, "no provider", "Set PORTAL_SMS_BACKENDS: nobody can log in or make a key."
        )
    for path in settings.SMS_BACKENDS:
        last = SmsDelivery.objects.filter(backend=path).order_by("-pk").first()
        told = "nothing sent yet"
        if last is not None:
            age = f"{_age(timezone.now() - last.at)} ago, {last.took_ms} ms"
            told = f"last message {'taken' if last.succeeded else 'failed: ' + last.error} {age}"
        if path not in LOCAL and circuit_breaker.is_open(path):
            advice = (
                "It failed 3 times in a row and is passed over for a minute; see its status page and credit."
            )
            yield Finding(f"SMS {path}", State.WARN, f"circuit open; {told}", advice)
        elif last is not None and not last.succeeded:
            yield Finding(f"SMS {path}", State.WARN, told, "Try it: manage.py send_test_sms PHONE.")
        else:
            yield Finding(f"SMS {path}", State.OK, told)


def email() -> Iterator[Finding]:
    if not settings.EMAIL:
        advice = "Set PORTAL_EMAIL_URL, or accept that notices go by SMS only."
        yield Finding("e-mail", State.WARN, "not configured: nobody can add an address", advice)
        return
    opened = get_connection()
    opened.open()  # connects and logs in, sends nothing
    opened.close()
    yield Finding("e-mail", State.OK, "the server lets us in; no message was sent")


def notices() -> Iterator[Finding]:
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
    told = f"{waiting.count()} wait, oldest for {_age(now - oldest.created_at)}; {sent}" if oldest else sent
    if overdue is not None or late:
        yield Finding("notices", State.FAIL, f"{told}; due work is left undone", NOBODY_SENDS)
    elif run is None or now - run.at > RUN_LATE:
        yield Finding("notices", State.WARN, told, NOBODY_SENDS)
    elif oldest is not None and now - oldest.created_at > NOTICE_STUCK:
        yield Finding(
            "notices", State.WARN, told, "They are tried and fail; see SMS and e-mail, and the log."
        )
    else:
        yield Finding("notices", State.OK, told)


def audit() -> Iterator[Finding]:
    head = AuditHead.objects.first()
    if head is None or not audit_mac.is_head(head):
        yield Finding("audit", State.FAIL, "the head of the chain is missing or changed", ADVICE["audit"])
        return
    # A second that a request needs to link its own event is no backlog.
    old = timezone.now() - timedelta(minutes=1)
    unlinked = AuditEvent.objects.unlinked(head.settled_event).filter(at__lt=old).count()
    told = f"{head.sequence} links, {unlinked} events outside of the chain"
    if unlinked:
        advice = "Run manage.py send_notices, which links them; if they stay, run verify_audit."
        yield Finding("audit", State.WARN, told, advice)
    else:
        yield Finding("audit", State.OK, told)


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
        "audit": (True, audit),
    }
)
