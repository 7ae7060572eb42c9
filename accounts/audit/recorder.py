"""The one way to leave a security event."""

import getpass
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.dispatch import Signal
from django.http import HttpRequest

from accounts.access import user_agents
from accounts.audit import chain
from accounts.choices import events
from accounts.choices.events import SecurityEvent
from accounts.models import AuditEvent, User
from hitobit_portal.http import commit_barrier

LABEL_LENGTH = 80
#: Sent within the transaction of an event, with ``event`` (`AuditEvent`) and ``also`` ((channel, address) pairs).
#: A receiver that raises undoes the event together with what it is about.
event_recorded = Signal()


def record(
    event: SecurityEvent,
    request: HttpRequest | None,
    *,
    customer: User | None,
    actor: User | None = None,
    target: str = "",
    label: str = "",
    succeeded: bool = True,
    also: Sequence[tuple[str, str]] = (),
    address: str = "",
    **detail: Any,
) -> AuditEvent:
    """Writes one event. ``actor`` is the customer unless said otherwise; ``detail`` holds JSON values, never a secret.

    ``address``: where the event came from, if that is not the address of ``request``.

    ``also``: further (channel, address) to tell, e.g. ``("sms", old_number)``.
    Called in the transaction of what it tells of, so that neither exists without the other; it is linked after that.
    Raises `ValueError` for an event that no app registered.
    """
    if event not in events.LOOKS:
        raise ValueError(f"{event} is no registered event")
    with transaction.atomic():
        left = _create(event, request, customer, actor, target, label, succeeded, address, detail)
        event_recorded.send(AuditEvent, event=left, also=also)
        chain.soon(left)
        if event in events.AWAITED:
            commit_barrier.changed()
    return left


def _create(
    event: SecurityEvent,
    request: HttpRequest | None,
    customer: User | None,
    actor: User | None,
    target: str,
    label: str,
    succeeded: bool,
    address: str,
    detail: dict[str, Any],
) -> AuditEvent:
    return AuditEvent.objects.create(
        event=event.value,
        actor=actor or customer,
        customer=customer,
        target=target[:64],
        label=label[:LABEL_LENGTH],
        succeeded=succeeded,
        address=address or getattr(request, "client_address", ""),
        agent=user_agents.from_request(request) if request else "",
        request_id=getattr(request, "request_id", ""),
        detail=detail,
    )


def operator() -> str:
    """Who runs a command on this machine, for the ``detail`` of its event; empty where users have no names."""
    try:
        return getpass.getuser()[:LABEL_LENGTH]
    except (KeyError, OSError):
        return ""
