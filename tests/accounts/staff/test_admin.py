"""Django admin: only for staff with both factors, by the portal's login; no page shows a secret."""

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver
from django.urls.converters import get_converters
from django.utils import timezone

from accounts import audit
from accounts.access import sessions
from accounts.choices import approvals, roles
from accounts.models import LoginSession, TotpDevice, User
from apikeys.models import Credential
from apikeys.policy.events import KeyEvent
from tests.support.people import (
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
from tests.support.staff import EVENTS, KEYS, ROLES, USERS, act_on, page_of, staff_browser, staff_member

pytestmark = pytest.mark.django_db
LISTS = ("/admin/", KEYS, EVENTS, USERS)


@pytest.fixture
def chief() -> Person:
    return staff_member("chief")


@pytest.fixture
def sara() -> Person:
    return customer(name="Sara")


def test_staff_with_both_factors_gets_in(chief: Person) -> None:
    client = logged_in(chief)
    for path in LISTS:
        assert client.get(path).status_code == 200, path


def test_login_of_django_admin_is_never_shown_and_takes_no_password(chief: Person) -> None:
    chief.user.set_password("a rather long password")
    chief.user.save()
    client = browser()
    assert client.get("/admin/login/")["Location"].startswith("/login/?next=")
    response = client.post(
        "/admin/login/", {"username": chief.user.phone, "password": "a rather long password"}
    )
    assert response["Location"].startswith("/login/?next=")
    assert client.get("/admin/").status_code == 302


def test_anonymous_and_half_finished_logins_are_redirected_to_the_login(chief: Person) -> None:
    without = half_enrolled()
    User.objects.filter(pk=without.user.pk).update(is_staff=True, is_superuser=True)
    for client in (
        browser(),
        half_logged_in(chief),
        password_only(chief),
        half_logged_in(without),
        password_only(without),
    ):
        for path in (*LISTS, "/admin/login/", page_of(chief), f"{EVENTS}export/"):
            response = client.get(path)
            assert response.status_code == 302, path
            assert re.match("/(login|enrol)/", response["Location"]), path


def test_admin_itself_asks_for_the_second_factor(chief: Person) -> None:
    """The middleware would have to fail as well: a `User` row without a session has proved nothing."""
    request = RequestFactory().get("/admin/")
    request.user = chief.user
    assert not admin.site.has_permission(request)


def test_customer_is_no_staff(sara: Person) -> None:
    client = logged_in(sara)
    for path in (*LISTS, page_of(sara)):
        assert client.get(path).status_code in (302, 403), path


def test_staff_whose_factor_was_reset_is_out(chief: Person) -> None:
    client = logged_in(chief)
    TotpDevice.objects.filter(user=chief.user).delete()
    assert client.get("/admin/")["Location"].startswith("/login/")


def test_staff_is_logged_out_after_a_quarter_of_an_hour_and_customers_are_not(sara: Person) -> None:
    clients = [staff_browser("support"), logged_in(sara)]
    LoginSession.objects.update(seen_at=timezone.now() - sessions.STAFF_IDLE_TIMEOUT - timedelta(seconds=1))
    assert [client.get("/dashboard/").status_code for client in clients] == [302, 200]


def test_staff_without_a_role_sees_nothing_of_customers(sara: Person) -> None:
    client = staff_browser("none")
    page = client.get("/admin/")
    assert page.status_code == 200
    assert "<svg viewBox" not in page.content.decode()
    for path in (KEYS, EVENTS, USERS, page_of(sara)):
        assert client.get(path).status_code == 403, path


@pytest.mark.parametrize("role", ROLES)
def test_groups_of_the_database_are_the_table_of_roles(role: str) -> None:
    held = Group.objects.get(name=role).permissions.select_related("content_type")
    assert {f"{p.content_type.app_label}.{p.codename}" for p in held} == {r.value for r in roles.ROLES[role]}


def test_permissions_exist_once() -> None:
    for right in roles.all_rights():
        app, codename = right.value.split(".")
        assert Permission.objects.filter(content_type__app_label=app, codename=codename).count() == 1, right


def hidden_values(person: Person) -> tuple[set[str], str]:
    """Return every secret of a user with a key, recovery codes, a new authenticator and an SMS code."""
    key = key_of(person)
    TotpDevice.objects.filter(user=person.user).update(next_seed_sealed="SEALEDNEXTSEED")
    sms = live_sms_code(person, approvals.LOGIN)
    hidden = {secret_of(key), Credential.objects.get(key=key).sealed, person.seed, "SEALEDNEXTSEED"}
    hidden |= {person.reload().totp.seed_sealed, person.user.sms_codes.get().digest, person.user.password}
    return hidden | set(recovery_codes(person)), sms


def paths_of(prefix: str, patterns: list[URLPattern | URLResolver]) -> list[str]:
    """Return every URL of admin, as text with its parameters in angle brackets."""
    result = []
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        result += paths_of(path, pattern.url_patterns) if isinstance(pattern, URLResolver) else [path]
    return result


@pytest.mark.parametrize("role", ["support", "chief"])
def test_no_page_of_admin_shows_a_secret_a_seed_a_code_or_a_digest(sara: Person, role: str) -> None:
    hidden, sms = hidden_values(sara)
    key = sara.user.api_keys.get()
    event = audit.record(KeyEvent.CREATED, None, customer=sara.user)
    notice = event.notices.first()
    assert notice is not None
    staff = staff_browser(role)
    seen = 0
    for path in paths_of("/admin/", admin.site.get_urls()):
        path = path.replace("<uuid:object_id>", str(key.pk)).replace("(?P<url>.*)$", "nowhere/")
        for name, pk in (("account", sara.user.pk), ("event", event.pk), ("notice", notice.pk)):
            path = re.sub(rf"<{name}:\w+>", get_converters()[name].to_url(pk), path)
        acts = [path.replace("<slug:act_name>", act) for act in ("freeze", "reset-factors", "close")]
        for one in acts if "<slug:act_name>" in path else [path]:
            response = staff.get(one, follow=True)
            assert response.status_code in (200, 403, 404, 405), one
            seen += response.status_code == 200
            page = response.content.decode()
            assert not [value for value in hidden if value in page], one
            assert not re.search(rf"\b{sms}\b", page), one
    assert seen >= 10
    for response in (
        staff.post(USERS, {"q": sara.user.phone}, follow=True),
        staff.get(KEYS, {"q": key.key_id}),
    ):
        assert not [value for value in hidden if value in response.content.decode()]


def test_admin_has_no_form_that_changes_a_password_a_role_or_a_factor(chief: Person, sara: Person) -> None:
    staff = logged_in(chief)
    gone = ["password_change/", "auth/group/", "accounts/totpdevice/", "accounts/user/add/", "jsi18n/"]
    one = page_of(sara).removesuffix("change/")
    for path in [*(f"/admin/{path}" for path in gone), f"{one}password/"]:
        assert staff.get(path, follow=True).status_code in (403, 404), path
    before = User.objects.filter(pk=sara.user.pk).values().get()
    data = {"is_staff": "on", "is_superuser": "on", "phone": "+989120009999", "password": "x", "name": "x"}
    for path in (page_of(sara), f"{one}delete/", f"{USERS}add/"):
        staff.post(path, data)
    assert User.objects.filter(pk=sara.user.pk).values().get() == before


def test_superuser_adds_no_power_to_a_key(chief: Person, sara: Person) -> None:
    key, staff = key_of(sara), logged_in(chief)
    for path in (f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/delete/", f"{KEYS}add/"):
        staff.post(path, {"can_trade": "on", "can_withdraw": "on", "state": "active", "post": "yes"})
    for act in ("thaw", "delete_selected", "activate"):
        staff.post(KEYS, {"action": act, "_selected_action": [str(key.pk)], "reason": "because"})
    key.refresh_from_db()
    assert (sorted(key.permissions), key.state) == (["read"], "active")


@pytest.mark.parametrize("role", ["security", "chief"])
def test_staff_cannot_act_on_themselves(role: str) -> None:
    me = staff_member(role)
    client = logged_in(me)
    for act in ("freeze", "reset-factors", "end-sessions", "close"):
        assert act_on(client, me, act).status_code in (403, 404), act


def test_only_superusers_act_on_staff(chief: Person) -> None:
    colleague = staff_member("auditor")
    assert act_on(staff_browser("security"), colleague, "freeze").status_code in (403, 404)
    assert act_on(logged_in(chief), colleague, "freeze").status_code == 302
    assert User.objects.get(pk=colleague.user.pk).frozen_at is not None


def test_frames_scripts_and_styles_stay_strict(chief: Person) -> None:
    client: Client = logged_in(chief)
    response = client.get("/admin/")
    assert "'unsafe-inline'" not in response["Content-Security-Policy"]
    assert "require-trusted-types-for 'script'" in response["Content-Security-Policy"]
    assert not re.search(r"<style|style=|<script>|onclick=", response.content.decode())
