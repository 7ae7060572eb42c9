"""``manage.py link_users``: existing accounts get the exchange's ids of their owners."""

from typing import Any

from accounts.management.row_files import RowFileCommand, Run
from accounts.transfer import LINK_COLUMNS, LINK_REQUIRED, Linker, LinkSummary


class Command(RowFileCommand):
    help = (
        "Gives each account that a row names, by its number (user, the X-Portal-User of its requests) or by its "
        "confirmed phone, the row's external_id; columns: "
        + ", ".join(LINK_COLUMNS)
        + ". An id is set once and never changes, so it can be run again, also after it was killed. With --dry-run "
        "nothing is stored. From then on the exchange takes the account for that customer: be sure that it is. Exit "
        "codes: 0 each account has its id, 1 some rows or the file are refused, 2 wrong usage."
    )
    json_shape = '{"dry_run", "rows", "linked", "unchanged", "refused", "reasons"}'
    name = "link_users"
    columns, required = LINK_COLUMNS, LINK_REQUIRED

    def start(self, **options: Any) -> Run:
        return Linker(**options)

    def lines(self, summary: LinkSummary, would: str) -> tuple[dict[str, int], str]:
        return {"linked": summary.linked, "unchanged": summary.unchanged}, (
            f"{summary.rows} rows: {summary.linked} accounts {would}linked, {summary.unchanged} are linked already, "
            f"{summary.refused} {would}refused."
        )
