"""CSV files for spreadsheets: every cell is quoted, and no cell is taken for a formula."""

import csv
from collections.abc import Iterable, Iterator, Sequence

#: SECURITY: a spreadsheet runs a cell that begins with one of these as a formula, and much of what is exported is free
#: text. The last four are full-width forms, which some spreadsheets accept as well.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
BYTE_ORDER_MARK = "\ufeff"  # Excel needs it to detect UTF-8


class _Echo:
    """A file whose ``write`` returns the line instead of storing it."""

    def write(self, line: str) -> str:
        return line


def harmless(text: str) -> str:
    """Return ``text``, with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of the file, header first."""
    writer = csv.writer(_Echo(), quoting=csv.QUOTE_ALL)
    yield BYTE_ORDER_MARK + str(writer.writerow(header))
    for row in rows:
        yield str(writer.writerow([harmless(cell) for cell in row]))
