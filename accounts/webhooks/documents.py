"""The body of a message: an event of the audit trail as CloudEvents 1.0, in JSON.

SECURITY: a receiver is another system, perhaps of another company. Only `DETAILS` leave the portal; phone numbers are
masked, texts bounded, and what is secret is in no event in the first place.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.conf import settings

from accounts.audit import stream
from accounts.choices.registry import Registry
from accounts.models import AuditEvent, AuditLink, WebhookDelivery

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
TYPE_PREFIX = "com.hitobit.portal."
MAX_TEXT, MAX_LIST = 200, 100
#: The members of ``data``, in the words of docs/events.md.
FIELDS = {
    "endpoint": "Name of the endpoint in the portal",
    "number": "Number of this event at this endpoint: 1, 2, 3 without gaps. `null` in the notice to a replaced address",
    "sequence": "Position in the audit chain, as in `/manage/v1/events`",
    "event": "The event, as in the table below",
    "customer": "`id` of the customer in the management API; `null` for events of the portal itself",
    "external_id": "The exchange's own id of the customer, if it is set",
    "target": "What the event is about: the `id` that it has in the management API",
    "label": "Its name at that time",
    "succeeded": "Whether it was done, and not refused",
    "by_staff": "Whether staff of the exchange did it in the portal",
    "address": "IP address that it came from",
    "detail": "Details, as in the second table",
}
#: The details that are sent, with what they are; others stay in the portal. Filled by apps in `AppConfig.ready()`.
DETAILS: Registry[str, str] = Registry(
    {
        "cap": "The limit that was reached",
        "channel": "`sms` or `email`",
        "count": "Number of accounts",
        "date": "When what is announced takes place",
        "days": "Days until then",
        "first": "`exchange`: the login began with the exchange's account",
        "format": "Format of an export",
        "left": "Recovery codes that are left",
        "method": "How a login was completed: `totp`, `sms`, `recovery`, `enrolment`, `trusted`; the method of a call",
        "new": "The new number, masked; the new host of a webhook, with `·` for full stops",
        "of": "The kind of change, or the event of a notice",
        "old": "The old number, masked; the old host of a webhook",
        "page": "The staff's page that was opened",
        "purpose": "What a code was for",
        "reason": "The reason that staff, an operator or the exchange gave",
        "rejection": "Why a login with the exchange's account was refused",
        "role": "The role of a new staff account",
        "token": "Name of the token with which the exchange did it",  # nosec B105
        "until": "Until when",
        "via": "`page`, `link`, `staff`, `command`, `api`, `oidc`",
        "what": "What was exported",
        "why": "Why a change was stopped",
    }
)


class Member(NamedTuple):
    """A member of ``data``: its description, and a function that returns its values by the ids of events."""

    text: str
    load: Callable[[Sequence[AuditEvent]], dict[int, str]]


#: More members of ``data``, by name; null for events that have none. Filled by apps in `AppConfig.ready()`.
MORE: Registry[str, Member] = Registry({})


def bodies(deliveries: Sequence[WebhookDelivery]) -> dict[WebhookDelivery, str]:
    """Return the body of each delivery, without those whose event is not in the chain (yet, or no longer)."""
    links = AuditLink.objects.filter(event__in={delivery.event_id for delivery in deliveries})
    by_event = {link.event_id: link for link in links.select_related("event")}
    events = [link.event for link in by_event.values()]
    known = stream.external_ids(events)
    more = {name: member.load(events) for name, member in MORE.items()}
    return {
        delivery: json.dumps(_document(delivery, link, known, more), ensure_ascii=False)
        for delivery in deliveries
        if (link := by_event.get(delivery.event_id)) is not None
    }


def _document(
    delivery: WebhookDelivery, link: AuditLink, known: dict[int, str], more: dict[str, dict[int, str]]
) -> dict[str, Any]:
    row = json.loads(stream.line(link.event, link, known))
    subject = {"subject": row["external_id"]} if row["external_id"] else {}
    values = {
        **row,
        "endpoint": delivery.endpoint.name,
        "number": delivery.number,
        "by_staff": row["actor"] not in (None, row["customer"]),
        "detail": {name: _bounded(value) for name, value in row["detail"].items() if name in DETAILS},
    }
    return {
        "specversion": "1.0",
        "id": delivery.message_id,
        "source": settings.BASE_URL,
        "type": TYPE_PREFIX + row["event"],
        "time": row["at"],
        **subject,
        "datacontenttype": "application/json",
        "data": {
            **{name: values[name] for name in FIELDS},
            **{name: by_event.get(link.event_id) for name, by_event in more.items()},
        },
    }


def _bounded(value: Any) -> Any:
    """Return texts and numbers, and lists of them, cut to their maximum length; None for anything else."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, list):
        return [_bounded(one) for one in value[:MAX_LIST] if not isinstance(one, list)]
    return value if isinstance(value, int | float) else None
