"""``/ip`` tells its caller their own address and its family, and nothing else."""

import pytest

from hitobit_portal.security.ratelimits import Rate
from tests.support import people
from tests.support.people import browser

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("203.0.113.24", "203.0.113.24 IPv4\n"),
        ("2001:db8::7", "2001:db8::7 IPv6\n"),
        ("::ffff:203.0.113.9", "203.0.113.9 IPv4\n"),
    ],
)
def test_address_and_family_are_all_that_is_said(address: str, line: str) -> None:
    response = browser(address).get("/ip")
    assert (response.status_code, response.content.decode()) == (200, line)
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert "no-store" in response["Cache-Control"]
    assert not response.cookies


def test_customer_gets_the_same_response_as_a_visitor() -> None:
    sara = people.logged_in(people.customer())
    assert sara.get("/ip").content == browser(people.ADDRESS).get("/ip").content


def test_address_that_asks_too_often_waits_and_others_do_not() -> None:
    answers = [browser("203.0.113.50").get("/ip") for _n in range(Rate.CALLER_ADDRESS.value.count + 1)]
    assert [response.status_code for response in answers] == [200] * Rate.CALLER_ADDRESS.value.count + [429]
    assert 1 <= int(answers[-1]["Retry-After"]) <= 60
    assert browser("203.0.113.51").get("/ip").status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_it_is_only_read(method: str) -> None:
    assert getattr(browser("203.0.113.52"), method)("/ip").status_code == 405
