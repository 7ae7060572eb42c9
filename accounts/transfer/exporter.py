"""Accounts in the form that an import reads: without secrets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from accounts.models import User
from accounts.transfer.records import COLUMNS

PAGE = 2_000
#: Columns that are secrets: a hash can be guessed offline, a seed makes codes. They are not exported.
SECRET = ("password_hash", "totp_secret")
EXPORTED = tuple(name for name in COLUMNS if name not in SECRET)


def export_rows(form: str) -> Iterator[str]:
    """Yield the lines of all customers' accounts with an external id, by primary key; ``form``: "csv" or "jsonl".

    For programs, so a cell is what it says, also where a spreadsheet would take it for a formula.
    """
    if form == "csv":
        yield _csv(EXPORTED)
    for fields in _accounts():
        if form == "csv":
            yield _csv(tuple(_cell(fields[name]) for name in EXPORTED))
        else:
            yield json.dumps(fields, ensure_ascii=False) + "\n"


def _accounts() -> Iterator[dict[str, str | bool]]:
    # Pages by number: one long statement would keep the database from cleaning up meanwhile.
    people = User.objects.filter(is_staff=False, is_superuser=False, external_id__isnull=False)
    people = people.exclude(joined_at=None).select_related("sms").order_by("pk")
    after = 0
    while page := list(people.filter(pk__gt=after)[:PAGE]):
        after = page[-1].pk
        for user in page:
            yield {
                "external_id": user.external_id or "",
                "phone": user.phone,
                "name": user.name,
                "email": user.email,
                "language": user.language,
                "phone_verified": user.has_phone,
                "is_active": user.is_active,
            }


def _cell(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _csv(cells: tuple[str, ...]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
