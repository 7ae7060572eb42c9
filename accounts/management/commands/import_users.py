"""``manage.py import_users``: accounts of an exchange's customers, from CSV or JSON lines."""

import json
import os
import stat
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError, CommandParser

from accounts.management import reporting
from accounts.management.arguments import progress
from accounts.transfer import COLUMNS, FileProblem, Importer, RowProblem, Summary, read_rows

#: The first line of a report, by which a later run knows that it may write it anew.
REPORT_HEAD = {"report": "import_users"}
MAX_BATCH = 10_000


class Command(reporting.ReportingCommand):
    help = (
        "Creates accounts from a file, one for each row; columns: "
        + ", ".join(COLUMNS)
        + ". A row is stored whole "
        "or refused with its line and a reason. Accounts that exist are not changed, so it can be run again, also "
        "after it was killed. With --dry-run nothing is stored. Exit codes: 0 each row has its account, 1 some rows or "
        "the file are refused, 2 wrong usage."
    )
    json_shape = '{"dry_run", "rows", "created", "unchanged", "refused", "reasons"}'

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
            file, size = self._open(options["file"], stack)
            report = self._report(options["report"], file, stack)

            def refuse(line: int, problem: RowProblem) -> None:
                if report is None:
                    self.stderr.write(f"line {line}: {problem.sentence}")
                else:
                    document = {"line": line, "reason": problem.code, "message": problem.sentence}
                    report.write(json.dumps(document) + "\n")

            importer = Importer(
                dry_run=options["dry_run"],
                batch=options["batch"],
                refuse=refuse,
                progress=lambda: progress(file.tell(), size) if size else None,
            )
            try:
                summary = importer.run(read_rows(file, options["format"]))
            except FileProblem as problem:
                raise CommandError(f"{problem}.") from None
            except OSError as error:
                raise CommandError(f"The file can't be read: {error.strerror}.") from None
        self._finish(options, summary)

    def _finish(self, options: dict[str, Any], summary: Summary) -> None:
        document = {
            "dry_run": options["dry_run"],
            "rows": summary.rows,
            "created": summary.created,
            "unchanged": summary.unchanged,
            "refused": summary.refused,
            "reasons": dict(sorted(summary.reasons.items())),
        }
        would = "would be " if options["dry_run"] else ""
        self.write_result(
            options,
            document,
            f"{summary.rows} rows: {summary.created} accounts {would}created, {summary.unchanged} exist already, "
            f"{summary.refused} {would}refused.",
            *(f"  {code}: {count}" for code, count in sorted(summary.reasons.items())),
        )
        if summary.refused:
            sys.exit(1)

    def _open(self, path: str, stack: ExitStack) -> tuple[IO[bytes], int]:
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

    def _report(self, path: str | None, source: IO[bytes], stack: ExitStack) -> IO[str] | None:
        """Open the report. Only an empty file, or the report of an earlier run, is written anew."""
        if path is None:
            return None
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            report = stack.enter_context(os.fdopen(number, "r+", encoding="utf-8", newline=""))
            if (line := report.readline(200)) and line != json.dumps(REPORT_HEAD) + "\n":
                raise CommandError(f"{path} has something else in it than an earlier report.")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(
                f"{path} can't be written: {getattr(error, 'strerror', 'no report')}."
            ) from None
        report.seek(0)
        report.truncate()
        report.write(json.dumps(REPORT_HEAD) + "\n")
        return report
