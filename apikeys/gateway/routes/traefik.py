"""Render a route table as routers of Traefik (a dynamic configuration file). Pure."""

from __future__ import annotations

import json

from apikeys.gateway.routes.table import DEFAULT_NEEDS, Needs, Route, RouteTable


def render(table: RouteTable) -> str:
    """Return a file with one router a line, of which each names one of the chains in portal.yaml.

    Traefik tries the router of the highest priority first.
    """
    rules = [(_rule(route), route.needs) for route in table.routes]
    rules.append(("PathPrefix(`/`)", DEFAULT_NEEDS))
    return "\n".join(
        [
            "# Made by `manage.py gateway_routes --format traefik`: change the route table, not this file.",
            "http:",
            "  routers:",
            *(
                f"    route-{number}: {_router(rule, needs, len(rules) - number + 1)}"
                for number, (rule, needs) in enumerate(rules, start=1)
            ),
            "",
        ]
    )


def _rule(route: Route) -> str:
    # No path of a table contains a "`".
    matcher = "PathPrefix" if route.is_prefix else "Path"
    methods = " || ".join(f"Method(`{method}`)" for method in route.methods)
    return f"{matcher}(`{route.path}`) && ({methods})"


def _router(rule: str, needs: Needs, priority: int) -> str:
    chain = "-".join(filter(None, ("portal", needs.security.value, needs.permission)))
    router = {
        "entryPoints": ["clients"],
        "rule": rule,
        "priority": priority,
        "middlewares": [chain],
        "service": "exchange",
    }
    return json.dumps(router)
