"""One run over the rows of a file: batch by batch, with figures, and the reason of each refused row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from accounts.transfer.named_values import NamedValues
from accounts.transfer.rows import RowProblem, RowRefused

Record = tuple[int, "dict[str, Any] | RowProblem"]
Row = TypeVar("Row")


@dataclass
class RunSummary:
    """Figures of a run. ``unchanged``: rows with which there was nothing to do; ``reasons``: refused rows by code."""

    rows: int = 0
    unchanged: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        return self.reasons.total()


Figures = TypeVar("Figures", bound=RunSummary)


class BatchRun(Generic[Row, Figures]):
    """``refuse`` is called with the line and the problem of each refused row, in the order of the file.

    Subclasses give the summary, and define `check_row` and `take`.
    """

    def __init__(
        self,
        summary: Figures,
        *,
        dry_run: bool,
        batch: int,
        refuse: Callable[[int, RowProblem], None],
        progress: Callable[[], None],
    ) -> None:
        self.summary = summary
        self._dry_run = dry_run
        self._batch = batch
        self._refuse = refuse
        self._progress = progress
        self._seen = NamedValues()

    def check_row(self, line: int, record: dict[str, Any]) -> Row:
        """Raise `RowRefused`."""
        raise NotImplementedError

    def take(self, batch: list[tuple[int, Row | RowProblem]]) -> Iterable[tuple[int, RowProblem]]:
        """Do the work of a batch. Return the refused rows with their lines, in the order of the file."""
        raise NotImplementedError

    def run(self, records: Iterable[Record]) -> Figures:
        """Take all records."""
        iterator = iter(records)
        while batch := list(islice(iterator, self._batch)):
            self.summary.rows += len(batch)
            for line, problem in self.take([(line, self._checked(line, record)) for line, record in batch]):
                self.summary.reasons[problem.code] += 1
                self._refuse(line, problem)
            self._progress()
        return self.summary

    def _checked(self, line: int, record: dict[str, Any] | RowProblem) -> Row | RowProblem:
        if isinstance(record, RowProblem):
            return record
        try:
            return self.check_row(line, record)
        except RowRefused as refused:
            return refused.problem
