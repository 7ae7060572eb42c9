"""Webhooks: what they are told, a test event, and sending again what was given up.

SECURITY: nothing here creates an endpoint or changes its address, filter or secret: with a stolen token, all events of
all customers would go to its holder, and still do so after the token was revoked.
"""

from __future__ import annotations

import uuid
from typing import Any

from accounts.models import WebhookDelivery, WebhookEndpoint
from accounts.webhooks import endpoints
from apikeys.management_api.documents import iso
from apikeys.management_api.endpoints import Answer, Call
from apikeys.management_api.problems import invalid
from apikeys.management_api.rows import HIGHEST, MAX_PAGE, after_number, find

MAX_NUMBERS = 100


def list_webhooks(_call: Call) -> Answer:
    return 200, {"items": [webhook_document(endpoint) for endpoint in WebhookEndpoint.objects.all()]}


def get_webhook(_call: Call, webhook_id: uuid.UUID) -> Answer:
    return 200, webhook_document(find(WebhookEndpoint.objects.all(), webhook_id))


def list_deliveries(call: Call, webhook_id: uuid.UUID) -> Answer:
    """By number. The notice to a replaced address has none, and is not listed."""
    after = after_number(call)
    limit = call.integer("limit", default=50, least=1, most=MAX_PAGE)
    rows = WebhookDelivery.objects.filter(
        endpoint=find(WebhookEndpoint.objects.all(), webhook_id), number__gt=after
    )
    page = list(rows.order_by("number")[:limit])
    return 200, {
        "items": [delivery_document(row) for row in page],
        "next": page[-1].number if page else after,
    }


def send_test(call: Call, webhook_id: uuid.UUID) -> Answer:
    endpoints.send_test(find(WebhookEndpoint.objects.all(), webhook_id), via="api", token=call.token.name)
    return 200, {"sent": True}


def resend(call: Call, webhook_id: uuid.UUID) -> Answer:
    """Send again those of ``numbers`` that were given up. What was delivered is not sent again: a flood of it would
    delay what is new.
    """
    numbers = call.body.get("numbers")
    if (
        not isinstance(numbers, list)
        or not 1 <= len(numbers) <= MAX_NUMBERS
        or not all(type(number) is int and 1 <= number <= HIGHEST for number in numbers)
    ):
        raise invalid("numbers", f"1 to {MAX_NUMBERS} numbers of deliveries")
    endpoint = find(WebhookEndpoint.objects.all(), webhook_id)
    rows = WebhookDelivery.objects.filter(endpoint=endpoint, number__in=numbers, gave_up_at__isnull=False)
    by: dict[str, Any] = {"via": "api", "token": call.token.name}
    sent = [row for row in rows.select_related("endpoint") if endpoints.send_again(row, **by)]
    return 200, {"numbers": sorted(row.number for row in sent if row.number)}


def webhook_document(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": str(endpoint.pk),
        "name": endpoint.name,
        "host": endpoint.host,
        "events": endpoint.events,
        "is_active": endpoint.is_active,
        "created_at": iso(endpoint.created_at),
        "number": endpoint.number,
        "sequence": endpoint.sequence,
    }


def delivery_document(row: WebhookDelivery) -> dict[str, Any]:
    is_over = row.delivered_at is not None or row.gave_up_at is not None
    return {
        "id": row.message_id,
        "number": row.number,
        "created_at": iso(row.created_at),
        "attempts": row.attempts,
        "status": row.status,
        "error": row.error,
        "took_ms": row.took_ms,
        "next_try_at": None if is_over else iso(row.next_try_at),
        "delivered_at": iso(row.delivered_at),
        "given_up_at": iso(row.gave_up_at),
    }
