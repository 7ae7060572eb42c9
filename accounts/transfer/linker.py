"""Give existing accounts the exchange's ids of their owners, by the rows of a file.

An id is set once and never changes, so it can be run again, also after it was killed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts import audit
from accounts.actions import exchange_link
from accounts.choices.events import Event
from accounts.models import User
from accounts.transfer import rows
from accounts.transfer.batches import BatchRun, RunSummary
from accounts.transfer.rows import LinkRow, RowProblem, RowRefused

LINK_COLUMNS = ("user", "phone", "external_id")
LINK_REQUIRED = ("external_id",)


@dataclass
class LinkSummary(RunSummary):
    """``unchanged``: rows whose account has the id."""

    linked: int = 0


class Linker(BatchRun[LinkRow, LinkSummary]):
    def __init__(self, **options: Any) -> None:
        super().__init__(LinkSummary(), **options)

    def check_row(self, line: int, record: dict[str, Any]) -> LinkRow:
        return rows.check_link_row(line, record)

    def take(self, batch: list[tuple[int, LinkRow | RowProblem]]) -> list[tuple[int, RowProblem]]:
        """Link the rows of a batch in one transaction. Return the refused ones."""
        refused = []
        known = _Accounts(row for _line, row in batch if isinstance(row, LinkRow))
        with transaction.atomic(), self._seen:
            for line, row in batch:
                problem = row if isinstance(row, RowProblem) else self._link_one(row, known)
                if problem is not None:
                    refused.append((line, problem))
        return refused

    def _link_one(self, row: LinkRow, known: _Accounts) -> RowProblem | None:
        """Return why the row is refused; None if its account has the id now, or would have."""
        user = known.account_of(row)
        if self._seen.has("id", row.external_id):
            return RowProblem.REPEATED_ID
        if user is None:
            return RowProblem.NO_ACCOUNT
        if self._seen.has("account", str(user.pk)):
            return RowProblem.REPEATED_ACCOUNT
        problem = _problem(row, user, known)
        if problem is not None:
            return problem
        self._seen.add("id", row.external_id)
        self._seen.add("account", str(user.pk))
        if user.external_id == row.external_id:
            self.summary.unchanged += 1
            return None
        return self._store(row, user)

    def _store(self, row: LinkRow, user: User) -> RowProblem | None:
        try:
            if not self._dry_run:
                exchange_link.link(
                    None,
                    user,
                    row.external_id,
                    Event.EXCHANGE_ID_SET,
                    via="command",
                    operator=audit.operator(),
                )
        except exchange_link.AlreadyLinked:
            return RowProblem.CONFLICT
        self.summary.linked += 1
        return None


def _problem(row: LinkRow, user: User, known: _Accounts) -> RowProblem | None:
    # SECURITY: a number that nobody confirmed here may be a typing error: another person's, who is this customer.
    if row.phone and not user.has_phone:
        return RowProblem.PHONE_UNCONFIRMED
    if user.external_id is not None:
        return None if user.external_id == row.external_id else RowProblem.OTHER_ID
    if row.external_id in known.taken:
        return RowProblem.ID_TAKEN
    try:
        rows.check_no_phone(row.external_id, user.phone)
    except RowRefused as refused:
        return refused.problem
    return None


class _Accounts:
    """The accounts that the rows of a batch name, and the ids among theirs that accounts have (``taken``).

    SECURITY: not those of staff, who log in with their own password alone.
    """

    def __init__(self, wanted: Iterable[LinkRow]) -> None:
        some = list(wanted)
        people = User.objects.filter(is_staff=False, is_superuser=False).exclude(joined_at=None)
        people = people.select_related("sms")
        self._by_number = people.in_bulk([row.user for row in some if row.user is not None])
        by_phone = people.filter(phone__in=[row.phone for row in some if row.phone])
        self._by_phone = {user.phone: user for user in by_phone}
        ids = User.objects.filter(external_id__in=[row.external_id for row in some])
        self.taken = set(ids.values_list("external_id", flat=True))

    def account_of(self, row: LinkRow) -> User | None:
        return self._by_number.get(row.user) if row.user is not None else self._by_phone.get(row.phone)
