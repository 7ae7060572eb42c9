"""What makes the audit trail believable: the MACs of events, of the links between them, and of the head. No ORM.

A MAC is ``<key id>:<hex>``, HMAC-SHA256 under a key derived from a master key (`hitobit_portal.security.crypto`). It
can be checked as long as that master key stays in the ring. It is never recomputed: a process that could recompute it
could forge it.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

from hitobit_portal.security import crypto

#: A key id of 16 characters, a colon, 64 hex digits.
MAC_LENGTH = 81
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENT_USE, LINK_USE, HEAD_USE = "audit-event", "audit-link", "audit-head"
#: Of an event after its personal fields were erased.
ERASED_USE = "audit-erased"
#: The name of the salt in ``detail``, where the previous version covers it by the MAC as it does any detail.
SALT, SALT_BYTES = "_salt", 16
TEXTS = ("event", "target", "label", "address", "agent", "request_id")
HEAD_NUMBERS = ("sequence", "highest_event", "settled_event", "unsigned_to", "streamed", "pruned_sequence")


def canonical(event: Any) -> str:
    """All fields of an event but its MAC, as one text that is the same before it is stored and after it is read."""
    fields = {name: str(getattr(event, name)) for name in TEXTS}
    return json.dumps(
        {
            **fields,
            "version": 1,
            "id": event.pk,
            "at": _microseconds(event.at),
            "actor": event.actor_id,
            "customer": event.customer_id,
            "succeeded": bool(event.succeeded),
            # Tuples become lists and keys strings, as they do in the database.
            "detail": _plain(json.loads(json.dumps(salted_detail(event)))),
        },
        sort_keys=True,
        separators=(",", ":"),
    )


def salted_detail(event: Any) -> Any:
    """The details as they are stored: with the event's salt, if it has one."""
    return {**event.detail, SALT: event.salt} if event.salt else event.detail


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _plain(value: Any) -> Any:
    """``value`` with numbers as PostgreSQL's jsonb gives them back: 1e22 is stored as the integer it is."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    return value


def event_mac(event: Any) -> str:
    return crypto.digest(EVENT_USE, canonical(event))


def is_event(event: Any) -> bool:
    """Whether the event is as it was when it was recorded, or as an erasure of personal fields left it."""
    return crypto.matches(event.mac, EVENT_USE, canonical(event)) or is_erased(event)


def erased_mac(event: Any) -> str:
    """The MAC of an event without its personal fields, bound to the MAC that it had with them."""
    return crypto.digest(ERASED_USE, event.mac, canonical(event))


def is_erased(event: Any) -> bool:
    """Whether the portal erased the personal fields of the event, and it is as that left it."""
    return bool(event.erased_mac) and crypto.matches(
        event.erased_mac, ERASED_USE, event.mac, canonical(event)
    )


def _link_parts(sequence: int, before: str, event: Any) -> tuple[str, ...]:
    # An event without a MAC of its own (of the version that knew none) is covered by its link alone.
    return str(sequence), before, str(event.pk), event.mac or canonical(event)


def link_mac(sequence: int, before: str, event: Any) -> str:
    """The MAC of link ``sequence`` to ``event``; ``before`` is the MAC of the link before it, or empty."""
    return crypto.digest(LINK_USE, *_link_parts(sequence, before, event))


def is_link(mac: str, sequence: int, before: str, event: Any) -> bool:
    return crypto.matches(mac, LINK_USE, *_link_parts(sequence, before, event))


def possible_link_macs(sequence: int, before: str, event: Any) -> Iterator[str]:
    """What the link's MAC may have been before somebody changed it: one for each master key."""
    for key_id in settings.MASTER_KEYS:
        yield crypto.digest_by(key_id, LINK_USE, *_link_parts(sequence, before, event))


def _head_parts(head: Any) -> tuple[str, ...]:
    pruned_at = "" if head.pruned_at is None else str(_microseconds(head.pruned_at))
    return *(str(getattr(head, name)) for name in HEAD_NUMBERS), head.link_mac, head.pruned_mac, pruned_at


def head_mac(head: Any) -> str:
    return crypto.digest(HEAD_USE, *_head_parts(head))


def is_head(head: Any) -> bool:
    return crypto.matches(head.mac, HEAD_USE, *_head_parts(head))


def is_key_missing(mac: str) -> bool:
    """Whether the master key that made ``mac`` is no longer in the ring, so that nobody can tell."""
    key_id, colon, _rest = mac.partition(":")
    return bool(colon) and key_id not in settings.MASTER_KEYS
