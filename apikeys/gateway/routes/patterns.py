"""Regular expressions for routes, in the syntax that RE2 and PCRE share. Pure."""

from __future__ import annotations

import re

from apikeys.gateway.routes.table import Route


def of(route: Route, separator: str, end: str = "$") -> str:
    """Return an expression for ``METHOD<separator>PATH``. ``end``: what the dialect writes for the end of the text.

    SECURITY: it is anchored at both ends; half of a path matches nothing.
    """
    methods = route.methods[0] if len(route.methods) == 1 else f"({'|'.join(route.methods)})"
    return f"^{methods}{separator}{re.escape(route.path)}{'' if route.is_prefix else end}"
