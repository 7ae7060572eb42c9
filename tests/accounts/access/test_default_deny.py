"""Access control: every URL of the URLconf, requested by every kind of visitor that must not reach it."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as portal
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.converters import get_converters

from accounts.actions import pending_accounts
from accounts.choices import approvals
from accounts.models import RecoveryCode, SmsCode, TotpDevice, User
from accounts.registration import flow
from accounts.staff import opaque_ids
from apikeys.models import ApiKey, Credential
from tests.support import people, sms_collector
from tests.support.people import Person
from tests.support.staff import act_on

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]

#: Public URLs, and the reason. A new URL that is not listed here has to be protected.
PUBLIC = {
    "/login/": "the way in",
    "/frozen/": "where freezing ends, which logs out; sends others to the login",
    "/signup/": "the way in for who has no account",
    "/forgot/": "the way in for who has no password",
    "/password-strength/": "judges what is sent to it; knows nobody",
    "/healthz": "asks nobody, tells nothing",
    "/readyz": "tells whether it works, not what doesn't",
    "/.well-known/security.txt": "where to report vulnerabilities",
    "/robots.txt": "for crawlers",
    "/help/": "the same text for everybody",
    "/help/create/": "the same text for everybody",
    "/ip": "tells whoever asks their own address",
    "/api/v3/ping": "signing-contract",
    "/api/v3/time": "signing-contract",
}
#: Additional URLs for each kind of half-finished login.
HALFWAY = {
    "password": {"/login/second-factor/"},
    "staff with a password": {"/login/second-factor/"},
    "newcomer": {"/enrol/sms/"},
    "one factor": {"/login/second-factor/"},
    "one factor proved": {"/enrol/totp/"},
    "lost authenticator, recovery code proved": {"/enrol/totp/replace/"},
    "sign-up, number typed": {"/signup/code/"},
    "sign-up, code proved": {"/signup/password/"},
    "forgotten password, number typed": {"/forgot/codes/"},
    "forgotten password, codes proved": {"/forgot/password/"},
}
#: Form fields that a visitor without a finished login can have; none of them approves anything about a key.
OUTSIDE_CODES = ["login", "enrol.sms", "account.sign_up", "password.forgot"]
VALUES = {
    "token": "1f-0123456789abcdefghijkl",
    "pk": "00000000-0000-4000-8000-000000000000",
    "object_id": "1",
    "user_id": "1",
    "key_id": "00000000-0000-4000-8000-000000000002",
    "serial": "00000000-0000-4000-8000-000000000001",
    "refusal": "1",
    "request_pk": "1",
    "request_id": "1",
    "customer_id": "1",
    "act_name": "freeze",
    "topic": "create",
    "notice_id": "1",
    "webhook_id": "00000000-0000-4000-8000-000000000003",
    "url": "nowhere/",
}
#: The same by path converter: opaque ids of the staff pages, which are made from row ids.
HIDDEN = {name: get_converters()[name] for name in (opaque_ids.ACCOUNT, opaque_ids.NOTICE, opaque_ids.EVENT)}


def value_of(result: re.Match[str]) -> str:
    converter, name = result.groups()
    if converter in HIDDEN:
        return str(HIDDEN[converter].to_url(1))
    return VALUES["pk"] if (converter, name) == ("uuid", "object_id") else VALUES[name]


def addresses() -> Iterator[str]:
    """Return every URL of the URLconf, with plausible values for its parameters."""
    yield from _walk(get_resolver().url_patterns, "/")


def _walk(patterns: list[Any], prefix: str) -> Iterator[str]:
    for entry in patterns:
        route = str(entry.pattern).removeprefix("^").removesuffix("$").removesuffix("\\Z")
        path = prefix + re.sub(r"<(?:(\w+):)?(\w+)>", value_of, route)
        if isinstance(entry, URLResolver):
            yield from _walk(entry.url_patterns, path)
        elif isinstance(entry, URLPattern):
            # Django admin's only regular expressions: its applications, and "anything else".
            path = re.sub(r"\(\?P?<?(\w+)>?[^)]*\)", lambda result: VALUES.get(result[1], "accounts"), path)
            yield path


ALL = sorted(set(addresses()))
USER_1 = f"/admin/accounts/user/{HIDDEN[opaque_ids.ACCOUNT].to_url(1)}/change/"


def at(path: str, key: ApiKey, row: str) -> str:
    """Return ``path`` with the id of an existing key and an existing admin row."""
    for converter in HIDDEN.values():
        path = path.replace(converter.to_url(1), converter.to_url(int(row)))
    return path.replace(VALUES["pk"], str(key.pk)).replace("/1/", f"/{row}/")


def visitors() -> dict[str, Client]:
    """Return a browser for each kind of unfinished login, by name."""
    sara, staff = people.customer(), people.customer(is_staff=True, is_superuser=True)
    known = people.with_password(people.customer())
    expired = people.half_logged_in(sara)
    people.set_session(expired, pending_login={"user": sara.user.pk, "at": 0, "next": "", "proved": ["totp"]})
    logged_out = people.logged_in(sara)
    dead = people.clone_browser(logged_out)
    assert logged_out.post("/logout/").status_code == 302
    return {
        "nobody": people.browser(),
        "password": people.half_logged_in(sara),
        "newcomer": people.half_logged_in(people.newcomer()),
        "one factor": people.half_logged_in(people.half_enrolled()),
        "one factor proved": people.proved_in(people.half_enrolled(), "sms"),
        "staff with a password": people.half_logged_in(staff),
        "staff in a session of Django's own": people.password_only(staff),
        "customer in a session of Django's own": people.password_only(sara),
        "lost authenticator, recovery code proved": people.replacing_authenticator(people.customer()),
        "sign-up, number typed": people.in_pre_login_flow(
            pending_accounts.get_or_create_row(people.next_phone()), flow.SIGN_UP
        ),
        "sign-up, code proved": people.in_pre_login_flow(
            pending_accounts.get_or_create_row(people.next_phone()), flow.SIGN_UP, proved=True
        ),
        "forgotten password, number typed": people.in_pre_login_flow(sara.user, flow.FORGOT),
        "forgotten password, codes proved": people.in_pre_login_flow(known.user, flow.FORGOT, proved=True),
        "an expired login": expired,
        "a session that was logged out": dead,
    }


def test_the_walk_finds_every_kind_of_address() -> None:
    assert {"/dashboard/", "/keys/", f"/keys/{VALUES['pk']}/delete/", "/activity/", "/admin/"} <= set(ALL)
    assert {
        "/admin/login/",
        "/admin/accounts/user/",
        USER_1,
        f"/admin/apikeys/apikey/{VALUES['pk']}/change/",
    } <= set(ALL)
    assert len(ALL) > 30
    assert not [path for path in ALL if re.search(r"[<>()?\\^$]", path)]


@pytest.mark.parametrize(
    "method",
    [
        "get",
        "post",
        *(pytest.param(name, marks=pytest.mark.verify) for name in ("head", "put", "delete", "options")),
    ],
)
def test_no_protected_page_answers_before_the_login_is_finished(method: str) -> None:
    key = people.key_of(people.customer())
    for who, browser in visitors().items():
        allowed = set(PUBLIC) | HALFWAY.get(who, set())
        cookies = {name: morsel.value for name, morsel in browser.cookies.items()}
        for path in ALL:
            for name, value in cookies.items():
                browser.cookies[name] = value
            response = getattr(browser, method)(at(path, key, "1"))
            assert response.status_code < 500, (who, method, path)
            if path not in allowed:
                assert response.status_code in (301, 302, 400, 401, 404, 405), (
                    who,
                    method,
                    path,
                    response.status_code,
                )
                assert key.key_id.encode() not in response.content
            if response.status_code == 302:
                target = response.headers["Location"]
                outward = ("/login/", "/enrol/", "/signup/", "/forgot/")
                assert target.startswith(outward) or path == "/language/", (who, path, target)
    assert not SmsCode.objects.exclude(purpose__in=OUTSIDE_CODES).exists()
    assert ApiKey.objects.filter(state="active").count() == 1


@pytest.mark.parametrize("method", ["get", "post"])
def test_another_customers_key_does_not_exist(method: str) -> None:
    key = people.key_of(people.customer(), "bot")
    other_client = people.made_just_now(people.logged_in(people.customer()), key)
    form = {"name": "bot", "permissions": ["read", "trade"], "ip_policy": "unrestricted", "resend": "1"}
    for page in ("", "verify/", "delete/"):
        response = getattr(other_client, method)(f"/keys/{key.pk}/{page}", form)
        nothing = getattr(other_client, method)(f"/keys/{uuid.uuid4()}/{page}", form)
        assert response.status_code == nothing.status_code == 404
        assert key.key_id.encode() not in response.content
    assert ApiKey.objects.get().state == "active"
    assert Credential.objects.get().revealed_at is None
    assert not sms_collector.messages
    assert (
        key.key_id.encode()
        not in other_client.get("/keys/").content + other_client.get("/dashboard/").content
    )


@pytest.mark.parametrize("path", [path for path in ALL if path.startswith("/admin/")])
def test_a_customer_reaches_no_page_of_the_admin(path: str) -> None:
    key = people.key_of(people.customer())
    browser = people.logged_in(people.customer())
    response = browser.get(at(path, key, "1"))
    assert response.status_code in (302, 403, 404, 405)
    if response.status_code == 302:
        assert browser.get(response.headers["Location"]).status_code in (302, 403)
    assert key.key_id.encode() not in response.content


def test_a_post_from_another_site_is_refused_on_every_page() -> None:
    sara = people.customer()
    key = people.key_of(sara, "bot")
    finished = people.logged_in(sara, csrf=True)
    waiting = people.half_logged_in(people.customer(is_staff=True), csrf=True)
    staff = people.logged_in(people.customer(is_staff=True, is_superuser=True), csrf=True)
    for browser in (finished, waiting, staff, people.browser(csrf=True)):
        for path in ALL:
            response = browser.post(
                at(path, key, "1"), {"name": "bot"}, headers={"origin": "https://evil.example"}
            )
            # The management API knows no browser: a token of its own is missing.
            refused = (401, 404, 405) if path.startswith("/manage/v1/") else (301, 403, 404, 405)
            assert response.status_code in refused, (path, response.status_code)
    assert ApiKey.objects.get().state == "active"


@pytest.mark.parametrize("path", ALL)
def test_a_forged_host_is_refused_everywhere(path: str) -> None:
    response = people.logged_in(people.customer()).get(path, headers={"host": "evil.example"})
    assert response.status_code == 400
    assert b"evil.example" not in response.content


def test_the_session_id_changes_after_the_password_and_after_the_second_factor() -> None:
    sara = people.with_password(people.customer())
    browser = people.browser()
    name = portal.SESSION_COOKIE_NAME
    planted = people.half_logged_in(people.customer()).cookies[name].value
    browser.cookies[name] = planted
    browser.post("/login/", {"phone": sara.user.phone, "password": sara.password})
    half = browser.cookies[name].value
    browser.post("/login/second-factor/?method=totp", {"code": sara.totp()})
    ids = [planted, half, browser.cookies[name].value]
    assert len(set(ids)) == 3
    reached = []
    for session in ids:
        visitor = people.browser()
        visitor.cookies[name] = session
        reached.append(visitor.get("/dashboard/").status_code)
    assert reached == [302, 302, 200]


def canaries(person: Person, key: ApiKey) -> list[str]:
    """Return every secret of the user in the database, in clear and as stored."""
    codes = people.recovery_codes(person)
    sms = people.live_sms_code(person, approvals.LOGIN, "918273")
    stored = [
        TotpDevice.objects.get(user=person.user).seed_sealed,
        Credential.objects.get(key=key).sealed,
        SmsCode.objects.get(user=person.user).digest,
        User.objects.get(pk=person.user.pk).password,
        *RecoveryCode.objects.filter(device__user=person.user).values_list("digest", flat=True),
    ]
    return [people.secret_of(key), person.seed, sms, *codes, *stored]


def test_staff_see_pages_and_no_secret_on_any_of_them() -> None:
    staff = people.customer(is_staff=True, is_superuser=True)
    sara = people.with_password(people.customer(name="Sara"))
    key = people.key_of(sara, "bot")
    secrets = canaries(sara, key)
    browser = people.logged_in(staff)
    # Leaves rows in the audit trail, and the reason on the pages.
    act_on(browser, sara, "freeze")
    lists = [f"/admin/{m._meta.app_label}/{m._meta.model_name}/?q=a" for m in admin.site._registry]
    shown = set()
    for path in [*ALL, *lists]:
        response = browser.get(at(path, key, str(sara.user.pk)))
        assert response.status_code < 500, path
        text = response.content.decode()
        assert not [secret for secret in secrets if secret in text], path
        shown |= {path} if response.status_code == 200 else set()
    assert {USER_1, f"/admin/apikeys/apikey/{VALUES['pk']}/change/", *lists} <= shown
    assert User.objects.get(pk=sara.user.pk).frozen_at is not None
