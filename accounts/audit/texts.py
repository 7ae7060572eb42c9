"""Security events as they leave the portal: what somebody typed or sent in them, under the rule of `free_text`."""

import re
from collections.abc import Callable
from typing import Any

from accounts.audit.detail_texts import is_network
from hitobit_portal.i18n import free_text

#: Columns of an event, and details, that hold codes and values of ours, such as "key.create". Every other one is taken
#: for free text.
COLUMNS = frozenset({"label", "agent", "detail"})
CODES = frozenset({"changes", "channel", "events", "method", "of", "page", "purpose", "via"})


#: Names of details as the portal writes them, of which nothing has to be changed.
_NAME = re.compile(r"[a-z_]+")
Text = Callable[[str], str]


def harmless(text: str) -> str:
    """Return the text as it may leave."""
    plain = free_text.plain(text)
    # An IP that was searched for is a fact, and not a link that somebody made.
    return text if plain != text and is_network(text) else plain


def outgoing(row: dict[str, Any], text: Text = harmless) -> dict[str, Any]:
    """Return a row of an export or of `PORTAL_AUDIT_SINK`, by column, as it may leave.

    ``text``: `harmless`, or one that remembers what that returned.
    """
    return {column: _plain(value, text) if column in COLUMNS else value for column, value in row.items()}


def _plain(value: Any, text: Text) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {
            name if _NAME.fullmatch(name) else free_text.plain(name): one
            if name in CODES
            else _plain(one, text)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_plain(one, text) for one in value]
    return value
