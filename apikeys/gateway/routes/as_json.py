"""Render a route table as JSON, for programs: the middleware in deploy/middleware/, and gateways of one's own. Pure."""

from __future__ import annotations

import json
from typing import Any

from apikeys.gateway.routes.table import DEFAULT_NEEDS, PATH_PATTERN, Needs, Route, RouteTable


def render(table: RouteTable) -> str:
    """Return a document of ``path`` (an expression that the whole path has to match), ``default`` and ``routes``.

    The first route that matches is the one that counts. ``prefix``: all paths that begin with this one.
    """
    routes = ",\n".join(f"    {json.dumps(_entry(route))}" for route in table.routes)
    return (
        f'{{\n  "made_by": "manage.py gateway_routes --format json: change the route table, not this file",\n'
        f'  "path": {json.dumps(PATH_PATTERN)},\n'
        f'  "default": {json.dumps(_needs(DEFAULT_NEEDS))},\n'
        f'  "routes": [\n{routes}\n  ]\n}}\n'
    )


def _entry(route: Route) -> dict[str, Any]:
    where = {"methods": route.methods, "path": route.path, "prefix": route.is_prefix}
    return {**where, **_needs(route.needs)}


def _needs(needs: Needs) -> dict[str, str]:
    return {"security": needs.security.value, "permission": needs.permission}
