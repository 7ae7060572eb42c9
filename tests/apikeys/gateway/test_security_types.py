"""Security types: what a request needs that asks for a signature, for a live key alone, or for nothing."""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings

from apikeys.gateway import authorizer as gateway_authorizer
from apikeys.gateway import requests
from apikeys.gateway.requests import AuthorizationRequest, AuthorizationRequestError, Security
from apikeys.models import AddressUse, ApiKey, DailyUse, RescueRequest
from apikeys.policy.choices import KeyState
from apikeys.verification import networks
from apikeys.verification.decision import decide_without_signature, is_key_id
from apikeys.verification.outcomes import Outcome
from hitobit_portal.http import commit_barrier
from tests.apikeys.gateway.test_authorizer_order import (  # fmt: skip
    OTHER,
    RECORD,
    AuthorizerHarness,
    Clock,
    signed,
)
from tests.apikeys.gateway.test_endpoints import LocalEndpoints
from tests.apikeys.gateway.test_fast_path_agreement import decision_of
from tests.support import people
from tests.support.binance_client import BinanceClient, Call
from tests.support.event_loops import run_in_thread
from tests.support.examples import times
from tests.support.gateways import ADDRESS, GatewayProcess, GatewayResponse, as_json, auth_headers, token
from tests.support.one_defect import DEFECTS, KEY, LISTED, NOW, UNLISTED, RequestDraft, each_kind

SECURITY, PERMISSION = "X-Required-Security", "X-Required-Permission"
#: Everything that is not exactly one of the three types.
NO_TYPES = [
    "", " ", "Signed", "NONE", "Key", "signed,none", "none,signed", "none, none", "key;none", "none;", '"none"',
    "none\x0b", "\xa0none", "none\xa0", "\uff4eone".encode().decode("latin-1"), "n\u043ene".encode().decode("latin-1"),
    "no%6ee", "MARKET_DATA", "USER_DATA", "TRADE", "false", "0", "null", "unsigned", "signed none", "none\x00",
]  # fmt: skip
#: What only concerns parameters, time and signature: a request without a signature has none of it.
OF_SIGNED_REQUESTS = {
    Outcome.SIGNATURE, Outcome.STALE, Outcome.AHEAD, Outcome.RECV_WINDOW, Outcome.PARAMETER_DUPLICATE,
    Outcome.PARAMETER_MISSING,
}  # fmt: skip


class HeaderList(list[tuple[str, str]]):
    """Headers as `requests` reads them: names in lower case."""

    def __contains__(self, name: object, /) -> bool:
        return name in [known for known, _value in self]

    def get_all(self, name: str, /) -> list[str]:
        return [value for known, value in self if known == name]


def headers(**changed: str | list[str] | None) -> HeaderList:
    """Return the headers of a sub-request, with changes: another value, several ones, or none."""
    fields: dict[str, str | list[str] | None] = {
        "x_mbx_apikey": KEY, "x_original_uri": "/api/v3/order?a=1", "x_client_ip": LISTED,
        "x_required_permission": "read",
    }  # fmt: skip
    fields |= changed
    return HeaderList(
        (name.replace("_", "-"), one)
        for name, value in fields.items()
        for one in ([] if value is None else [value] if isinstance(value, str) else value)
    )


def both_forms(sent: HeaderList) -> list[AuthorizationRequest]:
    """Parse the headers as ``/auth`` and as ``/check/...``."""
    return [requests.from_auth(sent, "", b""), requests.from_check(sent, "/api/v3/order", "a=1", b"")]


def problems(sent: HeaderList) -> set[str]:
    """Return why the headers are refused, in both forms."""
    results = set()
    with pytest.raises(AuthorizationRequestError) as refused:
        requests.from_auth(sent, "", b"")
    results.add(str(refused.value))
    with pytest.raises(AuthorizationRequestError) as refused:
        requests.from_check(sent, "/api/v3/order", "a=1", b"")
    return results | {str(refused.value)}


def of_json(**document: Any) -> AuthorizationRequest:
    [request], _is_batch = requests.from_json({"api_key": KEY, "query": "a=1", **document})
    return request


def test_type_is_signed_unless_the_request_names_another() -> None:
    for sent, security in ((None, Security.SIGNED), *((kind.value, kind) for kind in Security)):
        parsed = both_forms(headers(x_required_security=sent))
        parsed.append(of_json(security=sent, permission="read"))
        assert {request.security for request in parsed} == {security}
        assert {request.api_key for request in parsed} == {None if security is Security.NONE else KEY}


@pytest.mark.parametrize("value", NO_TYPES)
def test_unknown_type_is_refused_and_never_a_weaker_check(value: str) -> None:
    (problem,) = problems(headers(x_required_security=value))
    assert problem == "X-Required-Security is not signed, key or none"
    with pytest.raises(AuthorizationRequestError, match="'security' is not one of signed, key, none"):
        of_json(security=value, permission="read")


@pytest.mark.parametrize("values", [["signed", "none"], ["none", "signed"], ["none", "none"], ["key", ""]])
def test_type_that_occurs_twice_is_refused(values: list[str]) -> None:
    assert problems(headers(x_required_security=values)) == {"X-Required-Security occurs more than once"}


@pytest.mark.parametrize("value", [True, 0, ["none"], {"none": 1}])
def test_type_in_json_is_a_string(value: object) -> None:
    with pytest.raises(AuthorizationRequestError, match="'security' is not a string"):
        of_json(security=value, permission="read")


@pytest.mark.parametrize("security", ["signed", "key", None])
def test_request_without_a_permission_is_refused_by_the_name_of_its_header(security: str | None) -> None:
    for sent in (None, ""):
        results = problems(headers(x_required_security=security, x_required_permission=sent))
        assert results == {"X-Required-Permission is missing"}
    for document in ({}, {"permission": None}):
        with pytest.raises(AuthorizationRequestError, match=r"^'permission' is missing$"):
            of_json(security=security, **document)
    with pytest.raises(AuthorizationRequestError, match=r"^requests\[1\]: 'permission' is missing$"):
        requests.from_json({"requests": [{"permission": "read"}, {"security": security}]})


def test_route_that_needs_nothing_needs_no_permission() -> None:
    for sent in (None, "", "read"):
        for request in both_forms(headers(x_required_security="none", x_required_permission=sent)):
            assert (request.permission, request.api_key) == (sent or "", None)
    assert of_json(security="none").security is Security.NONE


@pytest.mark.parametrize("security", [kind.value for kind in Security])
@pytest.mark.parametrize(
    "value", ["READ", "read,withdraw", "admin", "read ", "\xa0read", "none", "withdraw;"]
)
def test_unknown_permission_is_refused(value: str, security: str) -> None:
    (problem,) = problems(headers(x_required_security=security, x_required_permission=value))
    assert problem == "X-Required-Permission is not read, trade or withdraw"
    (problem,) = problems(headers(x_required_security=security, x_required_permission=["read", "read"]))
    assert problem == "X-Required-Permission occurs more than once"
    with pytest.raises(AuthorizationRequestError, match="'permission' is not one of read, trade, withdraw"):
        of_json(security=security, permission=value)


def test_texts_of_rejections_fit_into_a_proxys_json() -> None:
    """nginx and Caddy write them between quotation marks."""
    sent = [headers(x_required_security=value) for value in NO_TYPES]
    sent += [headers(x_required_permission=None), headers(x_required_permission=['"', "\\"])]
    sent += [headers(x_original_uri=['/"', "\\"], x_required_security="none")]
    for one in sent:
        with pytest.raises(AuthorizationRequestError) as refused:
            requests.from_auth(one, "", b"")
        assert not set(str(refused.value)) & set('"\\\r\n$')
        assert str(refused.value).isascii()


# --- the decision ---------------------------------------------------------------------------------------------------


def without_signature(draft: RequestDraft) -> Outcome:
    record, _query, address, permission = draft.arguments
    return decide_without_signature(
        record, api_key=record.key, client_ip=address, permission=permission, now_ms=NOW
    ).outcome


def test_live_key_is_checked_as_for_a_signed_request() -> None:
    """Every condition of a key, its owner, its address and its permission counts, and nothing else does."""
    seen: Counter[Outcome] = Counter()

    def agree(pair: tuple[RequestDraft, RequestDraft]) -> None:
        draft, _without = pair
        expected = decision_of(*draft.arguments).outcome
        if expected in OF_SIGNED_REQUESTS:
            expected = Outcome.ALLOWED
        assert without_signature(draft) is expected
        seen[expected] += 1

    for kind, examples in each_kind(times(8)):
        settings(max_examples=examples, database=None)(given(kind)(agree))()
    checked = {defect.outcome for defect in DEFECTS.values()} - OF_SIGNED_REQUESTS
    assert set(seen) == checked | {Outcome.ALLOWED}


def test_unknown_key_takes_the_work_of_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """SECURITY: the time of a rejection does not tell an unknown key from a revoked one or a foreign address."""
    lookups: list[object] = []
    real = networks.NetworkMatcher.contains

    def contains(matcher: networks.NetworkMatcher, text: str | None) -> bool:
        lookups.append(text)
        return real(matcher, text)

    monkeypatch.setattr(networks.NetworkMatcher, "contains", contains)
    revoked = dataclasses.replace(RECORD, active=False)
    for record, address in ((None, LISTED), (revoked, LISTED), (RECORD, UNLISTED), (RECORD, "x")):
        lookups.clear()
        decision = decide_without_signature(
            record, api_key=KEY, client_ip=address, permission="read", now_ms=NOW
        )
        assert (decision.status, decision.code, decision.is_authentic) == (401, -2015, False)
        assert lookups == [address]


KEY_ONLY: dict[str, Any] = {"security": Security.KEY}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = Clock()
    replaced = SimpleNamespace(time_ns=stopped.time_ns, monotonic=stopped.monotonic)
    monkeypatch.setattr(gateway_authorizer, "time", replaced)


@pytest.mark.usefixtures("clock")
def test_requests_without_a_signature_have_a_rate_of_their_own() -> None:
    """SECURITY: whoever knows a public id must not use up what its holder needs."""

    async def scenario() -> None:
        harness = AuthorizerHarness(of_key=2)
        outcomes = [await harness.outcome("", **KEY_ONLY) for _ in range(3)]
        assert outcomes == [Outcome.ALLOWED, Outcome.ALLOWED, Outcome.RATE_LIMITED]
        assert await harness.outcome(signed()) is Outcome.ALLOWED
        # What is rejected anyway uses up nothing.
        harness = AuthorizerHarness(of_key=1)
        for changed in ({"client_ip": UNLISTED}, {"permission": "trade"}, {"api_key": OTHER}):
            for _ in range(3):
                assert await harness.outcome("", **KEY_ONLY, **changed) is not Outcome.RATE_LIMITED
        assert await harness.outcome("", **KEY_ONLY) is Outcome.ALLOWED

    run_in_thread(scenario())


@pytest.mark.usefixtures("clock")
def test_request_without_a_signature_is_counted_and_starts_no_first_use() -> None:
    async def scenario() -> None:
        new = dataclasses.replace(RECORD.credentials[0], is_new=True)
        harness = AuthorizerHarness(dataclasses.replace(RECORD, credentials=(new,)))
        for _ in range(2):
            result = await harness.ask("signature=x&timestamp=1&timestamp=2", body=b"\xff", **KEY_ONLY)
            assert result.decision.outcome is Outcome.ALLOWED
            assert (result.record is not None, result.security) == (True, Security.KEY)
        assert await harness.outcome("", permission="trade", **KEY_ONLY) is Outcome.PERMISSION
        assert await harness.outcome("", api_key=OTHER, **KEY_ONLY) is Outcome.KEY_UNKNOWN
        assert [event for event in harness.events if "use" in event or event in ("guard", "signature")] == []
        outcomes, refusals, _whole, uses = await harness.left()
        assert outcomes == {"permission": 1, "key_unknown": 1}
        assert refusals == {(KEY, "permission", "trade"): 1}
        assert uses == [(KEY, "read", LISTED, 0, 2, None)]

    run_in_thread(scenario())


@pytest.mark.usefixtures("clock")
def test_route_that_needs_nothing_reads_no_key_and_has_the_rate_of_the_address() -> None:
    async def scenario() -> None:
        harness = AuthorizerHarness(of_address=2)
        public: dict[str, Any] = {"security": Security.NONE, "permission": "", "api_key": None}
        for outcome in (Outcome.ALLOWED, Outcome.ALLOWED, Outcome.RATE_LIMITED):
            result = await harness.ask("a=1", body=b"b=2", **public)
            assert (result.decision.outcome, result.record) == (outcome, None)
        assert set(harness.events) == {f"rate of address {LISTED}"}
        large = await AuthorizerHarness().ask("a" * (requests.MAX_PAYLOAD_BYTES + 1), **public)
        assert (large.decision.status, large.decision.code) == (413, -1000)
        outcomes, refusals, whole, uses = await harness.left()
        assert (outcomes, refusals, whole, uses) == ({"allowed": 2, "rate_limited": 1}, {}, [], [])

    run_in_thread(scenario())


# --- the fast path --------------------------------------------------------------------------------------------------


def test_fast_path_takes_signed_requests_alone() -> None:
    local = LocalEndpoints()
    assert local.handle_fast(None, (SECURITY, b"signed")) is not None
    for _ in range(2):
        for value in (b"key", b"none", b"Signed", b"signed,none", b"", b"signed "):
            assert local.handle_fast(None, (SECURITY, value)) is None
        assert local.handle_fast(None, (SECURITY, b"signed"), (SECURITY, b"none")) is None
        assert local.handle_fast(None, (SECURITY, b"signed"), (SECURITY.lower(), b"signed")) is None
        assert local.handle_fast(None, (SECURITY, b"signed")) is not None


def test_entry_of_a_signed_request_does_not_allow_an_unsigned_one() -> None:
    local = LocalEndpoints()
    assert local.handle_fast() is not None
    assert local.handle_fast({"X-Original-URI": b"/api/v3/account?timestamp=1"}) is None
    assert local.handle_fast({"X-Original-URI": b"/api/v3/account"}, (SECURITY, b"signed")) is None


# --- over HTTP ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def process(kept_db: None) -> Iterator[GatewayProcess]:
    with GatewayProcess(token()) as process:
        yield process


@pytest.fixture
def key() -> ApiKey:
    return people.key_of(people.customer())


def ask(
    gateway: GatewayProcess, call: Call, security: str, permission: str = "read", address: str = ADDRESS
) -> list[GatewayResponse]:
    """Ask in the forms of /auth, /check/ and /envoy/."""
    sent = {**auth_headers(call, permission, address), SECURITY: security}
    target = call.path + ("?" + call.query.decode() if call.query else "")
    return [
        gateway.ask("GET", "/gateway/v1/auth", sent),
        *(
            gateway.ask(call.method, f"/gateway/v1/{form}{target}", sent, call.body or None)
            for form in ("check", "envoy")
        ),
    ]


def outcomes(gateway: GatewayProcess, call: Call, security: str, **more: str) -> set[tuple[int, int]]:
    """Return (status, code) for the client in all forms, JSON too."""
    auth, *whole = ask(gateway, call, security, **more)
    document = {
        **as_json(call, more.get("permission", "read"), more.get("address", ADDRESS)),
        "security": security,
    }
    decided = gateway.ask("POST", "/gateway/v1/authorize", body=json.dumps(document).encode()).json()
    return {
        (200, 0) if auth.status == 204 else (int(auth.headers["x-portal-status"]), auth.code),
        (200, 0) if decided["allowed"] else (decided["status"], decided["code"]),
        *((200, 0) if one.status == 200 else (one.status, one.json()["code"]) for one in whole),
    }


def unsigned(key: ApiKey | str, query: bytes = b"symbol=BTCIRT", body: bytes = b"") -> Call:
    key_id = key if isinstance(key, str) else key.key_id
    return Call("POST" if body else "GET", "/api/v3/userDataStream", query, body, {"X-MBX-APIKEY": key_id})


REFUSED = {(401, -2015)}


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_key_route_passes_with_a_live_key_and_without_a_signature(
    process: GatewayProcess, key: ApiKey
) -> None:
    assert outcomes(process, unsigned(key), "signed") == {(400, -1102)}
    by_holder = BinanceClient(key.key_id, people.secret_of(key))
    signed_call = by_holder.call("GET", "/api/v3/trades", [("timestamp", str(time.time_ns() // 1_000_000))])
    assert outcomes(process, signed_call, "signed") == {(200, 0)}
    for call in (
        # No signature is looked at, so the answer does not say "signed".
        signed_call,
        unsigned(key),
        unsigned(key, b""),
        unsigned(key, b"timestamp=1&signature=x&signature=y&recvWindow=99999"),
        unsigned(key, b"", b"listenKey=abc"),
    ):
        assert outcomes(process, call, "key") == {(200, 0)}
        for answer in ask(process, call, "key"):
            portal = {name: value for name, value in answer.headers.items() if name.startswith("x-portal")}
            assert portal == {
                "x-portal-user": str(key.owner_id), "x-portal-key": key.key_id, "x-portal-permissions": "read",
                "x-portal-security": "key",
            }  # fmt: skip
    # The same key in memory does not make an unsigned request a signed one.
    assert outcomes(process, unsigned(key), "signed") == {(400, -1102)}
    assert outcomes(process, unsigned(key), "key", permission="trade") == REFUSED
    assert outcomes(process, unsigned(key), "key", address="nowhere") == REFUSED
    assert outcomes(process, unsigned("u" * 64), "key") == REFUSED
    assert outcomes(process, unsigned("short"), "key") == {(401, -2014)}
    assert outcomes(process, unsigned(""), "key") == {(401, -2014)}


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_key_that_is_not_live_does_not_pass_a_key_route(process: GatewayProcess, key: ApiKey) -> None:
    assert outcomes(process, unsigned(key), "key") == {(200, 0)}

    def changed() -> None:
        commit_barrier.changed()
        commit_barrier.wait()

    key.apply(["read"], "trusted", ["192.0.2.1"])
    changed()
    assert outcomes(process, unsigned(key), "key") == REFUSED
    assert outcomes(process, unsigned(key), "key", address="192.0.2.1") == {(200, 0)}
    key.set_state(KeyState.FROZEN)
    changed()
    assert outcomes(process, unsigned(key), "key", address="192.0.2.1") == REFUSED
    assert not RescueRequest.objects.filter(key=key).exists(), "nobody proved to be the holder"


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_revoked_key_does_not_pass_a_key_route(process: GatewayProcess, key: ApiKey) -> None:
    assert outcomes(process, unsigned(key), "key") == {(200, 0)}
    key.set_state(KeyState.REVOKED)
    commit_barrier.changed()
    commit_barrier.wait()
    assert outcomes(process, unsigned(key), "key") == REFUSED


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_public_route_passes_and_names_nobody(process: GatewayProcess, key: ApiKey) -> None:
    revoked = people.key_of(people.customer())
    revoked.set_state(KeyState.REVOKED)
    by_holder = BinanceClient(key.key_id, people.secret_of(key)).call(
        "GET", "/api/v3/depth", [("timestamp", str(time.time_ns() // 1_000_000))]
    )
    for call in (
        unsigned(key), unsigned(revoked), unsigned("u" * 64), unsigned("short"), unsigned(""), by_holder,
        unsigned(key, b"signature=x&signature=y"), unsigned(key, b"", b"a=1"),
    ):  # fmt: skip
        for address in (ADDRESS, "nowhere"):
            assert outcomes(process, call, "none", address=address) == {(200, 0)}
        for answer in ask(process, call, "none"):
            portal = {name: value for name, value in answer.headers.items() if name.startswith("x-portal")}
            assert portal == {"x-portal-security": "none"}
        document = {**as_json(call), "security": "none"}
        answer = process.ask("POST", "/gateway/v1/authorize", body=json.dumps(document).encode())
        assert answer.json() == {"allowed": True}
    bare = process.ask("POST", "/gateway/v1/authorize", body=b'{"security": "none"}')
    assert bare.json() == {"allowed": True}
    sent = {SECURITY: "none", "X-Original-URI": "/api/v3/time", "X-Client-IP": ADDRESS}
    assert process.ask("GET", "/gateway/v1/auth", sent).status == 204
    assert process.ask("GET", "/gateway/v1/auth", sent, token="").status == 403


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_header_chooses_no_weaker_type_before_the_operator_has_enabled_it(key: ApiKey) -> None:
    """SECURITY: a proxy from before the security types passes the client's X-Required-Security on."""
    with GatewayProcess(token(), {"PORTAL_GATEWAY_SECURITY_TYPES": "signed"}) as strict:
        for security in ("key", "none"):
            auth, *whole = ask(strict, unsigned(key), security)
            assert (auth.status, auth.code) == (403, -1000)
            assert {(one.status, one.json()["code"]) for one in whole} == {(400, -1000)}
        by_holder = BinanceClient(key.key_id, people.secret_of(key)).call(
            "GET", "/api/v3/account", [("timestamp", str(time.time_ns() // 1_000_000))]
        )
        assert outcomes(strict, by_holder, "signed") == {(200, 0)}
        # What the gateway's own program writes is not a client's.
        answer = strict.ask("POST", "/gateway/v1/authorize", body=b'{"security": "none"}')
        assert answer.json() == {"allowed": True}


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_request_without_a_permission_is_refused_in_each_form(process: GatewayProcess, key: ApiKey) -> None:
    client = BinanceClient(key.key_id, people.secret_of(key))
    call = client.call("GET", "/api/v3/account", [("timestamp", str(time.time_ns() // 1_000_000))])
    assert process.auth(call).status == 204
    sent = auth_headers(call)
    del sent[PERMISSION]
    answer = process.ask("GET", "/gateway/v1/auth", sent)
    assert (answer.status, answer.code, answer.headers["x-portal-status"]) == (403, -1000, "400")
    assert answer.headers["x-portal-message"] == "X-Required-Permission is missing"
    for form in ("check", "envoy"):
        answer = process.ask("GET", f"/gateway/v1/{form}{call.path}?{call.query.decode()}", sent)
        assert (answer.status, answer.json()) == (
            400, {"code": -1000, "msg": "X-Required-Permission is missing"},
        )  # fmt: skip
    document = as_json(call)
    del document["permission"]
    answer = process.ask("POST", "/gateway/v1/authorize", body=json.dumps(document).encode())
    assert (answer.status, answer.json()) == (400, {"error": "'permission' is missing"})


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_use_without_a_signature_reaches_the_owner(process: GatewayProcess, key: ApiKey) -> None:
    for _ in range(4):
        assert process.auth(unsigned(key), **{SECURITY: "key"}).status == 204
    assert process.auth(unsigned(key), "trade", **{SECURITY: "key"}).code == -2015
    deadline = time.monotonic() + 60
    wanted = {("allowed", "read"): 4, ("permission", "trade"): 1}
    while True:
        rows = DailyUse.objects.filter(key=key)
        results = {(row.outcome, row.permission): row.count for row in rows}
        if results == wanted or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert results == wanted
    assert AddressUse.objects.get(key=key).count == 4
    key.refresh_from_db()
    assert (key.last_used_ip, key.skew_ms) == (ADDRESS, None)


def test_names_of_the_unsigned_rate_are_no_public_ids() -> None:
    assert not is_key_id(KEY + gateway_authorizer.UNSIGNED_RATE)
