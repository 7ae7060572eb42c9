"""What makes the audit trail believable: the MACs of events, of the links between them, and of the head. No ORM.

A MAC is ``<key id>:<hex>``, HMAC-SHA256 under a key derived from a master key (`hitobit_portal.security.crypto`). It
can be checked as long as that master key stays in the ring. It is never recomputed: a process that could recompute it
could forge it.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

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
HEAD_NUMBERS = ("sequence", "highest_event", "settled_event", "unsigned_to", "streamed", "pruned_sequence")
_text = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class StoredEvent(NamedTuple):
    """An event as the database has it, by the names of its model; for millions of them, which no model is made of."""

    pk: int
    at: datetime
    event: str
    actor_id: int | None
    customer_id: int | None
    target: str
    label: str
    succeeded: bool
    address: str
    agent: str
    request_id: str
    #: With the salt.
    detail: Any
    mac: str
    erased_mac: str | None


class StoredLink(NamedTuple):
    """A link as the database has it."""

    sequence: int
    event_id: int
    mac: str


def canonical(event: Any) -> str:
    """All fields of an event but its MAC, as one text that is the same before it is stored and after it is read.

    ``event``: an `AuditEvent`, or a `StoredEvent`.
    """
    # Tuples become lists and keys strings, as they do in the database.
    is_stored = isinstance(event, StoredEvent)
    detail = event.detail if is_stored else json.loads(json.dumps(salted_detail(event)))
    # By hand and in the order of the names: a verification of the trail makes millions of these texts.
    return (
        f'{{"actor":{_number(event.actor_id)},"address":{_text(str(event.address))},"agent":{_text(str(event.agent))},'
        f'"at":{_microseconds(event.at)},"customer":{_number(event.customer_id)},"detail":{_encode(_plain(detail))},'
        f'"event":{_text(str(event.event))},"id":{_number(event.pk)},"label":{_text(str(event.label))},'
        f'"request_id":{_text(str(event.request_id))},"succeeded":{"true" if event.succeeded else "false"},'
        f'"target":{_text(str(event.target))},"version":1}}'
    )


def _number(number: int | None) -> str:
    if number is None:
        return "null"
    # SQLite stores anything in any column: whatever somebody wrote there is reported, and not the end of the command.
    return int.__repr__(number) if isinstance(number, int) else _encode(number)


def salted_detail(event: Any) -> Any:
    """The details as they are stored: with the event's salt, if it has one."""
    return {**event.detail, SALT: event.salt} if event.salt else event.detail


def unsalted_detail(event: Any) -> Any:
    """The details without the salt, which is shown nowhere."""
    detail = event.detail
    return {name: one for name, one in detail.items() if name != SALT} if isinstance(detail, dict) else detail


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
