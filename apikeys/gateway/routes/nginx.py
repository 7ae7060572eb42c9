"""Render a route table as nginx ``map`` blocks: ``$portal_security`` and ``$portal_permission``. Pure."""

from __future__ import annotations

from apikeys.gateway.routes import patterns
from apikeys.gateway.routes.table import DEFAULT_NEEDS, RouteTable


def render(table: RouteTable) -> str:
    """Return a file that is included in ``http {}``.

    Regular expressions throughout: nginx compares other strings ignoring case, and tries expressions in their order.
    ``\\z`` and not ``$``, which matches before a line break at the end, too.
    """
    routes = [f'    "~{patterns.of(route, " ", chr(92) + "z")}" "{route.needs}";' for route in table.routes]
    needs = sorted({route.needs for route in table.routes} - {DEFAULT_NEEDS}, key=str)
    return "\n".join(
        [
            "# Made by `manage.py gateway_routes --format nginx`: change the route table, not this file.",
            'map "$request_method $uri" $portal_needs {',
            f'    default "{DEFAULT_NEEDS}";',
            *routes,
            "}",
            "map $portal_needs $portal_security {",
            f"    default {DEFAULT_NEEDS.security.value};",
            *(f'    "{each}" {each.security.value};' for each in needs),
            "}",
            "map $portal_needs $portal_permission {",
            f"    default {DEFAULT_NEEDS.permission};",
            *(f'    "{each}" "{each.permission}";' for each in needs),
            "}",
            "",
        ]
    )
