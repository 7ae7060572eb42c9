"""Records: security events in the order of the chain, and SMS deliveries."""

from __future__ import annotations

import json

from accounts.audit import stream
from accounts.models import AuditHead, AuditLink, SmsDelivery
from apikeys.management_api.documents import iso
from apikeys.management_api.endpoints import Answer, Call
from apikeys.management_api.problems import ApiProblem
from apikeys.management_api.rows import MAX_PAGE, after_number

MAX_EVENTS = 1_000


def list_events(call: Call) -> Answer:
    """Return the events behind the sequence ``after``. Sequences have no gaps: a consumer sees that it has all."""
    after = after_number(call)
    limit = call.integer("limit", default=100, least=1, most=MAX_EVENTS)
    head = AuditHead.objects.first()
    pruned = head.pruned_sequence if head else 0
    if after < pruned and "after" in call.query:
        raise ApiProblem(410, "pruned", "Events behind this sequence were pruned.", pruned_sequence=pruned)
    links = list(
        AuditLink.objects.filter(sequence__gt=max(after, pruned))
        .select_related("event")
        .order_by("sequence")[:limit]
    )
    known = stream.external_ids(link.event for link in links)
    return 200, {
        "items": [json.loads(stream.line(link.event, link, known)) for link in links],
        "next": links[-1].sequence if links else max(after, pruned),
        "pruned_sequence": pruned,
    }


def list_deliveries(call: Call) -> Answer:
    after = after_number(call)
    limit = call.integer("limit", default=50, least=1, most=MAX_PAGE)
    page = list(SmsDelivery.objects.filter(pk__gt=after).order_by("pk")[:limit])
    items = [
        {
            "id": row.pk,
            "at": iso(row.at),
            "provider": row.backend,
            "purpose": row.purpose,
            "number": row.number,
            "spoken": row.spoken,
            "succeeded": row.succeeded,
            "error": row.error,
            "took_ms": row.took_ms,
            "parts": row.parts,
        }
        for row in page
    ]
    return 200, {"items": items, "next": page[-1].pk if page else after}
