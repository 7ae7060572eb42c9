"""Each shipped configuration starts with the example's route table, and lets nothing pass while there is no portal."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from apikeys.gateway.routes.table import PATH_PATTERN
from tests.support import recipes

#: Files of deploy/ with the paths that pass, one of each recipe.
PATH_RULES = (
    "nginx/gateway.conf", "nginx/gateway-njs.conf", "haproxy/haproxy.cfg", "caddy/Caddyfile", "envoy/envoy.yaml",
    "envoy/envoy-grpc.yaml", "traefik/plugins-local/src/portal.local/portalgate/portalgate.go",
)  # fmt: skip


@pytest.fixture(scope="module", params=recipes.RECIPES)
def lonely(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[recipes.Setting]:
    """A proxy without a portal and without an exchange, that answers preflight requests."""
    recipe = recipes.RECIPES[request.param]
    recipes.require(recipe)
    setting = replace(recipes.setting_for(tmp_path_factory.mktemp(recipe.name), token="hbgw_x"), cors=True)
    with recipes.running(recipe, setting):
        yield setting


def answer(
    setting: recipes.Setting, method: str, target: str, headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", setting.port, timeout=30)
    try:
        connection.request(method, target, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/api/v3/time", "/api/v3/account?timestamp=1", "/not/listed"])
def test_without_a_portal_nothing_passes(lonely: recipes.Setting, path: str) -> None:
    status, headers, body = answer(lonely, "GET", path)
    assert (status, json.loads(body)["code"]) == (503, -1001)
    assert headers["Content-Type"].startswith("application/json")


def test_an_ambiguous_path_is_refused_before_the_portal_is_asked(lonely: recipes.Setting) -> None:
    status, _headers, body = answer(lonely, "GET", "/api/v3/order;x")
    assert (status, json.loads(body)["code"]) == (400, -1000)
    # Envoy and Traefik normalise the next one before they choose a route.
    status, _headers, body = answer(lonely, "GET", "/api/v3/ticker/../account")
    assert (status, json.loads(body)["code"]) in ((400, -1000), (503, -1001))


def test_a_preflight_is_answered_if_that_is_chosen(lonely: recipes.Setting) -> None:
    requested = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    status, headers, body = answer(lonely, "OPTIONS", "/api/v3/order", requested)
    assert (status, body) in ((204, b""), (200, b""))
    assert headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "X-MBX-APIKEY" in headers["Access-Control-Allow-Headers"]
    # An OPTIONS request that is no preflight is a request as any other.
    assert answer(lonely, "OPTIONS", "/api/v3/order")[0] == 503
    assert answer(lonely, "POST", "/api/v3/order", requested)[0] == 503


@pytest.mark.parametrize("name", PATH_RULES)
def test_the_paths_that_pass_are_those_that_a_route_table_may_name(name: str) -> None:
    text = (recipes.DEPLOY / name).read_text(encoding="utf-8")
    # Envoy matches whole values, and has the rule in two places.
    assert text.count(f"'{PATH_PATTERN}([?][!-~]*)?'") == 2 if "envoy" in name else f"^{PATH_PATTERN}" in text
