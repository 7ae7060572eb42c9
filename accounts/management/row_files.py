"""Base class of commands that read a file of rows: the file, the report of refused rows, the progress bar."""

import json
import os
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Protocol

from django.core.management.base import CommandError, CommandParser

from accounts.management import reporting
from accounts.management.arguments import progress
from accounts.transfer import FileProblem, RowProblem, read_rows

MAX_BATCH = 10_000


class Run(Protocol):
    """`Importer` or `Linker`."""

    def run(self, records: Any) -> Any: ...


class RowFileCommand(reporting.ReportingCommand):
    """A command with FILE, ``--format``, ``--dry-run``, ``--batch`` and ``--report``.

    Subclasses define ``name``, ``columns``, ``required``, ``start`` (which returns the run) and ``lines`` (its result).
    """

    name: str
    columns: Sequence[str]
    required: Sequence[str]

    def start(self, **options: Any) -> Run:
        """Return the run, given ``dry_run``, ``batch``, ``refuse`` and ``progress``."""
        raise NotImplementedError

    def lines(self, summary: Any, would: str) -> tuple[dict[str, int], str]:
        """Return the figures of the JSON document beside rows, refused and reasons, and the first line for people."""
        raise NotImplementedError

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the file; - is the standard input")
        parser.add_argument("--format", choices=["csv", "jsonl"], required=True)
        parser.add_argument("--dry-run", action="store_true", help="store nothing, and say what would be")
        parser.add_argument(
            "--batch", type=int, default=1_000, help="rows of one transaction (default: 1000)"
        )
        parser.add_argument(
            "--report", metavar="FILE",
            help="write line and reason of each refused row into this file as JSON lines, without values of the row; "
            "default: the standard error",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["batch"] <= MAX_BATCH:
            raise CommandError(f"--batch is 1 to {MAX_BATCH}.", returncode=2)
        with ExitStack() as stack:
            file, size = _open(options["file"], stack)
            report = self._report(options["report"], stack)
            run = self.start(
                dry_run=options["dry_run"],
                batch=options["batch"],
                refuse=self._refuse(report),
                progress=lambda: progress(file.tell(), size) if size else None,
            )
            try:
                summary = run.run(read_rows(file, options["format"], self.columns, self.required))
            except FileProblem as problem:
                raise CommandError(f"{problem}.") from None
            except OSError as error:
                raise CommandError(f"The file can't be read: {error.strerror}.") from None
        self._finish(options, summary)

    def _refuse(self, report: IO[str] | None) -> Callable[[int, RowProblem], None]:
        def refuse(line: int, problem: RowProblem) -> None:
            if report is None:
                self.stderr.write(f"line {line}: {problem.sentence}")
            else:
                document = {"line": line, "reason": problem.code, "message": problem.sentence}
                report.write(json.dumps(document) + "\n")

        return refuse

    def _finish(self, options: dict[str, Any], summary: Any) -> None:
        figures, text = self.lines(summary, "would be " if options["dry_run"] else "")
        document = {
            "dry_run": options["dry_run"],
            "rows": summary.rows,
            **figures,
            "refused": summary.refused,
            "reasons": dict(sorted(summary.reasons.items())),
        }
        counts = (f"  {code}: {count}" for code, count in sorted(summary.reasons.items()))
        self.write_result(options, document, text, *counts)
        if summary.refused:
            sys.exit(1)

    def _report(self, path: str | None, stack: ExitStack) -> IO[str] | None:
        """Open the report. Only an empty file, or the report of an earlier run, is written anew."""
        if path is None:
            return None
        # The first line, by which a later run knows that it may write the file anew.
        head = json.dumps({"report": self.name}) + "\n"
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            report = stack.enter_context(os.fdopen(number, "r+", encoding="utf-8", newline=""))
            if (line := report.readline(200)) and line != head:
                raise CommandError(f"{path} has something else in it than an earlier report.")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(
                f"{path} can't be written: {getattr(error, 'strerror', 'no report')}."
            ) from None
        report.seek(0)
        report.truncate()
        report.write(head)
        return report


def _open(path: str, stack: ExitStack) -> tuple[IO[bytes], int]:
    """Return the file, and its size in bytes (0 if it is not known)."""
    if path == "-":
        return sys.stdin.buffer, 0
    try:
        file = Path(path).open("rb")  # noqa: SIM115
        stack.callback(file.close)
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}.") from None
    status = os.fstat(file.fileno())
    return file, status.st_size if stat.S_ISREG(status.st_mode) else 0
