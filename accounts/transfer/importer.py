"""Store the rows of an import: in batches, each whole or not at all, and each account at most once.

An import creates accounts and changes none: whoever runs it again, also after it was killed, gets the same accounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.access import imported_hashes
from accounts.actions import pending_accounts
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import ImportedHashKind, SmsDevice, TotpDevice, User
from accounts.transfer import rows
from accounts.transfer.batches import BatchRun, RunSummary
from accounts.transfer.rows import ImportRow, RowProblem
from hitobit_portal.security import crypto


@dataclass
class Summary(RunSummary):
    """``unchanged``: rows whose account exists."""

    created: int = 0


class Importer(BatchRun[ImportRow, Summary]):
    def __init__(self, **options: Any) -> None:
        super().__init__(Summary(), **options)
        self._kinds = set(ImportedHashKind.objects.values_list("kind", flat=True))

    def check_row(self, line: int, record: dict[str, Any]) -> ImportRow:
        return rows.check_row(line, record)

    def take(self, batch: list[tuple[int, ImportRow | RowProblem]]) -> list[tuple[int, RowProblem]]:
        """Store the rows of a batch. Return the refused ones."""
        known = _Known(row for _line, row in batch if isinstance(row, ImportRow))
        wanted: list[ImportRow] = []
        refused: list[tuple[int, RowProblem]] = []
        with self._seen:
            for line, row in batch:
                problem = row if isinstance(row, RowProblem) else self._problem(row, known)
                if problem is not None:
                    refused.append((line, problem))
                elif isinstance(row, ImportRow) and known.phones.get(row.external_id) is None:
                    wanted.append(row)
                else:
                    self.summary.unchanged += 1
        conflicts = [] if self._dry_run else list(self._store(wanted))
        self.summary.created += len(wanted) - len(conflicts)
        return sorted([*refused, *conflicts], key=lambda each: each[0])

    def _problem(self, row: ImportRow, known: _Known) -> RowProblem | None:
        """Return why the row is refused; None if its account exists or will."""
        if self._seen.has("id", row.external_id):
            return RowProblem.REPEATED_ID
        if self._seen.has("phone", row.phone):
            return RowProblem.REPEATED_PHONE
        phone = known.phones.get(row.external_id)
        if phone is not None and phone != row.phone:
            return RowProblem.OTHER_PHONE
        if phone is None and row.phone in known.taken:
            return RowProblem.PHONE_TAKEN
        if phone is None and row.hash_kind and not self._takes_kind(row.hash_kind):
            return RowProblem.HASH_KINDS
        self._seen.add("id", row.external_id)
        self._seen.add("phone", row.phone)
        return None

    def _takes_kind(self, kind: str) -> bool:
        if kind not in self._kinds and len(self._kinds) >= imported_hashes.MAX_KINDS:
            return False
        self._kinds.add(kind)
        return True

    def _store(self, wanted: list[ImportRow]) -> Iterator[tuple[int, RowProblem]]:
        """Store the rows in one transaction. If somebody takes a number meanwhile: one by one, yield conflicts."""
        if not wanted:
            return
        try:
            _store(wanted)
        except IntegrityError:
            for row in wanted:
                try:
                    _store([row])
                except IntegrityError:
                    yield row.line, RowProblem.CONFLICT


class _Known:
    """The accounts that the database has for the ids and phones of a batch.

    ``phones``: external id → phone; ``taken``: phones of accounts.
    """

    def __init__(self, wanted: Iterable[ImportRow]) -> None:
        some = list(wanted)
        by_id = User.objects.filter(external_id__in=[row.external_id for row in some])
        by_phone = User.objects.filter(phone__in=[row.phone for row in some]).exclude(joined_at=None)
        self.phones = {str(name): phone for name, phone in by_id.values_list("external_id", "phone")}
        self.taken = set(by_phone.values_list("phone", flat=True))


@transaction.atomic
def _store(wanted: list[ImportRow]) -> None:
    now = timezone.now()
    pending = User.objects.filter(phone__in=[row.phone for row in wanted], joined_at=None)
    for phone in pending.values_list("phone", flat=True):
        pending_accounts.delete_for_number(phone)
    _note_kinds(wanted)
    users = User.objects.bulk_create(
        User(
            external_id=row.external_id,
            phone=row.phone,
            name=row.name,
            email=row.email,
            language=row.language,
            password=row.password or make_password(None),
            is_active=row.is_active,
            created_at=now,
            joined_at=now,
        )
        for row in wanted
    )
    pairs = list(zip(users, wanted, strict=True))
    # SECURITY: a number that nobody verified is no factor; its owner confirms it at the first login.
    SmsDevice.objects.bulk_create(
        SmsDevice(user=user, name="sms", number=user.phone, confirmed=True, confirmed_at=now)
        for user, row in pairs
        if row.phone_verified
    )
    TotpDevice.objects.bulk_create(
        TotpDevice(
            user=user,
            name="totp",
            seed_sealed=crypto.seal(row.seed.encode(), verification.seal_owner(user)),
            confirmed=True,
            confirmed_at=now,
        )
        for user, row in pairs
        if row.seed
    )
    audit.record(
        Event.USERS_IMPORTED, None, customer=None, via="command", operator=audit.operator(), count=len(users),
        first_line=wanted[0].line, last_line=wanted[-1].line, accounts=[users[0].pk, users[-1].pk],
    )  # fmt: skip


def _note_kinds(wanted: list[ImportRow]) -> None:
    samples = {row.hash_kind: row.password for row in wanted if row.hash_kind}
    known = set(ImportedHashKind.objects.filter(kind__in=samples).values_list("kind", flat=True))
    ImportedHashKind.objects.bulk_create(
        (
            ImportedHashKind(kind=kind, stand_in=imported_hashes.stand_in(sample))
            for kind, sample in samples.items()
            if kind not in known
        ),
        ignore_conflicts=True,
    )
