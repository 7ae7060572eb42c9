"""Render a route table as a Caddy ``map``: ``{portal_security}`` and ``{portal_permission}``. Pure."""

from __future__ import annotations

from apikeys.gateway.routes import patterns
from apikeys.gateway.routes.table import DEFAULT_NEEDS, Needs, RouteTable


def render(table: RouteTable) -> str:
    """Return a file that is imported in the site's block.

    Regular expressions throughout: Caddy's path matchers ignore case.
    """

    def outputs(needs: Needs) -> str:
        return f'{needs.security.value} "{needs.permission}"'

    lines = [f"\t~{patterns.of(route, chr(92) + 's')} {outputs(route.needs)}" for route in table.routes]
    return "\n".join(
        [
            "# Made by `manage.py gateway_routes --format caddy`: change the route table, not this file.",
            'map "{method} {path}" {portal_security} {portal_permission} {',
            *lines,
            f"\tdefault {outputs(DEFAULT_NEEDS)}",
            "}",
            "",
        ]
    )
