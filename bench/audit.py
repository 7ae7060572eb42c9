"""How fast the audit trail is verified and exported, as ratios: events a second against a bare loop over the same rows.

``python -m bench.audit [EVENTS]``, on a PostgreSQL of its own. The bare loop reads events and links page by page with
psycopg, joins their columns to one text and computes one HMAC of it; a verification computes two and the canonical
JSON, an export masks and writes a line. Also the growth of the memory, and how long a verification of the last
hundredth takes.
"""

import hashlib
import hmac
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from bench.world import World

EVENTS, ROUNDS, PAGE, PART = 100_000, 3, 2_000, 5_000
#: Least parts of the bare loop's speed.
LEAST = {"verify_audit": 0.3, "export_audit, JSON lines": 0.18, "export_audit, CSV": 0.12}
MOST_GROWTH = 1.1
#: Of the time of a whole verification, for one hundredth of the events.
MOST_OF_SINCE = 0.1
AGENTS = [
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0.0.0 Safari/537.36"
    for n in range(100, 140)
]
COLUMNS = (
    "id", "at", "event", "actor_id", "customer_id", "target", "label", "succeeded", "address", "agent", "request_id",
    "detail", "mac",
)  # fmt: skip


def event_of(number: int) -> Any:
    """Return one event as it is recorded; every second is of a page, with a browser."""
    from accounts.choices import audit_mac
    from accounts.models import AuditEvent

    is_page = number % 2 == 0
    event = AuditEvent(
        pk=number, at=datetime.now(UTC), actor_id=number // 15, customer_id=number // 15,
        event=("login", "key.renamed", "key.settings", "sms.sent")[number % 4],
        target=f"{number // 8:08x}-0000-4000-8000-000000000000" if number % 3 else "",
        label=f"بات {number % 9}" if number % 3 else "", address=f"198.51.{number // 15 % 250}.{number % 250}",
        agent=AGENTS[number // 15 % len(AGENTS)] if is_page else "", request_id=secrets.token_hex(8) if is_page else "",
        detail={"changes": ["permission:+trade"], "before": "old bot", "number": number} if number % 3 else {},
    )  # fmt: skip
    event.salt = secrets.token_hex(audit_mac.SALT_BYTES)
    event.mac = audit_mac.event_mac(event)
    return event


def record(count: int) -> None:
    """Insert events with their MACs and links, and move the head."""
    import json

    from django.db import connection

    from accounts.choices import audit_mac
    from accounts.models import AuditEvent, AuditHead

    newest = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    last = newest + count
    AuditHead.objects.get_or_create(pk=1)
    head = AuditHead.objects.get(pk=1)
    numbers = iter(range(newest + 1, last + 1))
    while events := [event_of(number) for number in islice(numbers, PART)]:
        links = []
        for event in events:
            head.sequence += 1
            head.link_mac = audit_mac.link_mac(head.sequence, head.link_mac, event)
            links.append((head.sequence, event.pk, head.link_mac))
        rows = [
            tuple(
                json.dumps(audit_mac.salted_detail(event)) if name == "detail" else getattr(event, name)
                for name in COLUMNS
            )
            for event in events
        ]
        with connection.cursor() as cursor:
            columns = ", ".join("id" if name == "pk" else name for name in COLUMNS)
            with cursor.copy(f"COPY accounts_auditevent ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            with cursor.copy("COPY accounts_auditlink (sequence, event_id, mac) FROM STDIN") as copy:
                for link in links:
                    copy.write_row(link)
    head.highest_event = head.settled_event = last
    head.save()
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval(pg_get_serial_sequence('accounts_auditevent', 'id'), %s)", [last])
        cursor.execute("VACUUM ANALYZE accounts_auditevent, accounts_auditlink")


def bare() -> None:
    """Read all rows of the trail by pages, and compute one HMAC of each."""
    from django.db import connection

    names = ", ".join(f"e.{name}::text" for name in COLUMNS)
    statement = (
        f"SELECT l.sequence, l.mac, {names} FROM accounts_auditlink l JOIN accounts_auditevent e ON e.id = l.event_id "
        "WHERE l.sequence > %s ORDER BY l.sequence LIMIT %s"
    )
    last, key = 0, b"k" * 32
    with connection.cursor() as cursor:
        while True:
            cursor.execute(statement, [last, PAGE])
            rows = cursor.fetchall()
            if not rows:
                return
            for row in rows:
                message = "|".join([text or "" for text in row[1:]])
                hmac.digest(key, message.encode(), hashlib.sha256)
            last = rows[-1][0]


def whole(since: datetime | None = None) -> None:
    from accounts.audit.verify import Walk

    results = list(Walk(since=since).findings())
    assert not results, results[:3]


def exported(kind: str, directory: Path) -> None:
    from django.core.management import call_command

    call_command(
        "export_audit",
        "--format",
        kind,
        "--until",
        "2030-01-01",
        "--output",
        str(directory / f"events.{kind}"),
        "--force",
    )


def memory() -> int:
    """Return the resident memory in kB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def works(directory: Path) -> dict[str, Callable[[], object]]:
    return {
        "verify_audit": whole,
        "export_audit, JSON lines": lambda: exported("jsonl", directory),
        "export_audit, CSV": lambda: exported("csv", directory),
    }


def main(count: int) -> int:
    is_fast = True
    with World() as world:
        from accounts.models import AuditEvent

        record(count // 10)
        measured = works(world.directory)
        for work in measured.values():
            work()
        before = memory()
        record(count - count // 10)
        ratios: dict[str, list[float]] = {name: [] for name in measured}
        rates: dict[str, list[float]] = {name: [] for name in measured}
        wholes, parts = [], []
        since = AuditEvent.objects.order_by("-pk").values_list("at", flat=True)[count // 100]
        for _round in range(ROUNDS):
            for name, work in measured.items():
                # Before and after: the machine's speed may change within a second.
                first = seconds(bare)
                took = seconds(work)
                ratios[name].append((first + seconds(bare)) / 2 / took)
                rates[name].append(count / took)
                if name == "verify_audit":
                    wholes.append(took)
            parts.append(seconds(lambda: whole(since)))
        growth = memory() / before
    for name, values in ratios.items():
        sys.stdout.write(
            f"{name:26} {median(rates[name]):8,.0f} events/s   x {median(values):.2f} of the bare loop "
            f"(at least {LEAST[name]})\n"
        )
        is_fast &= median(values) >= LEAST[name]
    of_since = median(parts) / median(wholes)
    sys.stdout.write(
        f"the last hundredth: x {of_since:.2f} of the time of all (at most {MOST_OF_SINCE})\n"
        f"resident memory after {count:,} events: x {growth:.2f} of that after {count // 10:,} "
        f"(at most {MOST_GROWTH})\n"
    )
    return 0 if is_fast and of_since <= MOST_OF_SINCE and growth <= MOST_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS))
