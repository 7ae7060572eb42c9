"""Login with the exchange's account, against a real provider: what it replaces, and what it never does."""

import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as portal
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from django.test import Client

from accounts.access import trusted_devices
from accounts.models import AuditEvent, LoginSession, Notice, TrustedDevice, User
from accounts.oidc import flow
from hitobit_portal.security.ratelimits import Limit, Rate
from tests.accounts.oidc.conftest import with_id
from tests.support import people
from tests.support.openid_provider import BEGIN, CALLBACK, OpenIdProvider, begun
from tests.support.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
SECOND = "/login/second-factor/"


def subject(person: Person) -> str:
    return person.user.external_id or ""


def is_in(client: Client) -> bool:
    return client.get("/dashboard/").status_code == 200


def is_anonymous(client: Client) -> bool:
    return client.get(SECOND)["Location"].startswith("/login/?")


def prove(client: Client, person: Person) -> HttpResponse:
    return client.post(f"{SECOND}?method=totp", {"code": person.totp()})  # type: ignore[return-value]


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_exchange_and_authenticator_log_in(openid: OpenIdProvider, sara: Person) -> None:
    client = people.browser()
    assert openid.log_in(client, subject(sara), "/keys/?page=2")["Location"] == SECOND
    assert not is_in(client), "the second factor is missing"
    assert prove(client, sara)["Location"] == "/keys/?page=2"
    assert is_in(client)
    event = AuditEvent.objects.get(event="login", customer=sara.user)
    assert event.detail == {"method": "totp", "first": "exchange"}
    assert "با حساب هیتوبیت" in client.get("/activity/").content.decode()


def test_sms_is_a_second_factor_too(openid: OpenIdProvider, sara: Person) -> None:
    from accounts.choices import approvals

    client = people.browser()
    openid.log_in(client, subject(sara))
    people._browsers[sara.user.pk, ""] = client
    code = people.live_sms_code(sara, approvals.LOGIN, client=client)
    assert client.post(f"{SECOND}?method=sms", {"code": code})["Location"] == "/dashboard/"


def test_a_key_still_needs_both_codes(openid: OpenIdProvider, sara: Person) -> None:
    client = people.browser()
    openid.log_in(client, subject(sara))
    prove(client, sara)
    client.post("/keys/", {"name": "bot"})
    page = client.get("/keys/new/verify/").content.decode()
    assert 'name="sms_code"' in page
    assert 'name="totp_code"' in page


def test_an_account_without_factors_sets_up_both(openid: OpenIdProvider) -> None:
    newcomer = with_id(people.newcomer())
    client = people.browser()
    assert openid.log_in(client, subject(newcomer))["Location"] == "/enrol/sms/"
    for page in ("/dashboard/", "/keys/", "/settings/"):
        assert client.get(page)["Location"] == "/enrol/sms/"


def test_one_confirmed_factor_is_proved_before_the_other_is_set_up(openid: OpenIdProvider) -> None:
    half = with_id(people.half_enrolled())
    assert openid.log_in(people.browser(), subject(half))["Location"] == SECOND


def test_a_trusted_device_does_not_skip_the_second_factor(openid: OpenIdProvider, sara: Person) -> None:
    client = people.browser()
    people.half_logged_in(sara)
    client.post("/login/", {"phone": sara.user.phone, "password": sara.password})
    client.post(f"{SECOND}?method=totp", {"code": sara.totp(), "trust": "1"})
    assert TrustedDevice.objects.filter(user=sara.user).count() == 1
    trusted = people.browser()
    trusted.cookies[trusted_devices.COOKIE] = client.cookies[trusted_devices.COOKIE].value
    assert openid.log_in(trusted, subject(sara))["Location"] == SECOND
    by_password = people.browser()
    by_password.cookies[trusted_devices.COOKIE] = client.cookies[trusted_devices.COOKIE].value
    answer = by_password.post("/login/", {"phone": sara.user.phone, "password": sara.password})
    assert answer["Location"] == "/dashboard/", "after a password the same device does"


def test_no_device_becomes_trusted_by_it(openid: OpenIdProvider, sara: Person) -> None:
    client = people.browser()
    openid.log_in(client, subject(sara))
    assert 'name="trust"' not in client.get(f"{SECOND}?method=totp").content.decode()
    client.post(f"{SECOND}?method=totp", {"code": sara.totp(), "trust": "1"})
    assert is_in(client)
    assert not TrustedDevice.objects.exists()


@pytest.mark.parametrize(
    "target", ["//evil.test/", "https://evil.test/", "/\t/evil.test", "javascript:alert(1)"]
)
def test_next_stays_on_this_site(openid: OpenIdProvider, sara: Person, target: str) -> None:
    client = people.browser()
    openid.log_in(client, subject(sara), target)
    assert prove(client, sara)["Location"] == "/dashboard/"


# --- Whose answer it is -----------------------------------------------------------------------------------------------


def test_a_login_begun_in_one_browser_does_not_go_on_in_another(openid: OpenIdProvider, sara: Person) -> None:
    """Login CSRF: an attacker sends a victim the address with which the attacker's own login would go on."""
    attacker, victim = people.browser(), people.browser(people.address(2))
    begun(victim)
    answer = openid.answer_for(begun(attacker), subject(sara))
    refused = victim.get(answer)
    assert refused.status_code == 400
    assert is_anonymous(victim)
    assert attacker.get(answer)["Location"] == SECOND, "it was not used up"


def test_an_answer_of_another_does_not_end_a_login(openid: OpenIdProvider, sara: Person) -> None:
    victim = people.logged_in(sara)
    answer = openid.answer_for(begun(people.browser()), "somebody-else")
    assert victim.get(answer)["Location"] == "/dashboard/"
    assert is_in(victim)


def test_a_state_does_not_fit_the_code_of_another_login(openid: OpenIdProvider, sara: Person) -> None:
    client = people.browser()
    first, second = begun(client), begun(client)
    answer = query(openid.answer_for(first, subject(sara)))
    assert client.get(CALLBACK, {**answer, "state": query(second)["state"]}).status_code == 400
    assert is_anonymous(client)


def test_an_answer_counts_once(openid: OpenIdProvider, sara: Person) -> None:
    client = people.browser()
    answer = openid.answer_for(begun(client), subject(sara))
    before = people.clone_browser(client)
    assert client.get(answer)["Location"] == SECOND
    assert client.get(answer).status_code == 400
    assert before.get(answer).status_code == 400


def test_a_used_code_is_refused_in_a_new_login(openid: OpenIdProvider, sara: Person) -> None:
    client = people.browser()
    used = query(openid.answer_for(begun(client), subject(sara)))
    client.get(CALLBACK, used)
    other = people.browser()
    fresh = query(begun(other))
    assert other.get(CALLBACK, {**used, "state": fresh["state"]}).status_code == 400
    assert is_anonymous(other)


def test_tabs_do_not_disturb_each_other(openid: OpenIdProvider, sara: Person) -> None:
    client = people.browser()
    first, _second = begun(client), begun(client)
    assert client.get(openid.answer_for(first, subject(sara)))["Location"] == SECOND


def test_only_the_newest_logins_of_a_browser_are_kept(openid: OpenIdProvider) -> None:
    client = people.browser()
    for _n in range(flow.MOST_FLOWS + 3):
        begun(client)
    session = SessionStore(client.cookies[portal.SESSION_COOKIE_NAME].value)
    assert len(session[flow.FLOWS]) == flow.MOST_FLOWS


def test_a_login_that_took_too_long_begins_again(openid: OpenIdProvider, sara: Person) -> None:
    client = people.browser()
    answer = openid.answer_for(begun(client), subject(sara))
    session = SessionStore(client.cookies[portal.SESSION_COOKIE_NAME].value)
    (entry,) = session[flow.FLOWS]
    people.set_session(client, **{flow.FLOWS: [{**entry, "at": entry["at"] - flow.LIFETIME_SECONDS - 1}]})
    assert client.get(answer).status_code == 400


@pytest.mark.parametrize("issuer", ["https://evil.test", "", None])
def test_an_answer_names_its_issuer(openid: OpenIdProvider, sara: Person, issuer: str | None) -> None:
    client = people.browser()
    answer = query(openid.answer_for(begun(client), subject(sara)))
    assert answer.pop("iss") == openid.issuer
    changed = answer if issuer is None else {**answer, "iss": issuer}
    assert client.get(CALLBACK, changed).status_code == 403
    assert is_anonymous(client)


def test_the_session_id_changes(openid: OpenIdProvider, sara: Person) -> None:
    client = people.browser()
    answer = openid.answer_for(begun(client), subject(sara))
    planted = client.cookies[portal.SESSION_COOKIE_NAME].value
    client.get(answer)
    assert client.cookies[portal.SESSION_COOKIE_NAME].value != planted
    assert not Session.objects.filter(pk=planted).exists()


@pytest.mark.parametrize("odd", [{}, {"state": ""}, {"state": "é\x00"}, {"code": "x"}, {"state": "a" * 5000}])
def test_odd_answers_are_refused(openid: OpenIdProvider, odd: dict[str, str]) -> None:
    client = people.browser()
    begun(client)
    assert client.get(CALLBACK, odd).status_code == 400


# --- Who it is --------------------------------------------------------------------------------------------------------


def test_an_unknown_customer_is_refused(openid: OpenIdProvider) -> None:
    client, before = people.browser(), User.objects.count()
    refused = openid.log_in(client, "nobody-here")
    assert refused.status_code == 403
    assert "پشتیبانی" in refused.content.decode()
    assert User.objects.count() == before
    event = AuditEvent.objects.get(event="login.exchange_refused")
    assert (event.customer, event.detail, event.succeeded) == (None, {"rejection": "unknown"}, False)


@pytest.mark.parametrize("odd", ["with space", "a" * 65, "<b>", "سارا"])
def test_a_subject_that_cannot_be_an_id_is_unknown(openid: OpenIdProvider, odd: str) -> None:
    assert openid.log_in(people.browser(), odd).status_code == 403


@pytest.mark.parametrize("odd", [7, True, ["a"], {"a": 1}])
def test_a_subject_that_is_no_text_is_refused(openid: OpenIdProvider, odd: object) -> None:
    openid.control(claims={"sub": odd})
    assert openid.log_in(people.browser(), "somebody").status_code == 403


def test_a_closed_account_is_refused(openid: OpenIdProvider, sara: Person) -> None:
    User.objects.filter(pk=sara.user.pk).update(is_active=False)
    client = people.browser()
    assert openid.log_in(client, subject(sara)).status_code == 403
    assert is_anonymous(client)
    event = AuditEvent.objects.get(event="login.exchange_refused")
    assert (event.customer, event.detail) == (sara.user, {"rejection": "closed"})


def test_a_frozen_account_logs_in_as_with_a_password(openid: OpenIdProvider, sara: Person) -> None:
    from accounts.actions import freeze

    freeze.freeze(None, sara.reload())
    client = people.browser()
    openid.log_in(client, subject(sara))
    prove(client, sara)
    assert is_in(client)


def test_staff_are_refused(openid: OpenIdProvider) -> None:
    staff = with_id(people.customer(is_staff=True))
    client = people.browser()
    assert openid.log_in(client, subject(staff)).status_code == 403
    assert is_anonymous(client)


def test_a_half_finished_login_ends_with_all_others(openid: OpenIdProvider, sara: Person) -> None:
    from accounts.access import sessions

    client = people.browser()
    openid.log_in(client, subject(sara))
    sessions.end_all(sara.reload())
    assert prove(client, sara)["Location"].startswith("/login/?")


def test_a_login_from_a_new_device_is_told(openid: OpenIdProvider, sara: Person) -> None:
    first = people.browser()
    openid.log_in(first, subject(sara))
    prove(first, sara)
    client = people.browser("192.0.2.7")
    openid.log_in(client, subject(sara))
    client.post(f"{SECOND}?method=totp", {"code": sara.fresh_totp()})
    notice = Notice.objects.get(event__event="login.new_device")
    assert notice.event.detail["first"] == "exchange"


# --- What goes wrong --------------------------------------------------------------------------------------------------


def test_provider_is_down_and_the_password_still_works(
    openid: OpenIdProvider, settings: Any, sara: Person
) -> None:
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    client = people.browser()
    page = client.get(BEGIN, {"next": "/keys/"})
    assert page.status_code == 503
    assert page["Retry-After"] == "5"
    text = page.content.decode()
    assert 'action="/login/"' in text
    assert 'name="password"' in text
    assert "کلیدهای API" in text
    fields = {"phone": sara.user.phone, "password": sara.password, "next": "/keys/"}
    assert client.post("/login/", fields)["Location"] == SECOND


def test_no_browser_is_sent_to_a_provider_that_went_down(
    openid: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accounts.oidc import provider

    assert people.browser().get(BEGIN).status_code == 302
    monkeypatch.setattr(provider, "REACHABLE_SECONDS", 0.0)
    openid.control(status=503)
    assert people.browser().get(BEGIN).status_code == 503
    openid.control()
    assert people.browser().get(BEGIN).status_code == 503, "it is not asked again for some seconds"
    provider._down_until.clear()
    assert people.browser().get(BEGIN).status_code == 302


def test_provider_goes_down_in_the_middle(openid: OpenIdProvider, sara: Person) -> None:
    openid.control(document={"token_endpoint": "http://127.0.0.1:9/token"})
    client = people.browser()
    assert openid.log_in(client, subject(sara)).status_code == 503
    assert is_anonymous(client)


def test_a_code_that_disturbs_the_provider_stops_nobody_else(openid: OpenIdProvider, sara: Person) -> None:
    """SECURITY: whoever found such a code could keep everybody from logging in."""
    visitor, client = people.browser(people.address(81)), people.browser()
    state = query(begun(visitor))["state"]
    answer = openid.answer_for(begun(client), subject(sara))
    openid.control(status=500)
    made_up = {"code": "x", "state": state, "iss": openid.issuer}
    assert visitor.get(CALLBACK, made_up).status_code == 503
    openid.control()
    assert client.get(answer)["Location"] == SECOND


@pytest.mark.parametrize("code", ["", "\0", "x\n", "é", "x" * 5000])
def test_what_cannot_be_a_code_is_not_sent_to_the_provider(openid: OpenIdProvider, code: str) -> None:
    client = people.browser()
    state = query(begun(client))["state"]
    openid.control(status=500)
    assert client.get(CALLBACK, {"code": code, "state": state, "iss": openid.issuer}).status_code == 400


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.test"},
        {"jwks_uri": "http://evil.test/jwks"},
        {"token_endpoint": "http://192.0.2.1/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": None},
        {"jwks_uri": 7},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
        {"response_types_supported": "x"},
    ],
)
def test_a_discovery_document_that_is_not_valid_is_not_used(
    openid: OpenIdProvider, document: dict[str, Any]
) -> None:
    openid.control(document=document)
    assert people.browser().get(BEGIN).status_code == 503


def test_client_authentication_by_post(openid: OpenIdProvider, sara: Person) -> None:
    openid.control(document={"token_endpoint_auth_methods_supported": ["client_secret_post"]})
    assert openid.log_in(people.browser(), subject(sara)).status_code in (302, 503)


def test_the_customer_cancels(openid: OpenIdProvider) -> None:
    client = people.browser()
    answer = openid.answer_for(begun(client), "")
    assert "error=access_denied" in answer
    page = client.get(answer)
    assert page.status_code == 400
    assert "cancelled" not in page.content.decode(), "the provider's words are not shown"


def test_limits_by_address(openid: OpenIdProvider) -> None:
    address = people.address(77)
    for _n in range(Rate.EXCHANGE_LOGIN_ADDRESS.value.count):
        assert people.browser(address).get(BEGIN).status_code == 302
    assert people.browser(address).get(BEGIN).status_code == 429
    assert people.browser(people.address(78)).get(BEGIN).status_code == 302


def test_customers_behind_one_address_do_not_stop_each_other(
    openid: OpenIdProvider, sara: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands share the address of a mobile operator. What is limited are logins that are begun and left."""
    limit = Rate.EXCHANGE_LOGIN_ADDRESS.value
    monkeypatch.setattr(Rate.EXCHANGE_LOGIN_ADDRESS, "_value_", Limit(2, limit.seconds, limit.reason))
    address = people.address(80)
    for _n in range(4):
        assert openid.log_in(people.browser(address), subject(sara))["Location"] == SECOND
    for _n in range(2):
        begun(people.browser(address))
    assert people.browser(address).get(BEGIN).status_code == 429


def test_made_up_codes_are_limited_and_good_ones_do_not_count(openid: OpenIdProvider, sara: Person) -> None:
    address = people.address(79)
    client = people.browser(address)
    openid.log_in(client, subject(sara))
    for _n in range(Rate.EXCHANGE_ANSWER_ADDRESS.value.count):
        state = query(begun(client))["state"]
        assert client.get(CALLBACK, {"code": "x", "state": state, "iss": openid.issuer}).status_code == 400
    state = query(begun(client))["state"]
    assert client.get(CALLBACK, {"code": "x", "state": state, "iss": openid.issuer}).status_code == 429


@pytest.mark.parametrize("destination", ["image", "iframe", "empty"])
def test_other_sites_begin_no_logins_in_the_background(openid: OpenIdProvider, destination: str) -> None:
    before = Session.objects.count()
    answer = people.browser().get(BEGIN, headers={"sec-fetch-dest": destination})
    assert answer.status_code == 403
    assert Session.objects.count() == before


def test_nothing_secret_is_stored_or_logged(
    openid: OpenIdProvider, sara: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = people.browser()
    url = begun(client)
    sent = query(url)
    assert sent["code_challenge_method"] == "S256"
    assert sent["scope"] == "openid"
    begun_session = str(SessionStore(client.cookies[portal.SESSION_COOKIE_NAME].value).load())
    answer = openid.answer_for(url, subject(sara))
    code = query(answer)["code"]
    client.get(answer)
    pending = str(SessionStore(client.cookies[portal.SESSION_COOKIE_NAME].value).load())
    for secret in (sent["state"], sent["nonce"], code, openid.client_secret):
        assert secret not in begun_session + pending + caplog.text
    assert "eyJ" not in pending + caplog.text, "no token either"


def test_without_a_provider_there_is_no_such_login(sara: Person) -> None:
    client = people.browser()
    assert client.get(BEGIN).status_code == 404
    assert client.get(CALLBACK).status_code == 404
    assert client.post("/oidc/backchannel-logout/").status_code == 404
    assert "/login/oidc/" not in client.get("/login/").content.decode()


def test_whoever_is_logged_in_goes_on(openid: OpenIdProvider, sara: Person) -> None:
    client = people.logged_in(sara)
    assert client.get(BEGIN, {"next": "/keys/"})["Location"] == "/keys/"
    assert LoginSession.objects.filter(user=sara.user).count() == 1


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_other_methods_are_refused(openid: OpenIdProvider, method: str) -> None:
    for path in (BEGIN, CALLBACK):
        assert getattr(people.browser(), method)(path).status_code == 405
