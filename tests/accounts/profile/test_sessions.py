"""The page of open sessions, trusted devices and last logins."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.access import logins, user_agents
from accounts.models import AuditEvent, LoginSession, TrustedDevice
from tests.support import people, sms_collector
from tests.support.people import Person, browser, customer, logged_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
PHONE_AGENT = "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 Chrome/143.0 Mobile Safari/537.36"


@pytest.fixture
def sara() -> Person:
    return people.with_password(customer(name="Sara"))


def is_in(client: Client) -> bool:
    return client.get("/dashboard/").status_code == 200


def events(person: Person, *kinds: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(customer=person.user, event__in=kinds).order_by("pk"))


def seen(person: Person, agent: str, address: str, ago: timedelta = timedelta(0)) -> None:
    """Record a login in the past."""
    AuditEvent.objects.create(
        event="login", customer=person.user, agent=agent, address=address, at=timezone.now() - ago
    )


def session_of(client: Client) -> LoginSession:
    return LoginSession.objects.get(pk=client.session[logins.LOGIN_SESSION])


def ends(person: Person, client: Client, fields: dict[str, Any]) -> Any:
    """Press the button on the sessions page, and enter the authenticator's code on the next page."""
    path = client.post("/sessions/", fields).headers["Location"]
    return client.post(path, {"code": person.fresh_totp()})


def test_page_lists_the_open_sessions_and_names_this_one(sara: Person) -> None:
    here, there = logged_in(sara), logged_in(sara)
    LoginSession.objects.filter(pk=session_of(there).pk).update(agent=PHONE_AGENT, address="198.51.100.9")
    page = here.get("/sessions/")
    rows = {row.number: row for row in page.context["sessions"]}
    assert len(rows) == 2
    assert rows[str(session_of(here).pk)].is_this
    other = rows[str(session_of(there).pk)]
    assert (other.name, other.icon, other.address, other.is_this) == (
        "Chrome, Android", "phone", "198.51.100.9", False,
    )  # fmt: skip
    assert f'value="{other.number}"' in page.content.decode()
    assert f'value="{session_of(here).pk}"' not in page.content.decode()


def test_an_ended_session_is_over_with_its_next_request(sara: Person) -> None:
    here, there = logged_in(sara), logged_in(sara)
    assert is_in(there)
    assert ends(sara, here, {"end": session_of(there).pk}).headers["Location"] == "/sessions/"
    assert there.get("/keys/").headers["Location"].startswith("/login/")
    assert is_in(here)
    assert [event.label for event in events(sara, "session.ended")] == [user_agents.describe("")]


def test_ending_all_others_keeps_this_one_and_ends_half_logins_and_trust(sara: Person) -> None:
    here, there, half = logged_in(sara), logged_in(sara), people.half_logged_in(sara)
    TrustedDevice.objects.create(user=sara.user, digest="x", expires_at=timezone.now() + timedelta(days=1))
    assert ends(sara, here, {"others": "1"}).headers["Location"] == "/sessions/"
    assert is_in(here)
    assert not is_in(there)
    assert half.get("/login/second-factor/").headers["Location"].startswith("/login/")
    assert not TrustedDevice.objects.exists()
    assert len(events(sara, "session.others_ended")) == 1


@pytest.mark.parametrize(
    ("moved", "is_over"),
    [
        ({"seen_at": timedelta(minutes=29)}, False),
        ({"seen_at": timedelta(minutes=31)}, True),
        ({"started_at": timedelta(hours=11, minutes=59)}, False),
        ({"started_at": timedelta(hours=12, minutes=1)}, True),
    ],
)
def test_a_session_ends_after_half_an_hour_of_rest_and_after_twelve_hours(
    sara: Person, moved: dict[str, timedelta], is_over: bool
) -> None:
    client = logged_in(sara)
    changes = {name: timezone.now() - ago for name, ago in moved.items()}
    LoginSession.objects.filter(pk=session_of(client).pk).update(**changes)
    watcher = logged_in(sara)
    assert len(watcher.get("/sessions/").context["sessions"]) == (1 if is_over else 2)
    assert is_in(client) is not is_over


@pytest.mark.parametrize("number", ["", "x", "0", "ec02b738-9364-4155-9e47-fe131b770e84", "\x00", "9" * 40])
@pytest.mark.parametrize("field", ["end", "forget"])
def test_missing_session_cannot_be_ended(sara: Person, field: str, number: str) -> None:
    assert logged_in(sara).post("/sessions/", {field: number}).status_code == 404
    assert not events(sara, "session.ended", "device.forgotten")


def test_sessions_and_devices_of_other_users_do_not_exist(sara: Person) -> None:
    visitor = customer()
    victim, thief = logged_in(sara), logged_in(visitor)
    device = TrustedDevice.objects.create(
        user=sara.user, digest="x", expires_at=timezone.now() + timedelta(days=1)
    )
    assert thief.post("/sessions/", {"end": session_of(victim).pk}).status_code == 404
    assert thief.post("/sessions/", {"forget": device.pk}).status_code == 404
    path = f"/sessions/end/?which={session_of(victim).pk}"
    assert thief.post(path, {"code": visitor.fresh_totp()}).status_code == 404
    ends(visitor, thief, {"others": "1"})
    assert is_in(victim)
    assert TrustedDevice.objects.filter(pk=device.pk).exists()
    assert not AuditEvent.objects.filter(event__in=["session.ended", "device.forgotten"]).exists()


@pytest.mark.parametrize("fields", [{"end": "x"}, {"others": "1"}, {"forget": "1"}])
def test_a_form_of_another_site_ends_nothing(sara: Person, fields: dict[str, str]) -> None:
    client, other = logged_in(sara, csrf=True), logged_in(sara)
    response = client.post("/sessions/", fields, headers={"origin": "https://evil.example"})
    assert response.status_code == 403
    assert is_in(other)


def test_history_has_logins_and_failures_and_nothing_else(sara: Person) -> None:
    client = browser()
    client.post("/login/", {"phone": sara.user.phone, "password": "wrong"})
    client.post("/login/", {"phone": sara.user.phone, "password": sara.password})
    client.post("/login/second-factor/?method=totp", {"code": sara.wrong_totp()})
    client.post("/login/second-factor/?method=totp", {"code": sara.totp()})
    AuditEvent.objects.create(event="key.created", customer=sara.user)
    tones = [row.tone for row in client.get("/sessions/").context["history"]]
    assert tones == ["", "warn", "warn"]


def test_history_stops_at_fifty(sara: Person) -> None:
    for _n in range(60):
        seen(sara, people.BROWSER, people.ADDRESS)
    assert len(logged_in(sara).get("/sessions/").context["history"]) == 50


@pytest.mark.parametrize("path", ["/sessions/", "/freeze/"])
def test_page_costs_the_same_statements_with_one_row_and_with_many(sara: Person, path: str) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200
        return len(captured)

    client = logged_in(sara)
    few = statements()
    for n in range(20):
        logged_in(sara)
        seen(sara, people.BROWSER, people.ADDRESS)
        TrustedDevice.objects.create(
            user=sara.user, digest=str(n), expires_at=timezone.now() + timedelta(days=1)
        )
    assert statements() == few <= 12


# --- one code


@pytest.mark.parametrize("others", [False, True])
def test_without_a_right_code_no_session_ends(sara: Person, others: bool) -> None:
    here, there = logged_in(sara), logged_in(sara)
    path = here.post("/sessions/", {"others": "1"} if others else {"end": session_of(there).pk}).headers[
        "Location"
    ]
    assert path.startswith("/sessions/end/?which=")
    for code in ("", "12345", sara.wrong_totp()):
        response = here.post(path, {"code": code})
        assert response.status_code == 200
        assert response.context["form"].errors["code"]
    assert is_in(there)
    assert not events(sara, "session.ended", "session.others_ended")


@pytest.mark.parametrize("others", [False, True])
def test_the_code_of_an_sms_is_as_good(sara: Person, others: bool) -> None:
    here, there = logged_in(sara), logged_in(sara)
    path = here.post("/sessions/", {"others": "1"} if others else {"end": session_of(there).pk}).headers[
        "Location"
    ]
    by_sms = here.post(path, {"switch": "sms"}).headers["Location"]
    code = sms_collector.newest("sessions.end").code
    assert here.post(path, {"code": code}).status_code == 200  # it is not a code of the authenticator
    assert here.post(by_sms, {"code": code}).headers["Location"] == "/sessions/"
    assert not is_in(there)
    assert is_in(here)


def test_a_code_for_one_session_ends_no_other(sara: Person) -> None:
    here, one, two = logged_in(sara), logged_in(sara), logged_in(sara)
    path = "/sessions/end/?which={}&method=sms"
    here.post(path.format(session_of(one).pk), {"resend": "1"})
    code = sms_collector.newest("sessions.end").code
    for which in (session_of(two).pk, "others"):
        assert here.post(path.format(which), {"code": code}).status_code == 200
    assert is_in(one)
    assert is_in(two)


@pytest.mark.parametrize("which", ["", "x", "ec02b738-9364-4155-9e47-fe131b770e84", "OTHERS", "%00"])
def test_end_page_of_a_missing_session_is_404(sara: Person, which: str) -> None:
    assert logged_in(sara).get(f"/sessions/end/?which={which}").status_code == 404
