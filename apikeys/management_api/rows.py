"""Find one row that the API knows, or a page of rows in the order of their ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from apikeys.management_api.endpoints import Answer, Call
from apikeys.management_api.problems import not_found

Row = TypeVar("Row", bound=Model)
MAX_PAGE = 200
#: Of a number in a path or a query string.
HIGHEST = 10**18 - 1


def find(rows: QuerySet[Row], pk: Any) -> Row:
    """Return the row with this id. Raise `ApiProblem`."""
    row = rows.filter(pk=pk).first()
    if row is None:
        raise not_found()
    return row


def after_number(call: Call) -> int:
    return call.integer("after", default=0, least=0, most=HIGHEST)


def page_of(call: Call, rows: QuerySet[Row], document: Callable[[Row], dict[str, Any]]) -> Answer:
    """Return the first of ``rows``, and the id after which the next page begins: null if there is none.

    ``rows`` are those after the last page; ``document`` has their ``id``.
    """
    limit = call.integer("limit", default=50, least=1, most=MAX_PAGE)
    page = list(rows.order_by("pk")[: limit + 1])
    items = [document(row) for row in page[:limit]]
    return 200, {"items": items, "next": items[-1]["id"] if len(page) > limit else None}
