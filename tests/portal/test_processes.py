"""Four processes of the portal on PostgreSQL and Valkey, over HTTP: together they count as one."""

import itertools
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pyotp
import pytest

from tests.support.live_portal import LivePortal

pytestmark = [pytest.mark.postgres, pytest.mark.verify]
SECOND_FACTOR = "/login/second-factor/"
_addresses = (f"198.18.{n // 256}.{n % 256}" for n in itertools.count(1))


class Browser:
    """Cookies, the CSRF token of the last page, and an address of its own for every post."""

    def __init__(self, portal: LivePortal) -> None:
        self.portal, self.session = portal, httpx.Client(trust_env=False, follow_redirects=True, timeout=60)
        self.token = ""

    def get(self, path: str) -> str:
        page = self.session.get(self.portal.url + path).text
        result = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        self.token = result.group(1) if result else ""
        return page

    def post(self, path: str, **fields: str) -> httpx.Response:
        # One connection a post: those of a pool would queue behind each other.
        return httpx.post(
            self.portal.url + path,
            data={"csrfmiddlewaretoken": self.token, **fields},
            headers={"X-Forwarded-For": next(_addresses), "Connection": "close"},
            cookies=dict(self.session.cookies),
            timeout=60,
            trust_env=False,
        )


@pytest.fixture
def half_way(portal_on_postgres: LivePortal) -> Iterator[Browser]:
    """The demo customer after the password, on the page of the second factor."""
    browser = Browser(portal_on_postgres)
    browser.get("/login/")
    demo = portal_on_postgres.demo
    answer = browser.post("/login/", phone=demo["phone"], password=demo["password"])
    assert answer.headers["Location"] == SECOND_FACTOR
    browser.session.cookies.update(answer.cookies)
    browser.get(SECOND_FACTOR)
    yield browser
    browser.session.close()


def messages(portal: LivePortal) -> list[Path]:
    return sorted((portal.data_dir / "sms").glob("[!.]*.json"))


def test_200_requests_for_a_code_send_one_message(half_way: Browser, portal_on_postgres: LivePortal) -> None:
    before = len(messages(portal_on_postgres))
    barrier = threading.Barrier(200)

    def ask(_number: int) -> int:
        barrier.wait(60)
        return half_way.post(SECOND_FACTOR, switch="sms").status_code

    with ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(ask, range(200)))
    assert set(statuses) == {302}
    assert len(messages(portal_on_postgres)) == before + 1


def test_the_right_code_behind_twelve_wrong_ones_is_refused(
    half_way: Browser, portal_on_postgres: LivePortal
) -> None:
    totp = pyotp.TOTP(portal_on_postgres.demo["totp_secret"])
    near = {totp.at(int(time.time()) + 30 * steps) for steps in range(-5, 6)}
    wrong = [code for code in (f"{n:06d}" for n in range(40)) if code not in near][:12]
    refused = threading.Semaphore(0)

    def guess(code: str) -> int:
        status = half_way.post(SECOND_FACTOR, code=code).status_code
        refused.release()
        return status

    def right() -> httpx.Response:
        for _answer in range(5):
            assert refused.acquire(timeout=60)
        return half_way.post(SECOND_FACTOR, code=totp.now())

    with ThreadPoolExecutor(13) as pool:
        last = pool.submit(right)
        statuses = list(pool.map(guess, wrong))
        answer = last.result()
    assert statuses == [200] * 12
    assert answer.status_code == 200  # the form again, not the dashboard
    assert "Location" not in answer.headers
