"""`PORTAL_OIDC_REQUIRED`: customers have no password form, staff have theirs. No provider is needed for it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import people, production
from tests.support.people import Person

pytestmark = pytest.mark.django_db
SECOND, STAFF = "/login/second-factor/", "/login/staff/"
PASSWORD = "a rather long password"


@pytest.fixture(autouse=True)
def _required(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.OIDC_ISSUER, settings.OIDC_REQUIRED = "https://accounts.exchange.test", True


@pytest.fixture
def staff(_required: None) -> Person:
    return people.customer(password=PASSWORD, is_staff=True)


def fields(person: Person, **more: str) -> dict[str, str]:
    return {"phone": person.user.phone, "password": PASSWORD, **more}


def test_customers_have_no_password_form() -> None:
    text = people.browser().get("/login/", {"next": "/keys/"}).content.decode()
    assert 'name="password"' not in text
    assert 'href="/login/oidc/?next=%2Fkeys%2F"' in text
    assert "ورود با حساب هیتوبیت" in text
    assert f'href="{STAFF}' in text


def test_a_right_password_does_not_log_a_customer_in() -> None:
    person = people.customer(password=PASSWORD)
    for path in ("/login/", STAFF):
        client = people.browser()
        assert client.post(path, fields(person)).status_code == 200
        assert client.get(SECOND)["Location"].startswith("/login/?")


def test_nor_does_it_on_a_trusted_device(settings: Any) -> None:
    person = people.customer(password=PASSWORD)
    settings.OIDC_REQUIRED = False
    client = people.browser()
    client.post("/login/", fields(person))
    client.post(f"{SECOND}?method=totp", {"code": person.totp(), "trust": "1"})
    settings.OIDC_REQUIRED = True
    for path in ("/login/", STAFF):
        other = people.clone_browser(client)
        del other.cookies["__Host-session"]
        other.post(path, fields(person))
        assert other.get("/dashboard/").status_code == 302


def test_the_staff_page_does_not_tell_whether_a_customers_password_is_right() -> None:
    person, answers = people.customer(password=PASSWORD), []
    for password in (PASSWORD, "another one altogether"):
        text = people.browser().post(STAFF, {**fields(person), "password": password}).content.decode()
        answers.append(
            re.sub(r'csrfmiddlewaretoken" value="[^"]*"|data-now="[0-9]+"|\b1[0-9]{12}\b', "", text)
        )
    assert answers[0] == answers[1]


def test_staff_log_in_on_their_own_page(staff: Person) -> None:
    client = people.browser()
    page = client.get("/admin/")
    assert page["Location"].startswith(f"{STAFF}?next=%2Fadmin%2F")
    text = client.get(page["Location"]).content.decode()
    assert f'action="{STAFF}"' in text
    assert "/login/oidc/" not in text
    assert client.post(STAFF, fields(staff, next="/admin/"))["Location"] == SECOND
    assert client.post(f"{SECOND}?method=totp", {"code": staff.totp()})["Location"] == "/admin/"


def test_other_pages_lead_to_the_page_of_customers() -> None:
    assert people.browser().get("/keys/")["Location"].startswith("/login/?next=")


def test_without_it_there_is_one_page_for_everybody(settings: Any, staff: Person) -> None:
    settings.OIDC_REQUIRED = False
    client = people.browser()
    assert client.get(STAFF, {"next": "/admin/"})["Location"] == "/login/?next=%2Fadmin%2F"
    assert client.get(STAFF, {"next": "//evil.test"})["Location"] == "/login/"
    text = client.get("/login/").content.decode()
    assert 'name="password"' in text
    assert 'href="/login/oidc/"' in text
    assert client.post("/login/", fields(staff))["Location"] == SECOND


ISSUER = "https://accounts.exchange.test"
WHOLE = {
    "PORTAL_OIDC_ISSUER": ISSUER,
    "PORTAL_OIDC_CLIENT_ID": "portal",
    "PORTAL_OIDC_CLIENT_SECRET": "x" * 32,
    "PORTAL_SIGNUP": "closed",
}


def started(tmp_path: Path, **changes: str) -> str:
    environ = {
        **production.without_settings(dict(os.environ)),
        **production.settings(tmp_path),
        **WHOLE,
        **changes,
    }
    program = "from django.conf import settings; print(settings.OIDC_ISSUER)"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=production.ROOT, env=environ, capture_output=True, text=True
    )
    return (result.stdout if result.returncode == 0 else result.stderr).strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"PORTAL_OIDC_REQUIRED": "true", "PORTAL_OIDC_PROVISION": "true"}, ISSUER),
        ({"PORTAL_OIDC_ISSUER": f"{ISSUER}/"}, f"{ISSUER}/"),
        ({"PORTAL_OIDC_ISSUER": "http://accounts.exchange.test"}, "PORTAL_OIDC_ISSUER: It is not an address"),
        ({"PORTAL_OIDC_ISSUER": f"{ISSUER}/?a=b"}, "PORTAL_OIDC_ISSUER: It is not an address"),
        ({"PORTAL_OIDC_ISSUER": "https://user@accounts.exchange.test"}, "PORTAL_OIDC_ISSUER: It is not an address"),
        ({"PORTAL_OIDC_CLIENT_ID": ""}, "PORTAL_OIDC_CLIENT_ID: It is not set"),
        ({"PORTAL_OIDC_CLIENT_SECRET": ""}, "PORTAL_OIDC_CLIENT_SECRET: It is not set"),
        ({"PORTAL_OIDC_REQUIRED": "true", "PORTAL_SIGNUP": "open"}, "PORTAL_OIDC_REQUIRED: It is on, and"),
        ({"PORTAL_OIDC_ISSUER": "", "PORTAL_OIDC_REQUIRED": "true"}, "PORTAL_OIDC_REQUIRED: It is on, and"),
        ({"PORTAL_OIDC_ISSUER": "", "PORTAL_OIDC_PROVISION": "true"}, "PORTAL_OIDC_PROVISION: It is on"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_stop_the_start(tmp_path: Path, changes: dict[str, str], text: str) -> None:
    assert text in started(tmp_path, **changes)
