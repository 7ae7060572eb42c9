"""What pages of staff and ``/metrics`` cost the database when the data grow, as ratios to the same pages with few data.

``python -m bench.growth [CUSTOMERS] [ROUNDS]``, on a PostgreSQL of its own. Each page is measured with 1,000 customers
and with CUSTOMERS (200,000; for each two keys, 15 events, ten days of use, five SMS), as the time of its statements.
The many rows are made by SQL and have no MACs, which no page reads.
"""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import Row, write
from bench.world import World

CUSTOMERS, FEW, ROUNDS = 200_000, 1_000, 7
MOST = 1.5
#: The customer whose pages are measured has so many events, in the small and in the large database.
BUSY_EVENTS = 20_000
RESULTS = Path(__file__).resolve().parent / "growth.md"
INTRODUCTION = (
    "Written by `python -m bench.growth`: the time of a page's statements in the database with {many:,} customers,\n"
    "divided by that with {few:,}; medians of {rounds} rounds."
)


def fill(model: Any, number: int, start: int, /, **columns: str) -> None:
    """Insert ``number`` rows with defaults. ``columns``: SQL expressions of ``n``, whose first value is ``start``."""
    from django.db import connection

    names, expressions, values = [], [], []
    for field in model._meta.concrete_fields:
        if field.column not in columns and getattr(field, "primary_key", False):
            continue
        names.append(f'"{field.column}"')
        if field.column in columns:
            expressions.append(columns[field.column].replace("%", "%%"))
        else:
            value = field.get_default()
            empty = "" if value is None and not field.null else value
            expressions.append("%s")
            values.append(field.get_db_prep_save(empty, connection))
    with connection.cursor() as cursor:
        # Without triggers: 400,000 keys would notify as many times.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            f'INSERT INTO "{model._meta.db_table}" ({", ".join(names)}) SELECT {", ".join(expressions)} '
            f"FROM generate_series({start}, {start + number - 1}) AS n",
            values,
        )
        cursor.execute("SET session_replication_role = origin")


def grow(start: int, customers: int) -> None:
    """Add customers ``start`` … ``start + customers`` with their keys, events and use."""
    from django.db import connection

    from accounts.models import AuditEvent, SmsDelivery, User
    from apikeys.models import ApiKey, DailyUse

    first, owner = 1_000_000, "1000000 + n / 2"
    fill(
        User, customers, start, id=f"{first} + n", phone="'+98970' || lpad(n::text, 7, '0')", password="'!'",
        name="(array['Sara', 'Ali', 'Zahra', 'Omid'])[1 + n % 4] || ' ' || n",
        joined_at="now() - n * interval '9 seconds'", created_at="now() - n * interval '9 seconds'",
        is_active="n % 500 <> 0", frozen_at="CASE WHEN n % 400 = 0 THEN now() END",
    )  # fmt: skip
    fill(
        ApiKey, 2 * customers, 2 * start, id="md5('key' || n)::uuid", wizard="md5('w' || n)::uuid", owner_id=owner,
        label="'bot ' || n % 7", label_folded="'bot ' || n % 7 || ' ' || n", key_id="md5('a' || n) || md5('b' || n)",
        created_at="now() - n * interval '5 seconds'",
        state="(array['active', 'active', 'active', 'frozen', 'revoked'])[1 + n % 5]",
        ip_policy="CASE WHEN n % 3 = 0 THEN 'unrestricted' ELSE 'trusted' END", can_read="true", can_trade="n % 2 = 0",
        last_used_at="CASE WHEN n % 4 = 0 THEN NULL ELSE now() - n % 200 * interval '1 day' END",
    )  # fmt: skip
    fill(
        AuditEvent, 15 * customers, 15 * start, at="now() - (3000000 - n) * interval '3 seconds'",
        event="(array['login', 'sms.sent', 'key.created', 'key.renamed', 'logout'])[1 + n % 5]",
        customer_id=f"{first} + n / 15", actor_id=f"{first} + n / 15", target="md5('key' || n / 8)::uuid::text",
        address="'198.51.' || n / 15 % 250 || '.' || n % 250",
    )  # fmt: skip
    fill(
        DailyUse, 20 * customers, 20 * start, key_id="md5('key' || n / 10)::uuid", day="current_date - n % 10",
        outcome="CASE WHEN n % 20 = 0 THEN 'signature' ELSE 'allowed' END", permission="'read'", count="1 + n % 900",
    )  # fmt: skip
    fill(
        SmsDelivery, 5 * customers, 5 * start, at="now() - n % 160 * interval '1 day'", backend="'provider'",
        purpose="'login'", number="'0912•••' || n % 9999", succeeded="n % 50 <> 0",
    )  # fmt: skip
    link_events()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def link_events() -> None:
    """Link the events without MACs, so that none waits for it; only the head is signed."""
    from django.db import connection

    from accounts.models import AuditEvent, AuditHead, AuditLink

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_auditlink (sequence, event_id, mac) SELECT row_number() OVER (ORDER BY id) + "
            "(SELECT coalesce(max(sequence), 0) FROM accounts_auditlink), id, 'x' FROM accounts_auditevent "
            "WHERE id > (SELECT coalesce(max(event_id), 0) FROM accounts_auditlink)"
        )
    last = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True)[0]
    sequence = AuditLink.objects.order_by("-pk").values_list("pk", flat=True)[0]
    AuditHead.objects.get_or_create(pk=1)
    head = AuditHead.objects.get(pk=1)
    head.sequence, head.link_mac, head.highest_event, head.settled_event = sequence, "x", last, last
    head.save()


def statements_of(get: Callable[[], Any], rounds: int) -> float:
    """Return the median time of the statements of ``get``, in seconds."""
    from django.db import connection

    spent = 0.0

    def timed(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal spent
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            spent += time.perf_counter() - began

    get()
    times = []
    for _round in range(rounds):
        spent = 0.0
        with connection.execute_wrapper(timed):
            response = get()
        assert response.status_code == 200, response.status_code
        times.append(spent)
    return median(times)


def busy_customer() -> Any:
    """Return a customer with a key and many events, older than those that will be added."""
    from accounts.models import AuditEvent
    from tests.support.people import customer, key_of

    sara = customer(name="Sara Busy")
    key = key_of(sara, "busy bot")
    fill(
        AuditEvent, BUSY_EVENTS, 0, at="now() - (20000000 - n) * interval '3 seconds'", event="'key.renamed'",
        customer_id=str(sara.user.pk), actor_id=str(sara.user.pk), target=f"'{key.pk}'", address="'203.0.113.7'",
    )  # fmt: skip
    return sara, key


def pages(sara: Any, key: Any, oldest: str) -> dict[str, Callable[[], Any]]:
    from accounts.staff.opaque_ids import AccountId
    from apikeys.operations import metrics
    from tests.support.gateways import token
    from tests.support.people import logged_in
    from tests.support.staff import EVENTS, KEYS, SMS, USERS, page_of, staff_member

    client = logged_in(staff_member("security"))
    bearer = {"Authorization": f"Bearer {token(f'bench-{oldest}')}"}
    last = (timezone_today() - timedelta(days=60)).isoformat()

    def scrape() -> Any:
        metrics._kept = None
        return client.get("/metrics", headers=bearer)

    gets: dict[str, str] = {
        "keys": KEYS,
        "keys, one of the last pages": f"{KEYS}?before={oldest}",
        "keys, deleted": f"{KEYS}?state=revoked",
        "keys, never used": f"{KEYS}?used=never",
        "keys, older than a year": f"{KEYS}?age=older",
        "keys, by IP": f"{KEYS}?address=203.0.113.7",
        "keys, by a part of a name": f"{KEYS}?q=busy",
        "one key, of a customer with 20,000 events": f"{KEYS}{key.pk}/change/",
        "customers": USERS,
        "customers, closed": f"{USERS}?state=closed",
        "customers, frozen": f"{USERS}?state=frozen",
        "one customer with 20,000 events": page_of(sara),
        "events": EVENTS,
        "events, by IP": f"{EVENTS}?address=203.0.113.7",
        "events, of a key": f"{EVENTS}?target={key.pk}",
        "events, up to a day": f"{EVENTS}?last={last}",
        "events, of a kind": f"{EVENTS}?event=key.created",
        "SMS": SMS,
        "SMS, failed": f"{SMS}?state=failed",
        "SMS, of one purpose": f"{SMS}?purpose=test",
        "SMS, by one provider": f"{SMS}?backend=accounts.sms.file",
        "SMS, to a customer": f"{SMS}?whom={AccountId.hide(sara.user.pk)}",
        "overview": "/admin/",
    }
    made: dict[str, Callable[[], Any]] = {name: partial(client.get, path) for name, path in gets.items()}
    made["customers, by a part of a name"] = lambda: client.post(USERS, {"q": "ara"})
    made["customers, by a rare part of a name"] = lambda: client.post(USERS, {"q": "mid 7717"})
    made["/metrics"] = scrape
    return made


def timezone_today() -> Any:
    from django.utils import timezone

    return timezone.localdate()


def main() -> int:
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else CUSTOMERS
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    began = time.time()
    measured: list[dict[str, float]] = []
    with World():
        from django.conf import settings
        from django.core.management import call_command

        from apikeys.models import ApiKey

        settings.ALLOWED_HOSTS = ["*"]
        call_command("collectstatic", verbosity=0, interactive=False)
        sara, key = busy_customer()
        for start, count in ((0, FEW), (FEW, customers - FEW)):
            grow(start, count)
            oldest = ApiKey.objects.order_by("created_at", "pk").values_list("pk", flat=True)[120]
            measured.append(
                {name: statements_of(get, rounds) for name, get in pages(sara, key, str(oldest)).items()}
            )
    few, many = measured
    rows = [
        Row(
            name,
            f"{many[name] / few[name]:.2f}",
            f"<= {MOST}",
            f"{few[name] * 1e3:.1f} : {many[name] * 1e3:.1f} ms",
        )
        for name in few
    ]
    introduction = INTRODUCTION.format(many=customers, few=FEW, rounds=rounds)
    write(rows, began, RESULTS, "What pages cost the database when the data grow", introduction)
    return 0


if __name__ == "__main__":
    sys.exit(main())
