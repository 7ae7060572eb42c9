"""Trusted devices, which skip the second factor of the login, and logins from new devices."""

from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.access import sessions, trusted_devices
from accounts.login import known_devices
from accounts.models import AuditEvent, Notice, TrustedDevice, User
from tests.support import people
from tests.support.people import Person, browser, customer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
PHONE_AGENT = "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 Chrome/143.0 Mobile Safari/537.36"


@pytest.fixture
def sara() -> Person:
    return people.with_password(customer(name="Sara"))


def events(person: Person, *kinds: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(customer=person.user, event__in=kinds).order_by("pk"))


def seen(person: Person, agent: str, address: str, ago: timedelta = timedelta(0)) -> None:
    """Record a login in the past."""
    AuditEvent.objects.create(
        event="login", customer=person.user, agent=agent, address=address, at=timezone.now() - ago
    )


def log_in(person: Person, client: Client, **fields: str) -> Any:
    """Log in by the pages. Return the response to the second step."""
    client.post("/login/", {"phone": person.user.phone, "password": person.password})
    return client.post("/login/second-factor/?method=totp", {"code": person.fresh_totp(), **fields})


def test_a_trusted_browser_logs_in_by_password_alone_until_it_is_forgotten(sara: Person) -> None:
    client = browser()
    answer = log_in(sara, client, trust="1")
    made = TrustedDevice.objects.get()
    assert (made.agent, made.address) == (people.BROWSER, people.ADDRESS)
    cookie = answer.cookies[trusted_devices.COOKIE]
    assert cookie["httponly"]
    assert cookie["secure"]
    assert cookie["max-age"] == 30 * 24 * 3600
    again = people.clone_browser(client)
    del again.cookies["__Host-session"]
    login = {"phone": sara.user.phone, "password": sara.password}
    assert again.post("/login/", login).headers["Location"] == "/dashboard/"
    device = TrustedDevice.objects.get()
    assert [row.number for row in again.get("/sessions/").context["devices"]] == [str(device.pk)]
    assert again.post("/sessions/", {"forget": device.pk}).status_code == 302
    assert len(events(sara, "device.forgotten")) == 1
    once_more = people.clone_browser(client)
    del once_more.cookies["__Host-session"]
    assert once_more.post("/login/", login).headers["Location"] == "/login/second-factor/"


def test_a_browser_is_trusted_only_on_request(sara: Person) -> None:
    assert trusted_devices.COOKIE not in log_in(sara, browser()).cookies
    assert not TrustedDevice.objects.exists()


def test_a_trusted_device_is_over_after_30_days_and_after_logging_out(sara: Person) -> None:
    client = browser()
    log_in(sara, client, trust="1")
    TrustedDevice.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    later = people.clone_browser(client)
    del later.cookies["__Host-session"]
    login = {"phone": sara.user.phone, "password": sara.password}
    assert later.post("/login/", login).headers["Location"] == "/login/second-factor/"
    TrustedDevice.objects.update(expires_at=timezone.now() + timedelta(days=1))
    client.post("/logout/")
    assert not TrustedDevice.objects.exists()


def test_trust_from_a_login_that_was_under_way_when_all_sessions_ended_is_worth_nothing(sara: Person) -> None:
    client = browser()
    late = sara.reload()
    sessions.end_all(sara.reload())
    request = RequestFactory().post("/")
    response = HttpResponse()
    trusted_devices.trust(request, response, late)
    client.cookies[trusted_devices.COOKIE] = response.cookies[trusted_devices.COOKIE].value
    assert TrustedDevice.objects.exists()
    login = {"phone": sara.user.phone, "password": sara.password}
    assert client.post("/login/", login).headers["Location"] == "/login/second-factor/"


@pytest.mark.parametrize(("method", "is_offered"), [("totp", True), ("sms", True), ("recovery", False)])
def test_trust_is_offered_with_the_usual_factors(sara: Person, method: str, is_offered: bool) -> None:
    people.recovery_codes(sara)
    page = people.half_logged_in(sara).get(f"/login/second-factor/?method={method}").content.decode()
    assert ('name="trust"' in page) is is_offered


def test_a_recovery_code_earns_no_trust(sara: Person) -> None:
    code = people.recovery_codes(sara)[0]
    client = people.half_logged_in(sara)
    answer = client.post("/login/second-factor/?method=recovery", {"code": code, "trust": "1"})
    assert answer.headers["Location"] == "/dashboard/"
    assert trusted_devices.COOKIE not in answer.cookies
    assert not TrustedDevice.objects.exists()


def test_staff_are_never_trusted() -> None:
    ali = people.with_password(customer(is_staff=True))
    assert b'name="trust"' not in people.half_logged_in(ali).get("/login/second-factor/").content
    assert trusted_devices.COOKIE not in log_in(ali, browser(), trust="1").cookies
    assert not TrustedDevice.objects.exists()


def test_trust_ends_when_a_customer_becomes_staff(sara: Person) -> None:
    client = browser()
    log_in(sara, client, trust="1")
    again = people.clone_browser(client)
    del again.cookies["__Host-session"]
    login = {"phone": sara.user.phone, "password": sara.password}
    User.objects.filter(pk=sara.user.pk).update(is_staff=True)
    assert again.post("/login/", login).headers["Location"] == "/login/second-factor/"
    User.objects.filter(pk=sara.user.pk).update(is_staff=False)
    assert people.clone_browser(again).post("/login/", login).headers["Location"] == "/dashboard/"


def test_the_box_stays_ticked_when_the_code_was_wrong(sara: Person) -> None:
    client = people.half_logged_in(sara)
    fields = {"code": sara.wrong_totp(), "trust": "1"}
    assert b'value="1" checked' in client.post("/login/second-factor/?method=totp", fields).content


@pytest.mark.parametrize(
    ("past", "is_new"),
    [
        ([], False),
        ([(people.BROWSER, people.ADDRESS, timedelta(days=89))], False),
        ([(people.BROWSER.replace("140", "99"), "203.0.255.1", timedelta(0))], False),
        ([(people.BROWSER, "203.1.113.7", timedelta(0))], True),
        ([(PHONE_AGENT, people.ADDRESS, timedelta(0))], True),
        ([(PHONE_AGENT, people.ADDRESS, timedelta(0)), (people.BROWSER, "10.0.0.1", timedelta(0))], True),
        ([(people.BROWSER, people.ADDRESS, timedelta(days=91))], True),
    ],
    ids=["first login", "same", "newer browser, same network", "network", "browser", "mixed", "long ago"],
)
def test_a_login_from_a_new_device_notifies(
    sara: Person, past: list[tuple[str, str, timedelta]], is_new: bool
) -> None:
    for login in past:
        seen(sara, *login)
    seen(customer(), people.BROWSER, people.ADDRESS)
    log_in(sara, browser())
    assert len(events(sara, "login.new_device")) == is_new
    assert Notice.objects.filter(user=sara.user, event__event="login.new_device").exists() is is_new


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.0.0/16"),
        ("2001:db8:1:2::3", "2001:db8::/32"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_network_of_an_address(address: str, network: str) -> None:
    assert known_devices.network_of(address) == network
