"""Render a route table as Envoy's route configuration (RDS, read from a file). Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from apikeys.gateway.routes.table import DEFAULT_NEEDS, Needs, Route, RouteTable

_MUTATION: Final = "envoy.filters.http.header_mutation"
_TYPES: Final = "type.googleapis.com/envoy"


def render(table: RouteTable) -> str:
    """Return a file of one resource, a ``RouteConfiguration`` with one route a line.

    What a route needs is set by the filter header_mutation. SECURITY: not by the route's ``request_headers_to_add``,
    which Envoy applies after ext_authz.
    """
    entries = [_entry(_match(route), route.needs) for route in table.routes]
    entries.append(_entry({"prefix": "/"}, DEFAULT_NEEDS))
    return "\n".join(
        [
            "# Made by `manage.py gateway_routes --format envoy`: change the route table, not this file.",
            "resources:",
            f'- "@type": {_TYPES}.config.route.v3.RouteConfiguration',
            "  name: exchange",
            "  virtual_hosts:",
            "  - name: exchange",
            '    domains: ["*"]',
            "    routes:",
            *(f"    - {json.dumps(entry)}" for entry in entries),
            "",
        ]
    )


def _match(route: Route) -> dict[str, Any]:
    path = {"prefix" if route.is_prefix else "path": route.path}
    methods = {"safe_regex": {"regex": "|".join(map(re.escape, route.methods))}}
    return {**path, "headers": [{"name": ":method", "string_match": methods}]}


def _entry(match: dict[str, Any], needs: Needs) -> dict[str, Any]:
    values = {"x-required-security": needs.security.value, "x-required-permission": needs.permission}
    # Headers with these names that a client sent are removed before: a route without a permission sets none.
    mutations = [
        {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
        for key, value in values.items()
        if value
    ]
    return {
        "match": match,
        "route": {"cluster": "exchange"},
        "typed_per_filter_config": {
            _MUTATION: {
                "@type": f"{_TYPES}.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
                "mutations": {"request_mutations": mutations},
            }
        },
    }
