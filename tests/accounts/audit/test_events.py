"""The security events: a closed vocabulary, append-only, each customer's own."""

import re
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpRequest
from django.test import RequestFactory

from accounts import audit
from accounts.choices.events import LOOKS, Event
from accounts.models import AuditEvent, User
from apikeys.policy.events import KeyEvent
from tests.support.people import (
    BROWSER,
    Person,
    browser,
    customer,
    half_logged_in,
    key_of,
    logged_in,
    newcomer,
    recovery_codes,
)
from tests.support.production import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture
def sara() -> Person:
    return customer()


def request_from(caller: str = "203.0.113.7") -> HttpRequest:
    request: HttpRequest = RequestFactory().post("/", headers={"user-agent": BROWSER})
    request.client_address = caller  # type: ignore[attr-defined]
    request.request_id = "0123456789abcdef"  # type: ignore[attr-defined]
    return request


def events_of(person: Person) -> list[str]:
    return list(
        AuditEvent.objects.filter(customer=person.user).order_by("pk").values_list("event", flat=True)
    )


def test_every_event_has_a_title_an_icon_and_a_tone() -> None:
    assert set(LOOKS) == {*Event, *KeyEvent}
    assert len({str(look.title) for look in LOOKS.values()}) == len(LOOKS)


def test_icons_of_events_exist() -> None:
    drawn = set(re.findall(r'id="([a-z-]+)"', (ROOT / "static/img/icons.svg").read_text(encoding="utf-8")))
    assert {look.icon for look in LOOKS.values()} <= drawn


def test_event_says_who_what_on_what_from_where_and_the_result(sara: Person) -> None:
    staff = customer(is_staff=True)
    event = audit.record(
        KeyEvent.FROZEN,
        request_from(),
        customer=sara.user,
        actor=staff.user,
        target="t",
        label="ربات",
        succeeded=False,
    )
    stored = AuditEvent.objects.get(pk=event.pk)
    assert (stored.event, stored.customer, stored.actor) == ("key.frozen", sara.user, staff.user)
    assert (stored.target, stored.label, stored.succeeded) == ("t", "ربات", False)
    assert (stored.address, stored.agent, stored.request_id) == ("203.0.113.7", BROWSER, "0123456789abcdef")


def test_actor_is_the_customer_unless_said_otherwise(sara: Person) -> None:
    assert audit.record(Event.LOGOUT, request_from(), customer=sara.user).actor == sara.user


def test_event_without_a_request_is_recorded(sara: Person) -> None:
    assert audit.record(Event.LOGOUT, None, customer=sara.user).address == ""


def test_long_texts_are_cut_and_not_refused(sara: Person) -> None:
    request = RequestFactory().post("/", headers={"user-agent": "x" * 10_000})
    event = audit.record(Event.LOGIN, request, customer=sara.user, label="x" * 10_000, target="x" * 10_000)
    assert (len(event.agent), len(event.label), len(event.target)) == (200, 80, 64)


def test_event_is_neither_changed_nor_deleted(sara: Person) -> None:
    event = audit.record(Event.LOGIN, request_from(), customer=sara.user)
    event.label = "x"
    attempts: list[Any] = [
        event.save,
        event.delete,
        lambda: AuditEvent.objects.update(label="x"),
        lambda: AuditEvent.objects.all().delete(),
        lambda: AuditEvent.objects.filter(pk=event.pk).update(label="x"),
        lambda: AuditEvent.objects.bulk_update([event], ["label"]),
        lambda: AuditEvent.objects.update_or_create(pk=event.pk, defaults={"label": "x"}),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError, match="append-only"), transaction.atomic():
            attempt()
    assert AuditEvent.objects.get().label == ""


def test_events_outlive_the_account() -> None:
    person = newcomer()
    audit.record(Event.LOGIN, request_from(), customer=person.user)
    pk = person.user.pk
    User.objects.filter(pk=pk).delete()
    assert AuditEvent.objects.filter(customer_id=pk).count() == 1


def test_login_and_logout_leave_events_with_the_address(sara: Person) -> None:
    client = half_logged_in(sara, "198.51.100.9")
    client.post("/login/second-factor/?method=totp", {"code": sara.totp()})
    client.post("/logout/")
    assert events_of(sara) == ["login", "logout"]
    assert set(AuditEvent.objects.values_list("address", flat=True)) == {"198.51.100.9"}
    assert AuditEvent.objects.get(event="login").detail == {"method": "totp"}


def test_wrong_password_is_an_event_of_the_account_it_was_tried_on(sara: Person) -> None:
    browser().post("/login/", {"phone": sara.user.phone, "password": "wrong"})
    event = AuditEvent.objects.get()
    assert (event.event, event.customer, event.succeeded) == ("login.password_refused", sara.user, False)


def test_wrong_password_of_nobody_is_an_event_without_the_number() -> None:
    browser().post("/login/", {"phone": "09129999999", "password": "wrong"})
    event = AuditEvent.objects.get()
    assert event.customer is None
    assert "9999999" not in repr(event.__dict__)


def test_used_recovery_code_leaves_an_event(sara: Person) -> None:
    code = recovery_codes(sara)[0]
    half_logged_in(sara).post("/login/second-factor/?method=recovery", {"code": code})
    assert "factor.recovery_used" in events_of(sara)


def test_deleted_key_leaves_one_event_also_after_a_second_click(sara: Person) -> None:
    key = key_of(sara, "ربات")
    client = logged_in(sara)
    for _n in range(2):
        client.post(f"/keys/{key.pk}/delete/", {"name": "ربات"})
    event = AuditEvent.objects.get(event="key.revoked")
    assert (event.target, event.label, event.customer) == (str(key.pk), "ربات", sara.user)


def test_customer_sees_their_own_events_only(sara: Person) -> None:
    other = customer()
    audit.record(KeyEvent.CREATED, request_from(), customer=sara.user, label="mine-of-sara")
    audit.record(KeyEvent.CREATED, request_from(), customer=other.user, label="others-key")
    page = logged_in(sara).get("/activity/").content.decode()
    assert "mine-of-sara" in page
    assert "others-key" not in page


def test_label_of_an_event_is_escaped_on_the_page(sara: Person) -> None:
    audit.record(KeyEvent.CREATED, request_from(), customer=sara.user, label="<script>alert(1)</script>")
    assert "<script>alert(1)" not in logged_in(sara).get("/activity/").content.decode()


def test_activity_is_shown_in_pages_without_gap_or_repetition(sara: Person) -> None:
    for number in range(120):
        audit.record(KeyEvent.CREATED, request_from(), customer=sara.user, label=f"key-{number:03d}-")
    client, path, seen = logged_in(sara), "/activity/", list[str]()
    while path:
        answer = client.get(path)
        seen += re.findall("key-[0-9]{3}-", answer.content.decode())
        path = f"/activity/{answer.context['older']}" if answer.context["older"] else ""
    assert seen == [f"key-{number:03d}-" for number in range(119, -1, -1)]


@pytest.mark.parametrize("before", ["x", "-1", "0", "9" * 18, "9" * 40, "1.5", "۷", "1;drop", "\x00"])
def test_odd_page_is_answered(sara: Person, before: str) -> None:
    assert logged_in(sara).get("/activity/", {"before": before}).status_code == 200


def test_page_of_events_takes_the_same_queries_for_many_events(
    sara: Person, django_assert_max_num_queries: Any
) -> None:
    for _n in range(60):
        audit.record(Event.LOGIN, request_from(), customer=sara.user)
    client = logged_in(sara)
    with django_assert_max_num_queries(12):
        client.get("/activity/")


def test_half_finished_login_shows_no_events(sara: Person) -> None:
    assert half_logged_in(sara).get("/activity/").status_code == 302
