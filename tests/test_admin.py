"""Django admin: staff with both factors only; they stop things and leave events, and never see or make a secret."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client, RequestFactory

from accounts import audit, purposes
from accounts.events import Event
from accounts.models import AuditEvent, TotpDevice, User
from apikeys.models import ApiKey, Credential
from apikeys.rules import State
from tests.people import (
    Person,
    browser,
    customer,
    half_enrolled,
    half_logged_in,
    key_of,
    live_sms_code,
    logged_in,
    password_only,
    recovery_codes,
    secret_of,
)

pytestmark = pytest.mark.django_db
KEYS, EVENTS, USERS = "/admin/apikeys/apikey/", "/admin/accounts/auditevent/", "/admin/accounts/user/"


@pytest.fixture
def chief() -> Person:
    return customer(is_staff=True, is_superuser=True, name="Chief")


@pytest.fixture
def staff(chief: Person) -> Client:
    return logged_in(chief)


@pytest.fixture
def sara() -> Person:
    return customer(name="Sara")


def act(client: Client, action: str, *keys: ApiKey) -> Any:
    return client.post(
        KEYS, {"action": action, "_selected_action": [str(key.pk) for key in keys], "index": "0"}
    )


def test_staff_with_both_factors_gets_in(staff: Client) -> None:
    for path in ("/admin/", KEYS, EVENTS, USERS):
        assert staff.get(path).status_code == 200, path


def test_login_of_django_admin_is_never_shown_and_takes_no_password(chief: Person) -> None:
    chief.user.set_password("a rather long password")
    chief.user.save()
    client = browser()
    assert client.get("/admin/login/")["Location"].startswith("/login/?next=")
    answer = client.post(
        "/admin/login/", {"username": chief.user.phone, "password": "a rather long password"}
    )
    assert answer["Location"].startswith("/login/?next=")
    assert client.get("/admin/").status_code == 302


def test_nobody_and_half_finished_logins_are_led_to_the_portals_login(chief: Person) -> None:
    without = half_enrolled()
    User.objects.filter(pk=without.user.pk).update(is_staff=True, is_superuser=True)
    for client in (
        browser(),
        half_logged_in(chief),
        password_only(chief),
        half_logged_in(without),
        password_only(without),
    ):
        for path in ("/admin/", KEYS, EVENTS, USERS, "/admin/login/", "/admin/jsi18n/"):
            answer = client.get(path)
            assert answer.status_code == 302, path
            assert re.match("/(login|enrol)/", answer["Location"]), path


def test_admin_itself_asks_for_the_second_factor(chief: Person) -> None:
    """The guard before it would have to fail as well: a row of `User` without a session has proved nothing."""
    request = RequestFactory().get("/admin/")
    request.user = chief.user
    assert not admin.site.has_permission(request)


def test_customer_is_no_staff(sara: Person) -> None:
    client = logged_in(sara)
    for path in ("/admin/", KEYS, EVENTS, USERS, f"{USERS}{sara.user.pk}/change/"):
        assert client.get(path).status_code in (302, 403), path


def test_staff_whose_factor_was_reset_is_out(chief: Person, staff: Client) -> None:
    TotpDevice.objects.filter(user=chief.user).delete()
    assert staff.get("/admin/")["Location"].startswith("/login/")


def test_staff_without_rights_sees_nothing_of_customers() -> None:
    client = logged_in(customer(is_staff=True))
    assert client.get("/admin/").status_code == 200
    for path in (KEYS, EVENTS, USERS):
        assert client.get(path).status_code == 403, path


def test_freezing_keys_leaves_an_event_each_with_who_did_it(
    staff: Client, chief: Person, sara: Person
) -> None:
    keys = [key_of(sara, "one"), key_of(sara, "two")]
    act(staff, "freeze", *keys)
    assert set(ApiKey.objects.values_list("state", flat=True)) == {"frozen"}
    events = list(AuditEvent.objects.filter(event="key.frozen"))
    assert {event.target for event in events} == {str(key.pk) for key in keys}
    assert {(event.actor, event.customer) for event in events} == {(chief.user, sara.user)}


def test_revoking_is_final_and_leaves_one_event(staff: Client, sara: Person) -> None:
    key = key_of(sara)
    act(staff, "revoke", key)
    act(staff, "revoke", key)
    act(staff, "freeze", key)
    assert ApiKey.objects.get().state == "revoked"
    assert list(AuditEvent.objects.values_list("event", flat=True)) == ["key.revoked"]


def test_customer_sees_what_staff_did(staff: Client, sara: Person) -> None:
    act(staff, "freeze", key_of(sara, "ربات"))
    assert "ربات" in logged_in(sara).get("/activity/").content.decode()


def test_keys_are_not_added_edited_or_deleted(staff: Client, sara: Person) -> None:
    key = key_of(sara)
    before = ApiKey.objects.values().get()
    wanted = {
        "state": "active",
        "can_trade": "on",
        "can_withdraw": "on",
        "ip_policy": "trusted",
        "label": "x",
    }
    assert staff.post(f"{KEYS}{key.pk}/change/", wanted).status_code == 403
    assert staff.get(f"{KEYS}add/").status_code == 403
    assert staff.post(f"{KEYS}add/", wanted).status_code == 403
    assert staff.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    act(staff, "delete_selected", key)
    act(staff, "thaw", key)
    assert ApiKey.objects.values().get() == before


def test_staff_does_not_bring_a_frozen_key_back(staff: Client, sara: Person) -> None:
    key = key_of(sara)
    key.set_state(State.FROZEN)
    actions = dict(staff.get(KEYS).context["cl"].model_admin.get_action_choices(staff.get(KEYS).wsgi_request))
    assert set(actions) - {""} == {"freeze", "revoke"}


def test_looking_at_keys_does_not_allow_to_stop_them(sara: Person) -> None:
    key, looker = key_of(sara), customer(is_staff=True)
    looker.user.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    client = logged_in(looker)
    assert client.get(KEYS).status_code == 200
    act(client, "revoke", key)
    assert ApiKey.objects.get().state == "active"


def test_events_are_read_only(staff: Client, sara: Person) -> None:
    event = audit.record(Event.LOGIN, None, customer=sara.user, label="as it was")
    path = f"{EVENTS}{event.pk}/"
    assert staff.get(f"{path}change/").status_code == 200
    assert staff.post(f"{path}change/", {"label": "x", "event": "logout"}).status_code == 403
    assert staff.post(f"{path}delete/", {"post": "yes"}).status_code == 403
    assert staff.get(f"{EVENTS}add/").status_code == 403
    staff.post(EVENTS, {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"})
    assert AuditEvent.objects.get(pk=event.pk).label == "as it was"


def test_customers_are_neither_added_nor_deleted(staff: Client, sara: Person) -> None:
    assert staff.get(f"{USERS}add/").status_code == 403
    assert staff.post(f"{USERS}{sara.user.pk}/delete/", {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=sara.user.pk).exists()


def test_switching_an_account_off_ends_its_session_and_leaves_an_event(
    staff: Client, chief: Person, sara: Person
) -> None:
    client = logged_in(sara)
    staff.post(f"{USERS}{sara.user.pk}/change/", {"name": "Sara"})
    assert not User.objects.get(pk=sara.user.pk).is_active
    assert client.get("/dashboard/").status_code == 302
    event = AuditEvent.objects.get(event="staff.changed_user")
    assert (event.customer, event.actor) == (sara.user, chief.user)


def test_phone_and_password_are_not_changed_by_staff(staff: Client, sara: Person) -> None:
    before = (sara.user.phone, sara.user.password)
    data = {"name": "Sara", "is_active": "on", "phone": "+989120009999", "password": "x"}
    staff.post(f"{USERS}{sara.user.pk}/change/", data)
    after = User.objects.get(pk=sara.user.pk)
    assert (after.phone, after.password) == before
    assert staff.get(f"{USERS}{sara.user.pk}/password/").status_code in (302, 404)


def test_staff_does_not_make_itself_more_powerful(sara: Person) -> None:
    clerk = customer(is_staff=True)
    clerk.user.user_permissions.add(*Permission.objects.filter(codename__in=["view_user", "change_user"]))
    client = logged_in(clerk)
    for person in (clerk, sara):
        data = {"name": "x", "is_active": "on", "is_staff": "on", "is_superuser": "on", "groups": []}
        client.post(f"{USERS}{person.user.pk}/change/", data)
    assert not User.objects.filter(is_superuser=True).exists()
    assert not User.objects.get(pk=sara.user.pk).is_staff


def test_no_page_of_admin_shows_a_secret_a_seed_a_code_or_a_digest(staff: Client, sara: Person) -> None:
    key = key_of(sara)
    codes = recovery_codes(sara)
    sms = live_sms_code(sara, purposes.LOGIN)
    hidden = [secret_of(key), Credential.objects.get().sealed, sara.seed, sara.reload().totp.seed_sealed]
    hidden += [*codes, sara.user.sms_codes.get().digest, sara.user.password]
    event = audit.record(Event.LOGIN, None, customer=sara.user)
    paths = ["/admin/", KEYS, EVENTS, USERS, f"{KEYS}{key.pk}/change/", f"{EVENTS}{event.pk}/change/"]
    paths += [f"{USERS}{sara.user.pk}/change/", f"{USERS}{sara.user.pk}/history/", f"{KEYS}?q=bot"]
    for path in paths:
        answer = staff.get(path)
        assert answer.status_code == 200, path
        page = answer.content.decode()
        assert not [value for value in hidden if value in page], path
        assert not re.search(rf"\b{sms}\b", page), path


def test_admin_has_no_page_for_factors_and_codes(staff: Client) -> None:
    page = staff.get("/admin/").content.decode()
    models = set(re.findall('href="/admin/([a-z_]+/[a-z]+)/"', page))
    assert models <= {"apikeys/apikey", "accounts/auditevent", "accounts/user", "auth/group"}


@pytest.mark.parametrize("search", ["bot", "%", "'", "\x00", "x" * 5000, "ربات", "203.0.113"])
def test_search_takes_any_text(staff: Client, sara: Person, search: str) -> None:
    key_of(sara).apply(["read"], "trusted", ["203.0.113.0/24"])
    for path in (KEYS, EVENTS, USERS):
        assert staff.get(path, {"q": search}).status_code in (200, 302), path
