"""What a first visit costs: few requests and few bytes, with an empty cache."""

import gzip
from collections.abc import Callable

import pytest
from playwright.sync_api import Request, expect

from tests.support.accessibility import DESKTOP, PHONE
from tests.support.live_site import LiveSite
from tests.support.visitors import Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
MOST_REQUESTS, MOST_BYTES = 12, 100_000


def weight(request: Request) -> int:
    """The bytes of a response. Pages as nginx compresses them (deploy/nginx/); static files are stored compressed."""
    size, response = request.sizes(), request.response()
    assert response is not None
    body = size["responseBodySize"]
    if response.ok and response.headers.get("content-type", "").startswith("text/html"):
        body = len(gzip.compress(response.body(), 1))
    return body + size["responseHeadersSize"]


def is_light(visitor: Visitor, path: str, lead: Callable[[], object]) -> None:
    """``lead`` leads to the page ``path`` in a browser that has nothing of it in its cache."""
    session = visitor.context.new_cdp_session(visitor.page)
    session.send("Network.enable")
    session.send("Network.clearBrowserCache")
    finished: list[Request] = []
    visitor.listen("requestfinished", lambda request: finished.append(request))
    with visitor.page.expect_navigation(wait_until="networkidle"):
        lead()
    names = [request.url for request in finished]
    assert 4 < len(names) <= MOST_REQUESTS, (path, names)
    total = sum(weight(request) for request in finished)
    assert 40_000 < total <= MOST_BYTES, (path, total)


def first_visit(visitor: Visitor, path: str) -> None:
    visitor.open("/healthz")
    is_light(visitor, path, lambda: visitor.open(path))


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", ["fa", "en"])
def test_a_first_visit_takes_few_requests_and_few_bytes(
    portal: LiveSite, visit: Visit, language: str, size: dict[str, int]
) -> None:
    sara = visit(viewport=size)
    sara.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
    first_visit(sara, "/login/")
    sara.context.add_cookies([{"name": "language", "value": "fa", "url": portal.url}])
    sara.page.goto("about:blank")
    sara.log_in()
    sara.name_key("ربات")
    sara.give_codes()
    sara.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
    # Also the response that shows a secret: it is sent once, so that its compressed length tells nothing of it.
    is_light(sara, "the new secret", sara.page.locator("main button.primary").first.click)
    expect(sara.secret).to_be_visible()
    key = sara.page.url.removeprefix(portal.url)
    sara.page.locator("#network").fill("203.0.113.24")
    sara.page.locator("#save").click()
    expect(sara.page.locator("#try-title")).to_be_visible()
    for path in ("/dashboard/", "/keys/", key, f"{key}settings/", f"{key}usage/", "/debugger/", "/help/"):
        first_visit(sara, path)
