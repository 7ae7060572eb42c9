"""A customer's own keys and events as CSV and JSON, row by row. Never a secret, nor anything derived from one.

Column names and times (ISO 8601, UTC) are for programs and the same in every language; `what` and `detail` of events
are the words that the customer reads.
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
from hitobit_portal.i18n.free_text import plain

#: A file that a spreadsheet still opens: older rows are left out.
MOST_ROWS = 10_000
KEY_COLUMNS = (
    *("id", "api_key", "name", "state", "permissions", "ip_policy", "networks", "asks_about_new_ips"),
    *("created_at", "expires_at", "trade_until", "deleted_at", "last_used_at", "last_used_ip"),
)
EVENT_COLUMNS = ("at", "event", "what", "detail", "succeeded", "ip", "device")
Value = str | bool | list[str]
Row = dict[str, Value]


def keys_of(user: User) -> Iterator[Row]:
    """All keys, deleted ones too, newest first."""
    keys = ApiKey.objects.filter(owner=user).prefetch_related("networks")[:MOST_ROWS]
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
        }


def events_of(user: User) -> Iterator[Row]:
    """What the page of activities shows, newest first."""
    events = activity.shown_to(user)[:MOST_ROWS]
    for event in events.iterator(chunk_size=500):
        shown = activity.row(event)
        yield {
            "at": _iso(event.at),
            "event": event.event,
            "what": shown.title,
            "detail": shown.detail,
            "succeeded": event.succeeded,
            "ip": shown.address,
            "device": shown.device,
        }


def _iso(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else ""


def as_csv(columns: tuple[str, ...], rows: Iterable[Row]) -> Iterator[str]:
    """CSV with every cell quoted, and none that a spreadsheet takes for a formula."""
    return csv_export.lines(columns, ([_cell(row[column]) for column in columns] for row in rows))


def _cell(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if isinstance(value, list) else value


def as_json(columns: tuple[str, ...], rows: Iterable[Row]) -> Iterator[str]:
    """A JSON array, a line an object."""
    before = "[\n"
    for row in rows:
        yield before + json.dumps({column: row[column] for column in columns}, ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def streamed(lines: Callable[[], Iterator[str]]) -> Iterator[bytes]:
    """``lines`` in UTF-8, in the language of now: a stream is written after the request's own has ended."""
    language = translation.get_language()
    return _in_language(language, lines)


def _in_language(language: str | None, lines: Callable[[], Iterator[str]]) -> Iterator[bytes]:
    with translation.override(language):
        for line in lines():
            yield line.encode()
