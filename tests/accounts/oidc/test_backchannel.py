"""Back-channel logout: the exchange ends sessions, and nobody else does."""

import time
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from accounts.access import known_browsers
from accounts.models import AuditEvent, LoginSession
from accounts.oidc import provider, tokens
from hitobit_portal.security.ratelimits import Rate
from tests.accounts.oidc.conftest import with_id
from tests.support import people
from tests.support.openid_provider import OpenIdProvider
from tests.support.people import Person

pytestmark = pytest.mark.django_db
URL = "/oidc/backchannel-logout/"
NOW = int(time.time())


def subject(person: Person) -> str:
    return person.user.external_id or ""


def send(token: str, client: Client | None = None) -> HttpResponse:
    client = client or people.browser(csrf=True)
    return client.post(URL, {"logout_token": token})  # type: ignore[return-value]


def test_all_sessions_and_half_finished_logins_end(openid: OpenIdProvider, sara: Person) -> None:
    finished, half = people.logged_in(sara), people.browser()
    openid.log_in(half, subject(sara))
    answer = send(openid.logout_token(subject(sara)))
    assert (answer.status_code, answer.content) == (200, b"")
    assert "no-store" in answer["Cache-Control"]
    assert finished.get("/dashboard/").status_code == 302
    assert half.get("/login/second-factor/")["Location"].startswith("/login/?")
    assert not LoginSession.objects.filter(user=sara.user).exists()
    assert AuditEvent.objects.get(event="session.ended_by_exchange").customer == sara.user


def test_other_customers_stay_logged_in(openid: OpenIdProvider, sara: Person) -> None:
    other = people.logged_in(with_id(people.customer()))
    send(openid.logout_token(subject(sara)))
    assert other.get("/dashboard/").status_code == 200


def test_browsers_stay_known(openid: OpenIdProvider, sara: Person) -> None:
    before = sara.reload().browser_epoch
    people.logged_in(sara)
    send(openid.logout_token(subject(sara)))
    assert sara.reload().browser_epoch == before
    assert known_browsers.COOKIE


def test_a_token_counts_once(openid: OpenIdProvider, sara: Person) -> None:
    token = openid.logout_token(subject(sara))
    assert send(token).status_code == 200
    again = people.logged_in(sara)
    assert send(token).status_code == 400
    assert again.get("/dashboard/").status_code == 200


def test_a_token_about_nobody_here_is_accepted(openid: OpenIdProvider, sara: Person) -> None:
    client = people.logged_in(sara)
    for name in ("nobody-here", "with space"):
        assert send(openid.logout_token(name)).status_code == 200
    assert client.get("/dashboard/").status_code == 200
    assert not AuditEvent.objects.filter(event="session.ended_by_exchange").exists()


def test_sessions_of_staff_are_not_the_exchanges(openid: OpenIdProvider) -> None:
    staff = with_id(people.customer(is_staff=True))
    client = people.logged_in(staff)
    assert send(openid.logout_token(subject(staff))).status_code == 200
    assert client.get("/dashboard/").status_code == 200


REFUSED: dict[str, dict[str, Any]] = {
    "for another client": {"claims": {"aud": "other"}},
    "of another issuer": {"claims": {"iss": "https://evil.test"}},
    "expired": {"claims": {"iat": NOW - 7200, "exp": NOW - 3600}},
    "without an end": {"claims": {"exp": None}},
    "without an id": {"claims": {"jti": None}},
    "about a session only": {"claims": {"sub": None}},
    "with the nonce of a login": {"claims": {"nonce": "x"}},
    "without an event": {"claims": {"events": None}},
    "with another event": {"claims": {"events": {"https://evil.test": {}}}},
    "with an event that is no object": {"claims": {"events": {tokens.LOGOUT_EVENT: True}}},
    "of another kind": {"header": {"typ": "at+jwt"}},
    "signed by another key": {"key": "other"},
    "not signed": {"key": "none"},
    "signed with the client's secret": {"key": "secret"},
}


@pytest.mark.parametrize("fault", REFUSED.values(), ids=list(REFUSED))
def test_no_other_token_ends_anything(openid: OpenIdProvider, sara: Person, fault: dict[str, Any]) -> None:
    client = people.logged_in(sara)
    answer = send(openid.logout_token(subject(sara), **fault))
    assert (answer.status_code, answer.content) == (400, b'{"error": "invalid_request"}')
    assert client.get("/dashboard/").status_code == 200


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.\x00.", "e" * 20_000])
def test_odd_tokens_are_refused(openid: OpenIdProvider, token: str) -> None:
    assert send(token).status_code == 400


def test_a_new_key_is_fetched(openid: OpenIdProvider, sara: Person) -> None:
    send(openid.logout_token(subject(sara)))
    openid.control(rotate="new id")
    client = people.logged_in(sara)
    assert send(openid.logout_token(subject(sara))).status_code == 200
    assert client.get("/dashboard/").status_code == 302


def test_forged_tokens_do_not_make_the_portal_ask_for_keys_without_end(
    openid: OpenIdProvider, sara: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = []
    document = provider._document

    def counted(url: str, *, lifetime: float) -> dict[str, Any]:
        requests.append(lifetime == 0)
        return document(url, lifetime=lifetime)

    monkeypatch.setattr(provider, "_document", counted)
    client = people.browser(people.address(9))
    token = openid.logout_token(subject(sara), key="other")
    for _n in range(Rate.EXCHANGE_LOGOUT_ADDRESS.value.count):
        assert send(token, client).status_code == 400
    assert sum(requests) == Rate.EXCHANGE_KEYS_ADDRESS.value.count
    assert send(token, client).status_code == 429


def test_provider_is_down(openid: OpenIdProvider, settings: Any, sara: Person) -> None:
    token = openid.logout_token(subject(sara))
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    assert send(token).status_code == 503


def test_only_post(openid: OpenIdProvider) -> None:
    assert people.browser().get(URL).status_code == 405
