"""Render a route table as a HAProxy map file for ``map_reg``: ``METHOD:PATH`` → ``SECURITY PERMISSION``. Pure."""

from __future__ import annotations

from apikeys.gateway.routes import patterns
from apikeys.gateway.routes.table import RouteTable


def render(table: RouteTable) -> str:
    """Return a map file. What no line matches has the default that is named where the map is used.

    A key ends at the first space, so ":" is between method and path. "-" means no permission.
    """
    lines = [f"{patterns.of(route, ':')} {route.needs}" for route in table.routes]
    return "\n".join(
        [
            "# Made by `manage.py gateway_routes --format haproxy`: change the route table, not this file.",
            *lines,
            "",
        ]
    )
