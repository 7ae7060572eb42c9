"""Customers move in and out: import, linking and export of accounts as CSV or JSON lines."""

from accounts.transfer.exporter import export_rows
from accounts.transfer.importer import Importer, Summary
from accounts.transfer.linker import LINK_COLUMNS, LINK_REQUIRED, Linker, LinkSummary
from accounts.transfer.records import COLUMNS, REQUIRED, FileProblem, read_rows
from accounts.transfer.rows import ImportRow, RowProblem, RowRefused, check_row

__all__ = [
    "COLUMNS",
    "LINK_COLUMNS",
    "LINK_REQUIRED",
    "REQUIRED",
    "FileProblem",
    "ImportRow",
    "Importer",
    "LinkSummary",
    "Linker",
    "RowProblem",
    "RowRefused",
    "Summary",
    "check_row",
    "export_rows",
    "read_rows",
]
