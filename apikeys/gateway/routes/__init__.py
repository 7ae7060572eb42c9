"""The route table: what each route of the exchange's API needs, in one file for all proxies.

- `table` parses the file and finds the route of a request. Pure.
- One module a proxy (`as_json`: for programs) renders a parsed table in the form that the proxy's configuration in
  deploy/ includes: ``render(table) -> str``.
"""

from collections.abc import Callable
from typing import Final

from apikeys.gateway.routes import as_json, caddy, envoy, haproxy, nginx, traefik
from apikeys.gateway.routes.table import Needs, Route, RouteTable, RouteTableError, parse

__all__ = ["FORMATS", "Needs", "Route", "RouteTable", "RouteTableError", "parse"]

#: Format → function that renders a table.
FORMATS: Final[dict[str, Callable[[RouteTable], str]]] = {
    "caddy": caddy.render,
    "envoy": envoy.render,
    "haproxy": haproxy.render,
    "json": as_json.render,
    "nginx": nginx.render,
    "traefik": traefik.render,
}
