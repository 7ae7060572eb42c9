"""The audit trail: events are recorded, linked into a chain, verified, streamed, exported and pruned.

``from accounts import audit; audit.record(...)`` is how the rest of the portal leaves an event.
"""

from accounts.audit.recorder import event_recorded, operator, record

__all__ = [
    "activity",
    "chain",
    "detail_texts",
    "erasure",
    "event_recorded",
    "evidence",
    "export",
    "operator",
    "prune",
    "record",
    "stream",
    "texts",
    "verify",
]
