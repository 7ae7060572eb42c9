"""How fast an import is, as a ratio: rows a second against a bare ``bulk_create`` of the same rows; and its memory.

``python -m bench.importing [ROWS]``, on a PostgreSQL of its own. Without password hashes: an import verifies none, it
only stores their text.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.world import World

ROWS = 100_000
BATCH = 1_000
#: An import checks and normalises every value, and asks the database for ids and numbers that it has.
LEAST_RATIO = 1 / 3
MOST_GROWTH = 1.1


def lines(count: int) -> Iterator[str]:
    yield "external_id,phone,name,email,language,phone_verified\n"
    for number in range(count):
        yield f"c-{number},+98935{number:07d},مشتری {number},c{number}@example.com,fa,true\n"


def bare(count: int) -> float:
    """Seconds of a bare ``bulk_create`` of the same users and phones."""
    from django.db import transaction
    from django.utils import timezone

    from accounts.models import SmsDevice, User

    now, began = timezone.now(), time.perf_counter()
    for start in range(0, count, BATCH):
        with transaction.atomic():
            users = User.objects.bulk_create(
                User(
                    external_id=f"c-{number}", phone=f"+98935{number:07d}", name=f"مشتری {number}",
                    email=f"c{number}@example.com", language="fa", password="!", joined_at=now,
                )
                for number in range(start, min(start + BATCH, count))
            )  # fmt: skip
            SmsDevice.objects.bulk_create(
                SmsDevice(user=user, name="sms", number=user.phone, confirmed=True, confirmed_at=now)
                for user in users
            )
    return time.perf_counter() - began


def imported(path: Path) -> float:
    from accounts.transfer import Importer, read_rows

    began = time.perf_counter()
    with path.open("rb") as file:
        importer = Importer(dry_run=False, batch=BATCH, refuse=lambda *_: None, progress=lambda: None)
        summary = importer.run(read_rows(file, "csv"))
    assert summary.created == summary.rows > 0, summary
    return time.perf_counter() - began


def memory() -> int:
    """Return the resident memory in kB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


def clear() -> None:
    from accounts.models import SmsDevice, User

    SmsDevice.objects.all().delete()
    User.objects.all().delete()


def main(count: int) -> int:
    with World() as world:
        path, small = world.directory / "users.csv", world.directory / "small.csv"
        path.write_text("".join(lines(count)), encoding="utf-8")
        small.write_text("".join(lines(count // 10)), encoding="utf-8")
        imported(small)
        before = memory()
        clear()
        took = imported(path)
        growth = memory() / before
        clear()
        reference = bare(count)
    ratio = reference / took
    sys.stdout.write(
        f"import {count / took:8,.0f} rows/s   bulk_create {count / reference:8,.0f} rows/s   x {ratio:.2f} "
        f"(at least {LEAST_RATIO:.2f})\n"
        f"resident memory after {count:,} rows: x {growth:.2f} of that after {count // 10:,} (at most {MOST_GROWTH})\n"
    )
    return 0 if ratio >= LEAST_RATIO and growth <= MOST_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
