"""Security events as they leave the portal: what somebody typed or sent in them, under the rule of `free_text`."""

from typing import Any

from accounts.audit.detail_texts import is_network
from hitobit_portal.i18n import free_text

#: Columns of an event, and details, that hold codes and values of ours, such as "key.create". Every other one is taken
#: for free text.
COLUMNS = frozenset({"label", "agent", "detail"})
CODES = frozenset({"changes", "channel", "events", "method", "of", "page", "purpose", "via"})


def outgoing(row: dict[str, Any]) -> dict[str, Any]:
    """A row of an export or of `PORTAL_AUDIT_SINK`, by column, as it may leave."""
    return {column: _plain(value) if column in COLUMNS else value for column, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        # An IP that was searched for is a fact, and not a link that somebody made.
        return value if is_network(value) else free_text.plain(value)
    if isinstance(value, dict):
        return {free_text.plain(name): one if name in CODES else _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value
