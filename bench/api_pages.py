"""Whether a page of the management API costs the same whatever the number of customers.

``python -m bench.api_pages [FEW] [MANY]``: the first page, a page in the middle, and the keys of one customer, with FEW
customers of one key each and then with MANY. What counts are the ratios of the medians. In this process, on a
PostgreSQL of its own, with tables that autovacuum would have analysed.
"""

import statistics
import sys
import time
import uuid
from typing import Any

from bench.load import counts
from bench.world import World

FEW, MANY = 1_000, 100_000
BATCH = 10_000
REQUESTS = 100
MOST_RATIO = 1.5
#: Name → path; ``{user}`` is a customer in the middle.
PATHS = {
    "keys, first page": "/keys",
    "keys, page in the middle": f"/keys?after={uuid.UUID(int=2**127)}",
    "keys of a customer": "/keys?user={user}",
    "users, page in the middle": "/users?after={user}",
}


def add(count: int) -> None:
    from django.db import connection

    from bench import keys

    while count > 0:
        keys.hmac_holders(min(count, BATCH))
        count -= BATCH
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def measure() -> dict[str, float]:
    """Return the median of the seconds by the name of the page."""
    from django.core.cache import cache
    from django.db.models import Max

    from accounts.models import User
    from tests.apikeys.management_api import calls

    middle = (User.objects.aggregate(last=Max("pk"))["last"] or 0) // 2
    medians = {}
    for name, path in PATHS.items():
        cache.clear()  # the token's rate
        office: Any = calls.Office(calls.token(name=f"bench {uuid.uuid4().hex[:8]}"))
        seconds = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            answer = office.get(path.format(user=middle))
            seconds.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.content
        medians[name] = statistics.median(seconds)
    return medians


def main(few: int, many: int) -> int:
    with World():
        add(few)
        before = measure()
        add(many - few)
        after = measure()
    highest = 0.0
    for name, small in before.items():
        ratio = after[name] / small
        highest = max(highest, ratio)
        sys.stdout.write(
            f"{name:26} {small * 1e3:7.2f} ms of {few:,} customers   {after[name] * 1e3:7.2f} ms of {many:,}   "
            f"x {ratio:.2f} (at most {MOST_RATIO})\n"
        )
    return 0 if highest <= MOST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main(*counts(FEW, MANY)))
