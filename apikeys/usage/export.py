"""Export a customer's keys and events as CSV and JSON, row by row. Never includes secrets or values derived from them.

Column names and times (ISO 8601, UTC) are for programs and the same in every language; `what` and `detail` of events
are the texts of the activity page.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from django.utils import translation

from accounts.audit import activity
from accounts.models import User
from apikeys.models import ApiKey
from apikeys.policy.choices import Permission
from hitobit_portal import csv_export
from hitobit_portal.i18n.bidi import without_isolates
from hitobit_portal.i18n.free_text import plain

#: Older rows are omitted, so that a spreadsheet can open the file.
MAX_ROWS = 10_000
KEY_COLUMNS = (
    *("id", "api_key", "name", "state", "permissions", "ip_policy", "networks", "asks_about_new_ips"),
    *("created_at", "expires_at", "trade_until", "deleted_at", "last_used_at", "last_used_ip"),
    "external_id",
)
EVENT_COLUMNS = ("at", "event", "what", "detail", "succeeded", "ip", "device", "external_id")
Value = str | bool | list[str]
Row = dict[str, Value]


def keys_of(user: User) -> Iterator[Row]:
    """Yield all keys, including deleted ones, newest first."""
    keys = ApiKey.objects.filter(owner=user).prefetch_related("networks")[:MAX_ROWS]
    for key in keys.iterator(chunk_size=500):
        yield {
            "id": str(key.pk),
            "api_key": key.key_id,
            "name": plain(key.label),
            "state": key.state,
            "permissions": [value for value in Permission.values if value in key.permissions],
            "ip_policy": key.ip_policy,
            "networks": [network.value for network in key.networks.all()],
            "asks_about_new_ips": key.allows_rescue,
            "created_at": _iso(key.created_at),
            "expires_at": _iso(key.expires_at),
            "trade_until": _iso(key.trade_until),
            "deleted_at": _iso(key.revoked_at),
            "last_used_at": _iso(key.last_used_at),
            "last_used_ip": key.last_used_ip or "",
            "external_id": user.external_id or "",
        }


def events_of(user: User) -> Iterator[Row]:
    """Yield the events of the activity page, newest first."""
    events = activity.shown_to(user)[:MAX_ROWS]
    for event in events.iterator(chunk_size=500):
        shown = activity.row(event)
        yield {
            "at": _iso(event.at),
            "event": event.event,
            "what": without_isolates(shown.title),
            "detail": without_isolates(shown.detail),
            "succeeded": event.succeeded,
            "ip": shown.address,
            "device": shown.device,
            "external_id": user.external_id or "",
        }


def _iso(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else ""


def as_csv(columns: tuple[str, ...], rows: Iterable[Row]) -> Iterator[str]:
    """Yield CSV lines with every cell quoted and no cell that a spreadsheet evaluates as a formula."""
    return csv_export.lines(columns, ([_cell(row[column]) for column in columns] for row in rows))


def _cell(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if isinstance(value, list) else value


def as_json(columns: tuple[str, ...], rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a JSON array, one object per line."""
    before = "[\n"
    for row in rows:
        yield before + json.dumps({column: row[column] for column in columns}, ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def stream(lines: Callable[[], Iterator[str]]) -> Iterator[bytes]:
    """Yield ``lines`` in UTF-8 and in the current language.

    A stream is sent after the language of its request was deactivated.
    """
    language = translation.get_language()
    return _in_language(language, lines)


def _in_language(language: str | None, lines: Callable[[], Iterator[str]]) -> Iterator[bytes]:
    with translation.override(language):
        for line in lines():
            yield line.encode()
