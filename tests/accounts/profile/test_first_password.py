"""The password that an operator sets: it opens only the page on which its owner replaces it."""

import io
from typing import Any

import pytest
from django.contrib.auth.hashers import check_password
from django.core.management import call_command
from django.test import Client

from accounts.models import AuditEvent, User
from accounts.registration import flow
from tests.accounts.access.test_default_deny import ALL
from tests.support import people
from tests.support.people import Person, customer, logged_in, next_phone

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
FIRST, OWN = "correct horse battery staple", "another vivid cactus melody"
PAGE = "/login/first-password/"


@pytest.fixture
def mina(monkeypatch: pytest.MonkeyPatch) -> Person:
    """Return a staff member created by the command, after enrolling both factors."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{FIRST}\n"))
    phone = next_phone()
    call_command("create_staff", phone, "--role", "security", "--name", "Mina", "--password-stdin")
    person = Person(User.objects.get(phone=phone), FIRST)
    return people.with_authenticator(people.with_phone(person))


def replaced(client: Client, current: str = FIRST, new: str = OWN) -> Any:
    return client.post(PAGE, {"current_password": current, "password": new})


@pytest.mark.parametrize("method", ["get", "post"])
def test_nothing_is_reached_before_it_is_replaced(mina: Person, method: str) -> None:
    protected = 0
    for path in ALL:
        requested = getattr(people.browser(), method)(path)
        if path == PAGE or not requested.headers.get("Location", "").startswith("/login/?next="):
            continue  # a public page
        protected += 1
        response = getattr(logged_in(mina), method)(path)
        assert (path, response.status_code, response.headers["Location"]) == (path, 302, PAGE)
    assert protected > 40
    assert logged_in(mina).get(PAGE).status_code == 200


def test_the_whole_first_login_ends_on_the_page(mina: Person) -> None:
    client = people.browser()
    client.post("/login/", {"phone": mina.user.phone, "password": FIRST})
    client.post("/login/second-factor/?method=totp", {"code": mina.totp()})
    assert client.get("/admin/").headers["Location"] == PAGE


def test_replacing_it_opens_the_rest_and_ends_other_sessions(mina: Person) -> None:
    client, other = logged_in(mina), logged_in(mina)
    assert replaced(client).headers["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200
    assert other.get(PAGE).headers["Location"].startswith("/login/")
    user = mina.reload()
    assert check_password(OWN, user.password)
    assert not user.must_replace_password
    assert [event.event for event in AuditEvent.objects.filter(event="password.changed")] == [
        "password.changed"
    ]
    assert client.get(PAGE).headers["Location"] == "/dashboard/"


@pytest.mark.parametrize(
    ("current", "new"), [("wrong", OWN), ("", OWN), (FIRST, FIRST), (FIRST, "12345678"), (FIRST, "")]
)
def test_it_takes_the_password_of_now_and_another_good_one(mina: Person, current: str, new: str) -> None:
    client = logged_in(mina)
    response = replaced(client, current, new)
    assert response.status_code == 200
    assert response.context["form"].errors
    assert mina.reload().must_replace_password
    assert client.get("/admin/").headers["Location"] == PAGE


def test_the_password_of_now_is_not_guessed_there(mina: Person) -> None:
    client = logged_in(mina)
    assert 429 in [replaced(client, f"wrong {n}").status_code for n in range(12)]


def test_a_superuser_replaces_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{FIRST}\n"))
    phone = next_phone()
    call_command("create_staff", phone, "--superuser", "--password-stdin")
    assert User.objects.get(phone=phone).must_replace_password
    assert User.objects.create_superuser(next_phone(), FIRST).must_replace_password


def test_a_forgotten_password_is_replaced_by_one_of_their_own(mina: Person) -> None:
    client = people.in_pre_login_flow(mina.reload(), flow.FORGOT, proved=True)
    client.post("/forgot/password/", {"password": OWN})
    assert check_password(OWN, mina.reload().password)
    assert not mina.reload().must_replace_password


def test_customers_need_no_first_password() -> None:
    client = logged_in(customer())
    assert client.get("/dashboard/").status_code == 200
    assert client.get(PAGE).headers["Location"] == "/dashboard/"
    assert people.browser().get(PAGE).headers["Location"].startswith("/login/?next=")
