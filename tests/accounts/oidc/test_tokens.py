"""Tokens of a provider that is faulty, hostile, or has new keys: what is accepted, and that nothing else is."""

import time
from typing import Any

import pytest

from accounts.models import AuditEvent
from accounts.oidc import tokens
from tests.support import people
from tests.support.openid_provider import OpenIdProvider
from tests.support.people import Person

pytestmark = pytest.mark.django_db
SECOND = "/login/second-factor/"
NOW = int(time.time())


def subject(person: Person) -> str:
    return person.user.external_id or ""


REFUSED: dict[str, dict[str, Any]] = {
    "for another client": {"claims": {"aud": "other"}},
    "for another client, which got it": {"claims": {"aud": ["portal", "other"], "azp": "other"}},
    "for several clients, without the one that got it": {"claims": {"aud": ["portal", "other"]}},
    "for nobody": {"claims": {"aud": None}},
    "audience of an odd type": {"claims": {"aud": {"portal": 1}}},
    "of another issuer": {"claims": {"iss": "https://evil.test"}},
    "of an issuer that only begins the same": {"claims": {"iss": "http://127.0.0.1"}},
    "of no issuer": {"claims": {"iss": None}},
    "of another login": {"claims": {"nonce": "0" * 64}},
    "of no login": {"claims": {"nonce": None}},
    "expired": {"claims": {"iat": NOW - 7200, "exp": NOW - 3600}},
    "without an end": {"claims": {"exp": None}},
    "with an end that is no number": {"claims": {"exp": "never"}},
    "issued in the future": {"claims": {"iat": NOW + 7200, "exp": NOW + 7800}},
    "not valid yet": {"claims": {"nbf": NOW + 7200}},
    "without a time": {"claims": {"iat": None}},
    "about nobody": {"claims": {"sub": None}},
    "about nobody, by an empty text": {"claims": {"sub": ""}},
    "about a number": {"claims": {"sub": 7}},
    "with another access token": {"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}},
    "signed by another key": {"key": "other"},
    "signed by another key, under a known id": {"key": "other", "header": {"kid": "key-0"}},
    "not signed": {"key": "none"},
    "signed with the client's secret": {"key": "secret"},
    "signed with the public key as a secret": {"key": "public"},
    "with a header that must be understood": {"header": {"crit": ["exp"], "exp": 1}},
    "a logout token": {"claims": {"nonce": None, "events": {tokens.LOGOUT_EVENT: {}}}},
    "no token": {"answer": {"id_token": None}},
    "no text": {"answer": {"id_token": ["x"]}},
    "nothing of a token": {"answer": {"id_token": "eyJhbGciOiJSUzI1NiJ9.e30"}},
}


@pytest.mark.parametrize("fault", REFUSED.values(), ids=list(REFUSED))
def test_no_other_token_logs_in(openid: OpenIdProvider, sara: Person, fault: dict[str, Any]) -> None:
    openid.control(**fault)
    client = people.browser()
    refused = openid.log_in(client, subject(sara))
    assert refused.status_code == 403, refused.content[:300]
    assert client.get(SECOND)["Location"].startswith("/login/?")
    assert AuditEvent.objects.get(event="login.exchange_refused").detail == {"rejection": "token"}


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": -tokens.LEEWAY // 2},
        {"iat": tokens.LEEWAY // 2},
        {"nbf": tokens.LEEWAY // 2},
    ],
    ids=["just expired", "just in the future", "just not valid yet"],
)
def test_clocks_may_differ_a_little(openid: OpenIdProvider, sara: Person, claims: dict[str, int]) -> None:
    openid.control(claims={name: int(time.time()) + shift for name, shift in claims.items()})
    assert openid.log_in(people.browser(), subject(sara))["Location"] == SECOND


def test_several_clients_may_be_named_with_the_one_that_got_it(openid: OpenIdProvider, sara: Person) -> None:
    openid.control(claims={"aud": ["other", "portal"], "azp": "portal"})
    assert openid.log_in(people.browser(), subject(sara))["Location"] == SECOND


@pytest.mark.parametrize("kind", ["new id", "same id"])
def test_a_key_that_was_replaced_a_moment_ago_is_fetched(
    openid: OpenIdProvider, sara: Person, kind: str
) -> None:
    assert openid.log_in(people.browser(), subject(sara))["Location"] == SECOND
    openid.control(rotate=kind)
    assert openid.log_in(people.browser(), subject(sara))["Location"] == SECOND


def test_a_withdrawn_key_is_refused_after_the_documents_lifetime(
    openid: OpenIdProvider, sara: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accounts.oidc import provider

    openid.log_in(people.browser(), subject(sara))
    old = openid.logout_token(subject(sara))
    openid.control(rotate="new id")
    assert tokens.verify_logout_token(old, may_ask=False)
    monkeypatch.setattr(provider, "LIFETIME", 0.0)
    with pytest.raises(tokens.TokenError):
        tokens.verify_logout_token(old, may_ask=False)
