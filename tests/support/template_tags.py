"""Template tags without the database, in every page that a test renders in its own process."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.template import engines
from django.template.library import TagHelperNode

#: Libraries of the portal, by the start of their module.
OURS = ("accounts.", "apikeys.", "hitobit_portal.")


class TagQueriesDatabase(AssertionError):
    """A template tag or filter of the portal queries the database."""


def refuse(_execute: Any, sql: str, *_rest: Any) -> Any:
    raise TagQueriesDatabase(sql[:200])


def without_queries(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        with connection.execute_wrapper(refuse):
            return function(*arguments, **options)

    return run


def forbid_queries(patch: pytest.MonkeyPatch) -> None:
    """Make every query of a simple tag, an inclusion tag or a filter of ours raise `TagQueriesDatabase`.

    Their arguments may be query sets that the view has passed.
    """
    begin = TagHelperNode.__init__

    def begin_without_queries(self: Any, func: Callable[..., Any], *rest: Any) -> None:
        begin(self, without_queries(func) if func.__module__.startswith(OURS) else func, *rest)

    patch.setattr(TagHelperNode, "__init__", begin_without_queries)
    engine: Any = engines["django"].engine  # type: ignore[attr-defined]
    for library in (*engine.template_libraries.values(), *engine.template_builtins):
        for name, function in library.filters.items():
            if function.__module__.startswith(OURS):
                patch.setitem(library.filters, name, without_queries(function))
