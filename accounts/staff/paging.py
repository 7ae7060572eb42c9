"""Pages of staff's lists: rows after or before one row, found by an index, and a bounded count.

A page number costs the database all rows before it (OFFSET), and the number of pages all rows of the list: both grow
with the data. A page is named by the row next to it, so a new row does not move the others to another page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import QueryDict

SIZE = 50
#: Rows are counted up to this number; a list says "more than" of longer ones.
MAX_COUNT = 1000
#: The parameters of a URL: the page of the rows older or newer than the row with this id.
PARAMETERS = ("before", "after")
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class ListPage(Generic[Row]):
    """The rows of a page, newest first. ``older`` and ``newer``: the ids that name its neighbours, "" if there is none.

    ``is_first``: no row is newer. ``count``: the rows of the whole list, `MAX_COUNT` at most; ``is_long``: it has more.
    """

    rows: list[Row] = field(default_factory=list)
    older: str = ""
    newer: str = ""
    is_first: bool = True
    count: int = 0
    is_long: bool = False


def page_of(
    rows: QuerySet[Row],
    parameters: QueryDict,
    *,
    order: Sequence[str] = ("pk",),
    hide: Callable[[Any], str] = str,
    reveal: Callable[[str], Any],
) -> ListPage[Row]:
    """Return the page of ``rows`` that ``parameters`` name; the first page for an id that names no row.

    ``order``: fields of which all together are unique, the newest row has the highest values; an index should have
    them. ``hide`` makes the id in a URL of a primary key, ``reveal`` does the reverse and returns None for other texts.
    """
    for name in PARAMETERS:
        place = _place(rows, order, reveal(parameters.get(name, "")))
        if place is None:
            continue
        is_older = name == "before"
        beyond = _sorted(rows.filter(_beyond(order, place, "lt" if is_older else "gt")), order, is_older)
        matching = list(beyond[: SIZE + 1])
        if not is_older and len(matching) <= SIZE:
            break
        shown, has_more = matching[:SIZE], len(matching) > SIZE
        return _page(rows, shown if is_older else shown[::-1], hide, has_more or not is_older, is_first=False)
    newest = list(_sorted(rows, order, newest_first=True)[: SIZE + 1])
    return _page(rows, newest[:SIZE], hide, len(newest) > SIZE, is_first=True)


def _page(
    rows: QuerySet[Row], shown: list[Row], hide: Callable[[Any], str], has_older: bool, *, is_first: bool
) -> ListPage[Row]:
    count = rows.order_by()[: MAX_COUNT + 1].count()
    return ListPage(
        shown,
        older=hide(shown[-1].pk) if shown and has_older else "",
        newer=hide(shown[0].pk) if shown and not is_first else "",
        is_first=is_first,
        count=min(count, MAX_COUNT),
        is_long=count > MAX_COUNT,
    )


def _place(rows: QuerySet[Row], order: Sequence[str], pk: Any) -> tuple[Any, ...] | None:
    """Return the row's values of ``order``, also of a row that the filters no longer match."""
    if pk is None:
        return None
    return rows.model._default_manager.filter(pk=pk).values_list(*order).first()


def _beyond(order: Sequence[str], place: tuple[Any, ...], than: str) -> Q:
    """Return the condition for rows beyond ``place``. The first field's own condition is what an index is read by."""
    condition, equal = Q(), Q()
    for name, value in zip(order, place, strict=True):
        condition |= equal & Q(**{f"{name}__{than}": value})
        equal &= Q(**{name: value})
    return Q(**{f"{order[0]}__{than}e": place[0]}) & condition


def _sorted(rows: QuerySet[Row], order: Sequence[str], newest_first: bool) -> QuerySet[Row]:
    return rows.order_by(*(f"-{name}" if newest_first else name for name in order))
