"""Whether people wait for their notices while a receiver of webhooks hangs.

``python -m bench.webhooks [EVENTS] [NOTICES]``: seconds from an urgent event to the end of its notice's delivery,
without webhooks and then with EVENTS that wait for a receiver that accepts connections and never answers, by the same
process of ``send_notices --loop``. What counts is the ratio of the medians. On a PostgreSQL of its own.
"""

import statistics
import sys
import time
from typing import TYPE_CHECKING

from bench import notices
from bench.load import counts
from bench.world import World
from tests.support.webhook_receiver import Receiver

if TYPE_CHECKING:
    from accounts.models import User

EVENTS, NOTICES = 10_000, 30
MOST_RATIO = 1.5
#: Between two looks into the outbox. With the usual 5 s the moment of the event would decide, and nothing else.
EVERY_SECONDS = "0.1"


def fill(owner: "User", url: str, count: int) -> None:
    """Create the endpoint, and its events of ``count`` customers, all of which may be sent at once."""
    from accounts.models import AuditLink, WebhookDelivery
    from accounts.webhooks import endpoints

    event = AuditLink.objects.filter(event__customer=owner).latest("sequence").event
    # Its own events are of webhooks; those of the measured notices are not for it.
    endpoint, _secret = endpoints.create("dead", url, ["webhook.*"])
    WebhookDelivery.objects.bulk_create(
        (
            WebhookDelivery(endpoint=endpoint, event=event, number=number, lane=number)
            for number in range(1_000_000, 1_000_000 + count)
        ),
        batch_size=2_000,
    )


def main(events: int, count: int) -> int:
    world = World(PORTAL_WEBHOOK_NETWORKS="127.0.0.0/8")
    with world, notices.provider(), Receiver(behaviour=lambda _n: "never") as receiver:
        from accounts.audit import chain
        from accounts.models import WebhookDelivery
        from accounts.webhooks import outbox

        owner = notices.make_owner()
        chain.seal_pending()
        with notices.sender("--every", EVERY_SECONDS):
            notices.measure(owner, 3)  # until it runs
            before = notices.measure(owner, count)
            fill(owner, receiver.url, events)
            while not receiver.received:
                time.sleep(0.1)
            after = notices.measure(owner, count)
        waiting = outbox.count_waiting()
        failed = WebhookDelivery.objects.filter(outbox.WAITING, attempts__gt=0).count()
    ratio = statistics.median(after) / statistics.median(before)
    sys.stdout.write(
        f"urgent notice: median {statistics.median(before):.2f} s without webhooks, "
        f"{statistics.median(after):.2f} s with {waiting:,} events waiting for a receiver that hangs "
        f"({failed} were tried): x {ratio:.2f} (at most {MOST_RATIO})\n"
    )
    return 0 if ratio <= MOST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main(*counts(EVENTS, NOTICES)))
