"""The outbox of webhooks: which events go to which endpoint, in which order, and what became of each.

The audit chain is the outbox: an event is in it exactly if its transaction was committed, and has a sequence without
gaps there. `fan_out` makes a delivery of each link for each endpoint that wants it, in the order of the chain, and
nothing of this runs in the transactions of people.

A delivery is taken under the lock of its endpoint's row, so that any number of senders takes each once, in order. It is
in work until its lease ends; of a sender that is killed meanwhile, another one takes it again.
"""

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone
from standardwebhooks import Webhook

from accounts.models import AuditHead, AuditLink, WebhookDelivery, WebhookEndpoint
from accounts.webhooks import documents, filters
from accounts.webhooks.transport import Answer

logger = logging.getLogger("portal.webhooks")
#: Links that one transaction looks at.
PAGE = 500
#: Requests to one endpoint at once, by all senders together: a receiver that hangs holds so many threads.
CONCURRENCY = 4
#: Longer than `transport.TOTAL_SECONDS`, with a machine that stalls for a while in between.
LEASE = timedelta(minutes=2)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=8)
GIVE_UP_AFTER = timedelta(days=3)
WAITING = Q(delivered_at=None, gave_up_at=None)


@dataclass(frozen=True)
class Message:
    """A delivery in work: everything that its request needs."""

    delivery: WebhookDelivery
    url: str
    headers: dict[str, str]
    body: bytes


def fan_out() -> int:
    """Make deliveries of what was linked since the last call; return how many. Safe to run many at once."""
    head = AuditHead.objects.only("sequence", "pruned_sequence").first()
    if head is None:
        return 0
    count = 0
    behind = WebhookEndpoint.objects.filter(is_active=True, sequence__lt=head.sequence)
    for pk in list(behind.values_list("pk", flat=True)):
        while (made := _fan_out_page(pk)) is not None:
            count += made
    return count


@transaction.atomic
def _fan_out_page(pk: uuid.UUID) -> int | None:
    """Look at one page of links for one endpoint. Return the number of deliveries, None if nothing is left."""
    locked = WebhookEndpoint.objects.select_for_update(skip_locked=True)
    endpoint = locked.filter(pk=pk, is_active=True).first()
    if endpoint is None:
        return None
    # Links become visible in the order of their sequence: each is committed before the next one begins.
    links = list(
        AuditLink.objects.filter(sequence__gt=endpoint.sequence)
        .select_related("event")
        .order_by("sequence")[:PAGE]
    )
    if not links:
        return None
    deliveries = []
    for link in links:
        if link.sequence != endpoint.sequence + 1:
            # Nobody gets this number, so that the receiver sees that something is missing.
            endpoint.number += 1
            logger.error("webhook %s: links before %s are gone", endpoint.name, link.sequence)
        endpoint.sequence = link.sequence
        if filters.is_wanted(endpoint, link.event):
            endpoint.number += 1
            deliveries.append(
                WebhookDelivery(
                    endpoint=endpoint, event=link.event, number=endpoint.number, lane=link.event.customer_id
                )
            )
    WebhookDelivery.objects.bulk_create(deliveries)
    endpoint.save(update_fields=["sequence", "number"])
    return len(deliveries)


def take(now: datetime) -> list[Message]:
    """Take what may be sent now: for each endpoint up to its `CONCURRENCY`, of each customer one."""
    messages = []
    for endpoint in WebhookEndpoint.objects.filter(is_active=True):
        try:
            # Without a transaction: on SQLite an idle sender would lock the database.
            if _due(endpoint, now).exists():
                messages += _take_of(endpoint, now)
        except DatabaseError:
            raise
        except Exception as error:  # a secret that does not open keeps no other endpoint waiting
            logger.error("webhook %s: %s", endpoint.name, type(error).__name__)
    return messages


@transaction.atomic
def _take_of(endpoint: WebhookEndpoint, now: datetime) -> list[Message]:
    locked = WebhookEndpoint.objects.select_for_update(skip_locked=True).filter(
        pk=endpoint.pk, is_active=True
    )
    fresh = locked.first()
    if fresh is None:
        return []  # another sender takes for this endpoint
    in_work = WebhookDelivery.objects.filter(WAITING, endpoint=fresh, leased_until__gt=now).count()
    if (room := CONCURRENCY - in_work) <= 0:
        return []
    deliveries = list(_due(fresh, now).order_by("next_try_at", "number")[:room])
    for delivery in deliveries:
        delivery.endpoint = fresh
        delivery.attempts += 1
        delivery.leased_until = now + LEASE
    WebhookDelivery.objects.bulk_update(deliveries, ["attempts", "leased_until"])
    return _messages(fresh, deliveries, now)


def _due(endpoint: WebhookEndpoint, now: datetime) -> QuerySet[WebhookDelivery]:
    """The deliveries that may be taken: their time has come, and nothing of their customer waits before them."""
    waiting = WebhookDelivery.objects.filter(WAITING, endpoint=endpoint)
    earlier = waiting.filter(lane=OuterRef("lane"), number__lt=OuterRef("number"))
    free = Q(leased_until=None) | Q(leased_until__lte=now)
    return waiting.filter(free, ~Exists(earlier), next_try_at__lte=now)


def _messages(endpoint: WebhookEndpoint, deliveries: list[WebhookDelivery], now: datetime) -> list[Message]:
    bodies = documents.bodies(deliveries)
    signers = [Webhook(secret) for secret in endpoint.secrets(now)]
    messages = []
    for delivery in deliveries:
        body = bodies.get(delivery)
        if body is None:
            _without_event(delivery, now)
            continue
        signatures = [signer.sign(delivery.message_id, now, body) for signer in signers]
        headers = {
            "Content-Type": documents.CONTENT_TYPE,
            "webhook-id": delivery.message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        messages.append(Message(delivery, delivery.url or endpoint.url, headers, body.encode()))
    return messages


def _without_event(delivery: WebhookDelivery, now: datetime) -> None:
    """An event that is not linked yet has its delivery tried again soon; one that was pruned has it given up."""
    if now < delivery.created_at + GIVE_UP_AFTER:
        delivery.attempts -= 1
        delivery.next_try_at = now + FIRST_PAUSE
    else:
        delivery.gave_up_at, delivery.error = now, "Pruned"
    delivery.leased_until = None
    delivery.save(update_fields=["attempts", "next_try_at", "gave_up_at", "error", "leased_until"])


def note(delivery: WebhookDelivery, answer: Answer, now: datetime) -> None:
    """Write down what became of an attempt: done, to be tried again, or given up after three days."""
    values = {"status": answer.status, "error": answer.error, "took_ms": answer.took_ms, "leased_until": None}
    if answer.is_success:
        # Whoever took it meanwhile (a lease ran out): it is delivered, whatever the attempt.
        WebhookDelivery.objects.filter(pk=delivery.pk).update(**values, delivered_at=now, gave_up_at=None)
        return
    ours = WebhookDelivery.objects.filter(WAITING, pk=delivery.pk, attempts=delivery.attempts)
    if now < delivery.since + GIVE_UP_AFTER:
        ours.update(**values, next_try_at=now + pause_after(delivery.attempts))
    elif ours.update(**values, gave_up_at=now):
        logger.error("%s to webhook %s was given up", delivery.message_id, delivery.endpoint.name)


def pause_after(attempts: int) -> timedelta:
    """Return the time until the next attempt: 10 s, 40 s, 3 min, 11 min, 43 min, 3 h, then 8 h."""
    return min(FIRST_PAUSE * (1 << 2 * min(attempts - 1, 10)), LONGEST_PAUSE)


def send_again(delivery: WebhookDelivery) -> bool:
    """Put a delivery that is over into the outbox once more; False while it waits there.

    With the same `message_id` and number: a receiver that has it knows it. Nothing waits for it.
    """
    now = timezone.now()
    over = WebhookDelivery.objects.filter(~WAITING, pk=delivery.pk)
    return (
        over.update(delivered_at=None, gave_up_at=None, attempts=0, since=now, next_try_at=now, lane=None)
        == 1
    )


def endpoints_with_unseen() -> list[tuple[WebhookEndpoint, datetime | None]]:
    """Return all endpoints, each with the time of the oldest linked event that `fan_out` has not looked at.

    Without a sender nothing is waiting, and only this tells that something should be.
    """
    unseen = AuditLink.objects.filter(sequence__gt=OuterRef("sequence")).order_by("sequence")
    rows = WebhookEndpoint.objects.annotate(unseen_since=Subquery(unseen.values("event__at")[:1]))
    return [(row, row.unseen_since) for row in rows]


def count_waiting() -> int:
    return WebhookDelivery.objects.filter(WAITING).count()
