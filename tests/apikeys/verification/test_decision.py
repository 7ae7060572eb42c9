from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeys.verification import signing
from apikeys.verification.decision import Decision, Outcome, decide
from apikeys.verification.networks import NetworkMatcher, compile_networks
from apikeys.verification.records import CredentialRecord, KeyRecord
from tests.support.binance_client import BinanceClient

KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"  # published with the examples
OTHER_SECRET = "b" * 64
NOW = 1499827319559
HOME = "203.0.113.7"
AWAY = "198.51.100.1"
WEEK = 7 * 86_400_000

RECORD = KeyRecord(
    user="ada",
    key=KEY,
    active=True,
    owner_active=True,
    expires_at_ms=None,
    permissions=frozenset({"read", "trade", "withdraw"}),
    restricted=True,
    networks=compile_networks(["203.0.113.0/24", "2001:db8::/32"]),
    credentials=(CredentialRecord(7, signing.Kind.HMAC, SECRET.encode()),),
)


def signed_query(pairs: list[tuple[str, str]] | None = None, *, secret: str = SECRET) -> bytes:
    pairs = [("timestamp", str(NOW))] if pairs is None else pairs
    return BinanceClient(KEY, secret).call("GET", "/", pairs).query


def ask(record: KeyRecord | None = RECORD, **changed: Any) -> Decision:
    arguments: dict[str, Any] = {
        "api_key": KEY,
        "query": signed_query(),
        "body": b"",
        "client_ip": HOME,
        "permission": "read",
        "now_ms": NOW,
    }
    return decide(record, **(arguments | changed))


def but(**changed: Any) -> KeyRecord:
    return dataclasses.replace(RECORD, **changed)


REFUSED = (401, -2015, "Invalid API-key, IP, or permissions for action.")
ANSWERS = {
    Outcome.KEY_MALFORMED: (401, -2014, "API-key format invalid."),
    Outcome.KEY_UNKNOWN: REFUSED,
    Outcome.KEY_INACTIVE: REFUSED,
    Outcome.KEY_EXPIRED: REFUSED,
    Outcome.KEY_DEGRADED: REFUSED,
    Outcome.TRADE_LAPSED: REFUSED,
    Outcome.QUARANTINE: REFUSED,
    Outcome.REPLAYED: (400, -1022, "Signature for this request is not valid."),
    Outcome.OWNER_FROZEN: REFUSED,
    Outcome.OWNER_INACTIVE: REFUSED,
    Outcome.ADDRESS_REFUSED: REFUSED,
    Outcome.PARAMETER_MISSING: (
        400,
        -1102,
        "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.",
    ),
    Outcome.PARAMETER_DUPLICATE: (400, -1101, "Too many parameters; expected '3' and received '4'."),
    Outcome.RECV_WINDOW: (400, -1131, "recvWindow must be less than 60000"),
    Outcome.STALE: (400, -1021, "Timestamp for this request is outside of the recvWindow."),
    Outcome.AHEAD: (400, -1021, "Timestamp for this request was 1000ms ahead of the server's time."),
    Outcome.SIGNATURE: (400, -1022, "Signature for this request is not valid."),
    Outcome.PERMISSION: REFUSED,
}


def test_signed_request_passes_and_names_its_credential() -> None:
    assert ask() == Decision(Outcome.ALLOWED, 200, 0, "", 7, is_authentic=True, skew_ms=0)
    assert ask().allowed


@pytest.mark.parametrize("place", ["query", "body"])
def test_published_example_passes(place: str) -> None:
    text = (
        b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
        b"&timestamp=1499827319559"
        b"&signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    )
    question: dict[str, Any] = {"query": b"", "body": b"", place: text}
    assert ask(**question).outcome is Outcome.ALLOWED


# Each check of the contract's table, in its order, as the one fault that makes it fail. A fault is a change
# of the arguments, of the record, or of the signed parameters.
FAULTS: list[tuple[Outcome, dict[str, Any]]] = [
    (Outcome.KEY_MALFORMED, {"api_key": "short"}),
    (Outcome.KEY_INACTIVE, {"record": {"active": False}}),
    (Outcome.ADDRESS_REFUSED, {"client_ip": AWAY}),
    (Outcome.PARAMETER_MISSING, {"timestamp": ""}),
    (Outcome.PARAMETER_DUPLICATE, {"extra": [("a", "1"), ("a", "1")]}),
    (Outcome.RECV_WINDOW, {"recvWindow": "60001"}),
    (Outcome.STALE, {"timestamp": str(NOW - 60_001)}),
    (Outcome.SIGNATURE, {"secret": OTHER_SECRET}),
    (Outcome.PERMISSION, {"permission": "trade", "record": {"permissions": frozenset({"read"})}}),
]


def ask_with(*faults: dict[str, Any]) -> Decision:
    """Send a request with several faults; if two change the same value, the first one applies."""
    merged: dict[str, Any] = {}
    record: dict[str, Any] = {}
    for fault in reversed(faults):
        merged |= fault
        record |= fault.get("record", {})
    pairs = [("timestamp", merged.get("timestamp", str(NOW))), *merged.get("extra", [])]
    if "recvWindow" in merged:
        pairs.append(("recvWindow", merged["recvWindow"]))
    question = {name: merged[name] for name in ("api_key", "client_ip", "permission") if name in merged}
    query = signed_query(pairs, secret=merged.get("secret", SECRET))
    return ask(but(**record), query=query, **question)


@pytest.mark.parametrize(("outcome", "fault"), FAULTS, ids=[outcome.name for outcome, _ in FAULTS])
def test_each_check_rejects_alone(outcome: Outcome, fault: dict[str, Any]) -> None:
    answer = ask_with(fault)
    assert answer.outcome is outcome
    assert (answer.status, answer.code, answer.msg) == ANSWERS[outcome]
    assert answer.credential_id is None


PAIRS = [(first, second) for first in range(len(FAULTS)) for second in range(first + 1, len(FAULTS))]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_earlier_check_decides_before_every_later_one(first: int, second: int) -> None:
    assert ask_with(FAULTS[first][1], FAULTS[second][1]).outcome is FAULTS[first][0]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_with_all_later_faults_at_once_the_earliest_answers(first: int) -> None:
    answer = ask_with(*(fault for _, fault in FAULTS[first:]))
    assert answer.outcome is FAULTS[first][0]


def test_request_ahead_is_reported_before_its_signature() -> None:
    ahead = {"timestamp": str(NOW + 1000)}
    for fault in ({}, {"secret": OTHER_SECRET}, FAULTS[-1][1]):
        answer = ask_with(ahead, fault)
        assert (answer.status, answer.code, answer.msg) == ANSWERS[Outcome.AHEAD]


@pytest.mark.parametrize("query", [b"a=\xff", b"a=[1]", b"a=100%", "a=ب".encode()])
def test_signed_bytes_that_no_query_may_have_are_no_valid_signature(query: bytes) -> None:
    def signed(stamp: int) -> bytes:
        payload = b"timestamp=%d&" % stamp + query
        digest = hmac.new(SECRET.encode(), payload, hashlib.sha256).hexdigest().encode()
        return payload + b"&signature=" + digest

    assert ask(query=signed(NOW)).outcome is Outcome.SIGNATURE
    assert ask(query=b"", body=signed(NOW)).outcome is Outcome.SIGNATURE
    assert ask(query=signed(NOW - 5001)).outcome is Outcome.STALE


@pytest.mark.parametrize(
    "api_key",
    [None, "", "a" * 63, "a" * 65, "a" * 63 + "-", "a" * 64 + "\n", " " + "a" * 63, "۱" * 64, "é" * 64],
)
def test_malformed_key_is_reported_before_all_else(api_key: str | None) -> None:
    answer = ask(None, api_key=api_key, query=b"", client_ip=None)
    assert (answer.status, answer.code, answer.msg) == ANSWERS[Outcome.KEY_MALFORMED]


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (None, Outcome.KEY_UNKNOWN),
        (but(key="a" * 64), Outcome.KEY_UNKNOWN),
        (but(active=False), Outcome.KEY_INACTIVE),
        (but(owner_active=False), Outcome.OWNER_INACTIVE),
        (but(owner_frozen=True), Outcome.OWNER_FROZEN),
        (but(expires_at_ms=NOW - WEEK), Outcome.KEY_EXPIRED),
        (but(expires_at_ms=NOW - WEEK - 1), Outcome.KEY_EXPIRED),
        (but(networks=NetworkMatcher()), Outcome.ADDRESS_REFUSED),
        (but(networks=compile_networks(["198.51.100.0/24"])), Outcome.ADDRESS_REFUSED),
        (but(permissions=frozenset()), Outcome.PERMISSION),
    ],
)
def test_caller_cannot_tell_the_causes_of_a_rejection(record: KeyRecord | None, outcome: Outcome) -> None:
    answer = ask(record)
    assert answer.outcome is outcome
    assert (answer.status, answer.code, answer.msg) == REFUSED


@pytest.mark.parametrize(
    ("record", "permission", "outcome"),
    [
        (but(expires_at_ms=NOW + 1), "trade", Outcome.ALLOWED),
        (but(expires_at_ms=NOW), "trade", Outcome.KEY_DEGRADED),
        (but(expires_at_ms=NOW), "withdraw", Outcome.KEY_DEGRADED),
        (but(expires_at_ms=NOW), "read", Outcome.ALLOWED),
        (but(expires_at_ms=NOW - WEEK + 1), "read", Outcome.ALLOWED),
        (but(trade_until_ms=NOW + 1), "trade", Outcome.ALLOWED),
        (but(trade_until_ms=NOW), "trade", Outcome.TRADE_LAPSED),
        (but(trade_until_ms=NOW), "read", Outcome.ALLOWED),
        (but(trade_until_ms=NOW), "withdraw", Outcome.ALLOWED),
        (but(reads_until_ms=NOW + 1), "trade", Outcome.QUARANTINE),
        (but(reads_until_ms=NOW + 1), "withdraw", Outcome.QUARANTINE),
        (but(reads_until_ms=NOW + 1), "read", Outcome.ALLOWED),
        (but(reads_until_ms=NOW), "withdraw", Outcome.ALLOWED),
    ],
)
def test_power_ends_before_reading_does(record: KeyRecord, permission: str, outcome: Outcome) -> None:
    answer = ask(record, permission=permission)
    assert answer.outcome is outcome
    if outcome is not Outcome.ALLOWED:
        assert (answer.status, answer.code, answer.msg) == REFUSED


@pytest.mark.parametrize(
    ("client_ip", "allowed"),
    [
        (HOME, True),
        ("::ffff:203.0.113.7", True),
        ("2001:db8::5", True),
        (AWAY, False),
        ("::ffff:198.51.100.1", False),
        (None, False),
        ("", False),
        ("203.0.113.7:80", False),
        ("nonsense", False),
    ],
)
def test_restricted_key_works_from_its_networks_only(client_ip: str | None, allowed: bool) -> None:
    assert ask(client_ip=client_ip).allowed is allowed


@pytest.mark.parametrize(("client_ip", "allowed"), [(AWAY, True), ("::1", True), (None, False), ("x", False)])
def test_unrestricted_key_works_from_any_address_that_is_one(client_ip: str | None, allowed: bool) -> None:
    answer = ask(but(restricted=False, networks=NetworkMatcher()), client_ip=client_ip)
    assert answer.outcome is (Outcome.ALLOWED if allowed else Outcome.ADDRESS_REFUSED)


@pytest.mark.parametrize(
    ("stamp", "window", "outcome"),
    [
        (NOW, None, Outcome.ALLOWED),
        (NOW - 5000, None, Outcome.ALLOWED),
        (NOW - 5001, None, Outcome.STALE),
        (NOW + 999, None, Outcome.ALLOWED),
        (NOW + 1000, None, Outcome.AHEAD),
        (NOW - 60000, "60000", Outcome.ALLOWED),
        (NOW - 60001, "60000", Outcome.STALE),
        (NOW, "0", Outcome.ALLOWED),
        (NOW - 1, "0", Outcome.STALE),
        (NOW - 1, "1.0", Outcome.ALLOWED),
        (NOW * 1000 - 1500, "1.5", Outcome.ALLOWED),
        (NOW * 1000 - 1500, "1.499", Outcome.STALE),
        (NOW * 1000 + 999_999, None, Outcome.ALLOWED),
        (NOW * 1000 + 1_000_000, None, Outcome.AHEAD),
        (NOW // 1000, None, Outcome.STALE),
        (NOW * 1_000_000, None, Outcome.AHEAD),
        (0, None, Outcome.STALE),
    ],
)
def test_freshness_is_exact(stamp: int, window: str | None, outcome: Outcome) -> None:
    pairs = [("timestamp", str(stamp))] + ([("recvWindow", window)] if window is not None else [])
    assert ask(query=signed_query(pairs)).outcome is outcome


def test_either_credential_signs_while_a_key_is_rotated() -> None:
    new = CredentialRecord(8, signing.Kind.HMAC, OTHER_SECRET.encode())
    old = CredentialRecord(7, signing.Kind.HMAC, SECRET.encode(), retires_at_ms=NOW + 1)
    record = but(credentials=(old, new))
    assert ask(record).credential_id == 7
    assert ask(record, query=signed_query(secret=OTHER_SECRET)).credential_id == 8
    assert ask(record, query=signed_query(secret="c" * 64)).outcome is Outcome.SIGNATURE


def test_retired_credential_signs_no_more() -> None:
    old = CredentialRecord(7, signing.Kind.HMAC, SECRET.encode(), retires_at_ms=NOW)
    new = CredentialRecord(8, signing.Kind.HMAC, OTHER_SECRET.encode())
    assert ask(but(credentials=(old, new))).outcome is Outcome.SIGNATURE
    assert ask(but(credentials=())).outcome is Outcome.SIGNATURE


def test_public_key_credential_signs() -> None:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    material = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = but(credentials=(*RECORD.credentials, CredentialRecord(9, signing.Kind.ED25519, material)))
    payload = f"timestamp={NOW}".encode()
    signature = quote_plus(base64.b64encode(private.sign(payload))).encode()
    assert ask(record, query=payload, body=b"signature=" + signature).credential_id == 9
    assert ask(record).credential_id == 7


@pytest.mark.parametrize("permission", ["", "admin", "READ", "withdraw,read"])
def test_permission_that_the_key_does_not_have_is_rejected(permission: str) -> None:
    assert ask(permission=permission).outcome is Outcome.PERMISSION


def test_withdrawal_needs_a_restricted_key() -> None:
    assert ask(permission="withdraw").allowed
    assert ask(but(restricted=False), permission="withdraw").outcome is Outcome.PERMISSION
    assert ask(but(restricted=False), permission="trade").allowed


def test_unknown_key_costs_a_signature_check_like_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[signing.Kind] = []
    real = signing.verify

    def counted(kind: signing.Kind, material: bytes, payload: bytes, signature: bytes) -> bool:
        calls.append(kind)
        return real(kind, material, payload, signature)

    monkeypatch.setattr(signing, "verify", counted)
    for record in (RECORD, None, but(active=False), but(networks=NetworkMatcher())):
        calls.clear()
        ask(record)
        assert calls == [signing.Kind.HMAC]


def test_every_unreadable_request_has_its_outcome() -> None:
    for violation in signing.ContractViolation:
        assert Outcome[violation.name].value == violation.value


def test_every_outcome_has_an_answer() -> None:
    for outcome in Outcome:
        assert outcome.status in (200, 400, 401, 429)
        assert (outcome.code < 0) is (outcome is not Outcome.ALLOWED)


def test_rate_limit_says_what_it_is() -> None:
    answer = Decision.of(Outcome.RATE_LIMITED, "1200", "1 MINUTE")
    assert (answer.status, answer.code) == (429, -1003)
    assert answer.msg == "Too many requests; current limit is 1200 requests per 1 MINUTE."


def test_secret_is_not_in_any_representation() -> None:
    assert SECRET not in repr(RECORD)
    assert SECRET not in repr(RECORD.credentials[0])


@settings(deadline=None)
@given(
    pairs=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(
            lambda name: name not in ("timestamp", "recvWindow", "signature")
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        max_size=4,
    ),
    cut=st.integers(0, 5),
    quote_via=st.sampled_from([quote, quote_plus]),
    sign_in=st.sampled_from(["query", "body"]),
    upper=st.booleans(),
)
def test_right_client_is_allowed_and_a_wrong_secret_is_not(
    pairs: dict[str, str], cut: int, quote_via: Any, sign_in: str, upper: bool
) -> None:
    sent = [*pairs.items(), ("timestamp", str(NOW))]
    for secret, outcome in ((SECRET, Outcome.ALLOWED), (OTHER_SECRET, Outcome.SIGNATURE)):
        call = BinanceClient(KEY, secret).call(
            "POST", "/", sent[:cut], sent[cut:], quote_via=quote_via, sign_in=sign_in, upper=upper
        )
        assert ask(query=call.query, body=call.body).outcome is outcome


FRAGMENTS = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from([b"timestamp=", b"recvWindow=", b"signature=", b"&", b"%", b"1499827319559", b"ab"]),
    ),
    max_size=12,
).map(b"".join)


@settings(deadline=None)
@given(
    record=st.sampled_from([RECORD, None]),
    api_key=st.one_of(st.none(), st.just(KEY), st.text()),
    query=FRAGMENTS,
    body=FRAGMENTS,
    client_ip=st.one_of(st.none(), st.just(HOME), st.text()),
    permission=st.text(),
)
def test_any_question_is_answered_and_never_allowed_unsigned(
    record: KeyRecord | None,
    api_key: str | None,
    query: bytes,
    body: bytes,
    client_ip: str | None,
    permission: str,
) -> None:
    answer = ask(record, api_key=api_key, query=query, body=body, client_ip=client_ip, permission=permission)
    assert not answer.allowed
    assert "%" not in answer.msg
