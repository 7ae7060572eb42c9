"""``manage.py import_users``: accounts of an exchange's customers, from CSV or JSON lines."""

from typing import Any

from accounts.management.row_files import RowFileCommand, Run
from accounts.transfer import COLUMNS, REQUIRED, Importer, Summary


class Command(RowFileCommand):
    help = (
        "Creates accounts from a file, one for each row; columns: "
        + ", ".join(COLUMNS)
        + ". A row is stored whole "
        "or refused with its line and a reason. Accounts that exist are not changed, so it can be run again, also "
        "after it was killed. With --dry-run nothing is stored. Exit codes: 0 each row has its account, 1 some rows or "
        "the file are refused, 2 wrong usage."
    )
    json_shape = '{"dry_run", "rows", "created", "unchanged", "refused", "reasons"}'
    name = "import_users"
    columns, required = COLUMNS, REQUIRED

    def start(self, **options: Any) -> Run:
        return Importer(**options)

    def lines(self, summary: Summary, would: str) -> tuple[dict[str, int], str]:
        return {"created": summary.created, "unchanged": summary.unchanged}, (
            f"{summary.rows} rows: {summary.created} accounts {would}created, {summary.unchanged} exist already, "
            f"{summary.refused} {would}refused."
        )
