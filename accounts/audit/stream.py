"""Streaming of linked events as JSON lines (`PORTAL_AUDIT_SINK`), at least once each, in the order of the chain.

The head of the chain knows the last line that was written, so that a sink which could not be written for a while gets
the rest afterwards. Standard output belongs to the server's processes: a command's own output is not mixed with it.
"""

import json
import logging
import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

from django.conf import settings

from accounts.audit import texts
from accounts.choices import audit_mac
from accounts.choices.audit_mac import StoredEvent, StoredLink
from accounts.models import AuditEvent, AuditHead, AuditLink, User
from accounts.sms.numbers import masked

logger = logging.getLogger("portal.audit")
STDOUT = "stdout"
#: Lines of one transaction: others wait for it.
MOST = 500
#: Columns of text in which phone numbers are masked. Not in those that `verify_audit` compares with the database (about
#: one MAC in 200 has ten decimal digits in a row that look like a mobile number), nor in the exchange's id, which is
#: useless in part. `accounts.exchange` refuses ids that are the phone number.
MASKED = ("target", "label", "address", "agent", "request_id", "detail")
PHONE = re.compile(r"(?<![0-9])(?:\+|00)?98[0-9]{10}(?![0-9])|(?<![0-9])0?9[0-9]{9}(?![0-9])")
#: Each such number has as many digits in a row; most texts have not, and this is found out in a fraction of the time.
TEN_DIGITS = re.compile("[0-9]{10}")
_encode = json.JSONEncoder(ensure_ascii=False).encode
AnyEvent = AuditEvent | StoredEvent
AnyLink = AuditLink | StoredLink
_failing = False


def is_on() -> bool:
    """Whether this process writes lines."""
    return bool(settings.AUDIT_SINK) and (settings.AUDIT_SINK != STDOUT or is_server())


def is_server() -> bool:
    return "hitobit_portal.wsgi" in sys.modules


def stream(head: AuditHead, links: Sequence[AuditLink]) -> bool:
    """Writes the lines of what was linked since the last one and moves ``head.streamed``; whether it moved."""
    if not settings.AUDIT_SINK:
        moved, head.streamed = head.streamed != head.sequence, head.sequence
        return moved
    if head.streamed >= head.sequence or not is_on():
        return False
    if head.sequence - head.streamed != len(links):
        later = AuditLink.objects.filter(sequence__gt=head.streamed, sequence__lte=head.sequence)
        # A link without an event is found by `verify_audit`, and has no line.
        links = list(later.select_related("event").order_by("sequence")[:MOST])
    known = external_ids(link.event for link in links)
    if links and not _write("".join(line(link.event, link, known) + "\n" for link in links)):
        return False
    head.streamed = links[-1].sequence if links else head.sequence
    return True


def external_ids(events: Iterable[AnyEvent]) -> dict[int, str]:
    """Return the exchange's ids of the events' customers, by primary key. One query."""
    customers = {event.customer_id for event in events if event.customer_id is not None}
    people = User.objects.filter(pk__in=customers, external_id__isnull=False)
    return {pk: external_id or "" for pk, external_id in people.values_list("pk", "external_id")}


def line(
    event: AnyEvent, link: AnyLink | None, known: Mapping[int, str], text: texts.Text = texts.harmless
) -> str:
    """Return the event as one line of JSON: `row`."""
    return _encode(row(event, link, known, text))


def row(
    event: AnyEvent, link: AnyLink | None, known: Mapping[int, str], text: texts.Text = texts.harmless
) -> dict[str, Any]:
    """Return what a line or an export says of an event, by name. ``sequence`` and ``mac`` are its link's.

    Phone numbers in texts are masked. ``known``: see `external_ids`. ``external_id`` is what the exchange calls the
    customer now; it is no part of the event, and no MAC covers it. ``text``: see `texts.outgoing`.
    """
    values = _values(event, link, known)
    for name in MASKED:
        values[name] = _masked(values[name])
    return texts.outgoing(values, text)


def _values(event: AnyEvent, link: AnyLink | None, known: Mapping[int, str]) -> dict[str, Any]:
    return {
        "sequence": link.sequence if link else None,
        "id": event.pk,
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "event": event.event,
        "customer": event.customer_id,
        "external_id": known.get(event.customer_id) if event.customer_id else None,
        "actor": event.actor_id,
        "target": event.target,
        "label": event.label,
        "succeeded": event.succeeded,
        "address": event.address,
        "agent": event.agent,
        "request_id": event.request_id,
        "detail": audit_mac.unsalted_detail(event),
        "mac": link.mac if link else None,
    }


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return (
            value
            if TEN_DIGITS.search(value) is None
            else PHONE.sub(lambda result: masked(result.group()), value)
        )
    if isinstance(value, dict):
        return {name: _masked(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_masked(one) for one in value]
    return value


def _write(text: str) -> bool:
    """Whether ``text`` was written; what can't be written is logged once, until it works again."""
    global _failing
    try:
        if settings.AUDIT_SINK == STDOUT:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            _append(Path(settings.AUDIT_SINK), text.encode())
    except (OSError, ValueError) as error:
        if not _failing:
            logger.error("PORTAL_AUDIT_SINK can't be written (%s); lines wait", type(error).__name__)
        _failing = True
        return False
    _failing = False
    return True


def _append(path: Path, lines: bytes) -> None:
    """All of ``lines`` or nothing of them, readable to their owner alone. Nobody waits for a pipe that is not read."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    try:
        before = os.fstat(file)
        if os.write(file, lines) != len(lines):
            if stat.S_ISREG(before.st_mode):
                os.ftruncate(file, before.st_size)
            raise OSError("short write")
    finally:
        os.close(file)
