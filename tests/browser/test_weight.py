"""What a first visit costs: few requests and few bytes, with an empty cache."""

import gzip

import pytest
from playwright.sync_api import Request, expect

from tests.support import visitors
from tests.support.live_site import LiveSite
from tests.support.visitors import Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
MOST_REQUESTS, MOST_BYTES = 12, 100_000


def weight(request: Request) -> int:
    """The bytes of a response. Pages as nginx compresses them (deploy/nginx/); static files are stored compressed."""
    size, response = request.sizes(), request.response()
    assert response is not None
    body = size["responseBodySize"]
    if response.headers.get("content-type", "").startswith("text/html"):
        body = len(gzip.compress(response.body(), 1))
    return body + size["responseHeadersSize"]


def is_light(visitor: Visitor, path: str) -> None:
    session = visitor.context.new_cdp_session(visitor.page)
    session.send("Network.enable")
    visitor.open("/healthz")
    session.send("Network.clearBrowserCache")
    finished: list[Request] = []
    visitor.listen("requestfinished", lambda request: finished.append(request))
    visitor.page.goto(visitor.site.url + path, wait_until="networkidle")
    names = [request.url for request in finished]
    assert 4 < len(names) <= MOST_REQUESTS, (path, names)
    total = sum(weight(request) for request in finished)
    assert 40_000 < total <= MOST_BYTES, (path, total)


@pytest.mark.parametrize("language", ["fa", "en"])
def test_a_first_visit_takes_few_requests_and_few_bytes(
    portal: LiveSite, visit: Visit, language: str
) -> None:
    sara = visit()
    sara.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
    is_light(sara, "/login/")
    sara.context.add_cookies([{"name": "language", "value": "fa", "url": portal.url}])
    sara.page.goto("about:blank")
    sara.log_in()
    sara.make_key("ربات")
    key = sara.page.url.removeprefix(portal.url)
    sara.network.fill("203.0.113.24")
    sara.button(visitors.SAVE).click()
    expect(sara.page.get_by_text("ذخیره شد.")).to_be_visible()
    sara.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
    for path in ("/dashboard/", "/keys/", key, f"{key}settings/", f"{key}usage/", "/debugger/", "/help/"):
        is_light(sara, path)


def test_the_form_of_the_settings_is_saved_in_place_once_it_was_touched(
    portal: LiveSite, visit: Visit
) -> None:
    sara = visit()
    sara.log_in()
    sara.make_key("ربات")
    sara.network.fill("198.51.100.7")
    sara.button(visitors.SAVE).click()
    expect(sara.page.get_by_text("ذخیره شد.")).to_be_visible()
    key = sara.page.url.removeprefix(portal.url)
    sara.open(f"{key}settings/")
    assert sara.page.locator("script[src*=htmx]").count() == 0
    sara.page.evaluate("document.body.dataset.same = 'page'")
    sara.network.focus()
    sara.page.wait_for_function("window.htmx")
    sara.network.fill("203.0.113.24")
    sara.button(visitors.CONFIRM).click()
    expect(sara.page.locator(".chip", has_text="203.0.113.24")).to_be_visible()
    assert sara.page.evaluate("document.body.dataset.same") == "page"
