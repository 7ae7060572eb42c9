"""Which events an endpoint is told of: their values, groups such as ``key.*``, or ``*`` for all."""

from collections.abc import Collection

from accounts.choices.events import Event, all_events
from accounts.models import AuditEvent, WebhookEndpoint

ALL = "*"
GROUP = ".*"
#: Events of an endpoint that it is told of whatever its filter is.
OWN = frozenset({Event.WEBHOOK_TESTED.value, Event.WEBHOOK_MOVED.value})


def parse(text: str) -> list[str]:
    """Return the patterns of a comma-separated list. Raise `ValueError` with one that matches no event."""
    patterns = sorted({part.strip() for part in text.split(",") if part.strip()})
    values = [event.value for event in all_events()]
    for pattern in patterns:
        if not any(_matches(pattern, value) for value in values):
            raise ValueError(pattern)
    if not patterns:
        raise ValueError(text)
    return patterns


def is_wanted(endpoint: WebhookEndpoint, event: AuditEvent) -> bool:
    """Return whether ``endpoint`` is to be told of ``event``."""
    if event.event in OWN and event.target == str(endpoint.pk):
        return True
    return matches(endpoint.events, event.event)


def matches(patterns: Collection[str], value: str) -> bool:
    return any(_matches(pattern, value) for pattern in patterns)


def _matches(pattern: str, value: str) -> bool:
    if pattern.endswith(GROUP):
        return value.startswith(pattern.removesuffix("*"))
    return pattern in (ALL, value)
