"""security.txt, change-password and robots.txt, as other programs read them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.accounts.access.test_default_deny import ALL
from tests.support import people
from tests.support.people import browser

pytestmark = pytest.mark.django_db

SECURITY_TXT = "/.well-known/security.txt"
CHANGE_PASSWORD = "/.well-known/change-password"  # nosec B105


@pytest.fixture
def published(settings: Any) -> None:
    settings.SECURITY_CONTACT = ["mailto:security@portal.example", "https://portal.example/report"]
    settings.SECURITY_POLICY = "https://portal.example/policy"
    settings.SECURITY_LANGUAGES = ["fa", "en"]
    settings.BASE_URL, settings.SECURE = "https://keys.portal.example", True


def fields() -> list[tuple[str, str]]:
    """Name and value of each line of security.txt."""
    response = browser().get(SECURITY_TXT)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    text = response.content.decode()
    lines = [re.fullmatch(r"([A-Z][A-Za-z-]+): ([!-~]+(?: [!-~]+)*)", line) for line in text.splitlines()]
    assert text.endswith("\n")
    assert all(lines), text
    return [(line[1], line[2]) for line in lines if line]


@pytest.mark.usefixtures("published")
def test_security_txt_has_the_fields_of_rfc_9116_from_the_settings() -> None:
    assert [field for field in fields() if field[0] != "Expires"] == [
        ("Contact", "mailto:security@portal.example"),
        ("Contact", "https://portal.example/report"),
        ("Preferred-Languages", "fa, en"),
        ("Canonical", "https://keys.portal.example/.well-known/security.txt"),
        ("Policy", "https://portal.example/policy"),
    ]


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("years", [0, 1, 30])
def test_security_txt_never_expires_and_never_in_more_than_a_year(
    years: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC) + timedelta(days=365 * years)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return today.astimezone(tz)

    monkeypatch.setattr("hitobit_portal.http.well_known.datetime", Later)
    expires = [value for name, value in fields() if name == "Expires"]
    assert len(expires) == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", expires[0])
    ahead = datetime.fromisoformat(expires[0]) - today
    assert timedelta(days=30) < ahead < timedelta(days=365)


@pytest.mark.usefixtures("published")
def test_what_is_not_configured_is_left_out(settings: Any) -> None:
    settings.SECURITY_POLICY, settings.SECURITY_LANGUAGES, settings.SECURE = "", [], False
    assert [name for name, _value in fields()] == ["Contact", "Contact", "Expires"]


def test_without_a_contact_there_is_no_security_txt(settings: Any) -> None:
    settings.SECURITY_CONTACT = []
    assert browser().get(SECURITY_TXT).status_code == 404


def test_change_password_leads_to_the_page_that_changes_it() -> None:
    client = people.logged_in(people.customer())
    response = client.get(CHANGE_PASSWORD)
    assert response.status_code == 302
    assert response["Location"] == "/settings/password/"
    assert client.get(response["Location"]).status_code == 200


def test_change_password_works_after_a_login_too() -> None:
    sara = people.with_password(people.customer())
    client = browser()
    response = client.get(CHANGE_PASSWORD)
    assert response.status_code == 302
    assert response["Location"].startswith("/login/?next=")
    client.post(response["Location"], {"phone": sara.user.phone, "password": sara.password})
    response = client.post("/login/second-factor/?method=totp", {"code": sara.totp()}, follow=True)
    assert response.redirect_chain[-1][0] == "/settings/password/"
    assert response.status_code == 200


def test_well_known_address_that_does_not_exist_is_404() -> None:
    """Password managers ask for one, to know whether the answer about change-password can be trusted."""
    path = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200"
    assert browser().get(path).status_code == 404


def may_fetch(rules: list[tuple[str, str]], path: str) -> bool:
    """The longest rule that matches decides (RFC 9309, 2.2.2 and 2.2.3)."""
    matching = [
        (len(pattern), kind == "Allow")
        for kind, pattern in rules
        if (path == pattern[:-1] if pattern.endswith("$") else path.startswith(pattern))
    ]
    return max(matching, default=(0, True))[1]


def test_robots_txt_allows_public_pages_only() -> None:
    response = browser().get("/robots.txt")
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    agent, *lines = response.content.decode().splitlines()
    assert agent == "User-agent: *"
    rules = [(kind, pattern) for kind, _, pattern in (line.partition(": ") for line in lines)]
    assert {kind for kind, _pattern in rules} == {"Allow", "Disallow"}
    assert {path for path in ALL if may_fetch(rules, path)} == {"/login/", "/signup/", "/forgot/"}
    assert not may_fetch(rules, "/signup/invited/0123456789")


@pytest.mark.parametrize("path", [SECURITY_TXT, CHANGE_PASSWORD, "/robots.txt"])
def test_well_known_addresses_are_read_only_and_start_no_session(path: str, published: None) -> None:
    client = browser()
    assert client.get(path).status_code in (200, 302)
    assert not client.cookies
    response = people.logged_in(people.customer()).post(path)
    assert response.status_code == 405
