"""Envoy's ext_authz over gRPC: the same decisions as over HTTP, and never a yes without one."""

import asyncio
import dataclasses
import importlib.util
import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from grpclib import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeys.gateway import requests
from apikeys.gateway.authorizer import AuthorizationResult
from apikeys.gateway.endpoints import PREFIX, Endpoints
from apikeys.gateway.grpc import messages, service
from apikeys.gateway.http.messages import Headers
from apikeys.gateway.requests import (
    MAX_PAYLOAD_BYTES,
    AuthorizationRequest,
    AuthorizationRequestError,
    Security,
)
from apikeys.management.commands import run_gateway
from apikeys.models import ApiKey, GatewayToken
from apikeys.policy.choices import KeyState
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome
from apikeys.verification.records import DUMMY_KEY
from hitobit_portal.http import commit_barrier
from tests.apikeys.gateway.test_openapi_document import FakeAuthorizer, FakeTokens
from tests.support import ext_authz, people
from tests.support.binance_client import BinanceClient, Call
from tests.support.event_loops import run_in_thread
from tests.support.examples import times
from tests.support.ext_authz import CheckResponse, Pairs, check_request
from tests.support.gateways import ADDRESS, GatewayProcess, GatewayResponse, token
from tests.support.production import ROOT
from tests.support.servers import free_port

TARGET = b"/api/v3/order?a=1"
NEEDED: Pairs = [("x-required-permission", b"read"), ("x-client-ip", ADDRESS.encode())]


# --- the message ----------------------------------------------------------------------------------------------------


def read(message: bytes) -> AuthorizationRequest | str:
    """Return the parsed message, or why it is refused."""
    try:
        return messages.decode_request(message)
    except AuthorizationRequestError as error:
        return str(error)


def read_over_http(target: bytes, headers: Pairs, body: bytes) -> AuthorizationRequest | str:
    sent = Headers([name.encode() for name, _value in headers], [value for _name, value in headers])
    path, _mark, query = target.decode("latin-1").partition("?")
    try:
        return requests.from_check(sent, f"/gateway/v1/check{path}", query, body, method="POST")
    except AuthorizationRequestError as error:
        return str(error)


VALUES = st.sampled_from(
    [b"", b"signed", b"key", b"none", b"Key", b"signed,none", b"read", b"trade", b"withdraw", b"k" * 64, b"1.2.3.4",
     b"1.2.3.4:5", b"::1", b"10.0.0.1, 1.2.3.4", b"GET", b"POST", b"true", b"false", "\u06f1".encode()]
)  # fmt: skip
NAMES = st.sampled_from(
    ["x-mbx-apikey", "X-MBX-APIKEY", "x-client-ip", "x-real-ip", "x-forwarded-for", "x-required-permission",
     "x-required-security", "X-Required-Security", "x-original-method", "x-forwarded-method", "x-original-uri",
     "x-envoy-auth-partial-body", "x-portal-user", "x-other"]
)  # fmt: skip
TARGETS = st.sampled_from(
    [
        TARGET,
        b"/",
        b"/a",
        b"/a?",
        b"/a?b=%20+",
        b"/a#b?c=1",
        b"/a?b#c",
        b"/\xc3\xbc?a=1",
        b"/a?b=\xc3\xbc",
        b"/a?b?c",
    ]
)


@settings(max_examples=times(300), deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=7), TARGETS, st.sampled_from([b"", b"b=2", "ü".encode()]))
def test_message_is_read_like_the_same_request_over_http(
    headers: list[tuple[str, bytes]], target: bytes, body: bytes
) -> None:
    expected = read_over_http(target, headers, body)
    assert read(check_request(target, headers, body)) == expected
    assert read(check_request(target, headers, body, raw=False)) == expected


def test_examples_of_the_comparison_are_read_and_refused() -> None:
    """A guard: the property test above compares both kinds."""
    assert isinstance(read(check_request(TARGET, NEEDED)), AuthorizationRequest)
    assert read(check_request(TARGET, [])) == "X-Required-Permission is missing"
    assert read(check_request(TARGET, [*NEEDED, NEEDED[0]])) == "X-Required-Permission occurs more than once"


def test_raw_headers_may_contain_any_byte() -> None:
    sent: Pairs = [*NEEDED, ("x-mbx-apikey", b"\xff\x80")]
    parsed = read(check_request(TARGET, sent, b"\xff"))
    assert parsed == read_over_http(TARGET, sent, b"\xff")
    assert isinstance(parsed, AuthorizationRequest)
    assert (parsed.api_key, parsed.body) == ("\xff\x80", b"\xff")


@pytest.mark.parametrize("security", [b"signed", b"key", b"none"])
@pytest.mark.parametrize("target", [None, b"", b"*", b"api.example:443", b"http://api.example/", b"?a=1"])
def test_message_without_a_path_is_refused_for_each_security_type(
    target: bytes | None, security: bytes
) -> None:
    assert read(check_request(target, [*NEEDED, ("x-required-security", security)])) == "the path is missing"


@pytest.mark.parametrize("message", [b"", ext_authz.field(1, b""), ext_authz.field(9, b"other field")])
def test_empty_message_is_refused(message: bytes) -> None:
    assert read(message) == "the path is missing"


@pytest.mark.parametrize(
    "message", [b"\xff", b"\x0a\xff", b"GET / HTTP/1.1", check_request(TARGET, NEEDED)[:-1]]
)
def test_message_that_cannot_be_decoded_is_refused(message: bytes) -> None:
    assert read(message) == "the message is not a CheckRequest"


def test_text_that_is_not_utf_8_is_refused() -> None:
    assert read(check_request(b"/a?b=\xff", NEEDED)) == "the message is not a CheckRequest"


def test_context_extensions_are_refused_since_they_are_not_read() -> None:
    message = check_request(TARGET, NEEDED, extensions=[("permission", b"withdraw")])
    assert read(message) == "context_extensions are not read: set X-Required-Permission"


def test_two_bodies_are_refused() -> None:
    both = ext_authz.field(4, TARGET) + ext_authz.field(11, b"a") + ext_authz.field(12, b"b")
    message = ext_authz.field(1, ext_authz.field(4, ext_authz.field(2, both)))
    assert read(message) == "there are two bodies"


@pytest.mark.parametrize(
    "more",
    [
        [(":path", b"/api/v3/order?a=1&b=2")],
        [(":path", b"/api/v3/order?a=\xff")],
        [(":path", TARGET), (":path", b"/")],
        [("content-length", b"5")],
        [("content-length", b"3"), ("content-length", b"5")],
        [("x-envoy-auth-partial-body", b"true")],
    ],
)
def test_what_was_not_in_the_message_is_not_signed(more: list[tuple[str, bytes]]) -> None:
    parsed = read(check_request(TARGET, [*NEEDED, *more], b"b=2"))
    assert isinstance(parsed, AuthorizationRequest)
    assert parsed.query.endswith(requests.UNSIGNABLE)
    for security in (b"key", b"none"):
        assert isinstance(
            read(check_request(TARGET, [*NEEDED, *more, ("x-required-security", security)], b"b=2")), str
        )
    same: Pairs = [
        *NEEDED,
        (":path", TARGET),
        ("content-length", b"3"),
        ("x-envoy-auth-partial-body", b"false"),
    ]
    assert read(check_request(TARGET, same, b"b=2")) == read(check_request(TARGET, NEEDED, b"b=2"))


def test_headers_that_only_the_portal_sets_are_removed_unless_it_sets_them() -> None:
    public = messages.encode_response(
        AuthorizationResult(Decision.of(Outcome.ALLOWED), security=requests.Security.NONE)
    )
    response = CheckResponse.parse(public)
    assert response.headers == {"x-portal-security": "none"}
    assert response.removed == {"x-portal-user", "x-portal-subject", "x-portal-key", "x-portal-permissions"}


def test_subject_is_named_or_what_the_client_sent_as_one_is_removed() -> None:
    for subject, removed in (("", {"x-portal-subject"}), ("ext-7", set())):
        record = dataclasses.replace(DUMMY_KEY, user="7", key="k" * 64, subject=subject)
        yes = AuthorizationResult(Decision.of(Outcome.ALLOWED), record)
        response = CheckResponse.parse(messages.encode_response(yes))
        assert response.headers.get("x-portal-subject", "") == subject
        assert response.removed == removed


# --- the call -------------------------------------------------------------------------------------------------------


def answer(
    message: bytes,
    *tokens: str,
    decision: Decision | None = None,
    valid: bool | None = True,
    authorizer: Any = None,
    method: str = ext_authz.CHECK,
    calls: int = 1,
) -> list[CheckResponse | Status]:
    """Return the answers of a service whose authorizer has one decision; None: `Unavailable`."""

    async def run() -> list[CheckResponse | Status]:
        tokens_cache: Any = FakeTokens(valid)
        fake: Any = authorizer or FakeAuthorizer(decision)
        endpoints = Endpoints(fake, tokens_cache, _ready, "", str, tuple(Security))
        port = free_port()
        server = await service.listen(endpoints, "127.0.0.1", port)
        try:
            return [await ext_authz.call(port, message, *tokens, method=method) for _ in range(calls)]
        finally:
            await service.close(server)

    return run_in_thread(run())


async def _ready() -> bool:
    return True


def test_each_outcome_is_answered_with_the_clients_status_and_body() -> None:
    for outcome in Outcome:
        decision = Decision.of(outcome)
        (response,) = answer(check_request(TARGET, NEEDED), "t", decision=decision)
        assert isinstance(response, CheckResponse)
        assert response.allowed is decision.allowed
        if not decision.allowed:
            assert (response.status, json.loads(response.body)) == (
                decision.status, {"code": decision.code, "msg": decision.msg},
            )  # fmt: skip
            assert response.headers["content-type"] == "application/json"
            assert response.headers["cache-control"] == "no-store"


ALLOWED = Decision.of(Outcome.ALLOWED)


@pytest.mark.parametrize("tokens", [(), ("t", "t"), ("t", "u")])
def test_call_without_exactly_one_token_is_refused(tokens: tuple[str, ...]) -> None:
    class AnyToken(FakeTokens):
        async def is_valid(self, header: str | None) -> bool:
            return header is not None

    async def run() -> CheckResponse | Status:
        cache: Any = AnyToken(True)
        authorizer: Any = FakeAuthorizer(ALLOWED)
        endpoints, port = Endpoints(authorizer, cache, _ready, "", str), free_port()
        server = await service.listen(endpoints, "127.0.0.1", port)
        try:
            assert isinstance(await ext_authz.call(port, check_request(TARGET, NEEDED), "t"), CheckResponse)
            return await ext_authz.call(port, check_request(TARGET, NEEDED), *tokens)
        finally:
            await service.close(server)

    assert run_in_thread(run()) is Status.UNAUTHENTICATED


def test_wrong_token_is_refused_before_the_message_is_read() -> None:
    for message in (check_request(TARGET, NEEDED), b"\xff"):
        assert answer(message, "t", decision=ALLOWED, valid=False) == [Status.UNAUTHENTICATED]


class _Failing:
    def authorize_fast(self, *_arguments: bytes) -> None:
        return None

    async def authorize(self, _request: object) -> AuthorizationResult:
        raise LookupError


def test_call_without_a_decision_is_never_a_yes(caplog: pytest.LogCaptureFixture) -> None:
    """SECURITY: an empty CheckResponse would let the request pass."""
    message = check_request(TARGET, NEEDED)
    assert answer(message, "t", decision=None) == [Status.UNAVAILABLE]
    assert answer(message, "t", decision=ALLOWED, valid=None) == [Status.UNAVAILABLE]
    assert answer(message, "t", authorizer=_Failing()) == [Status.UNKNOWN]
    for bad in (b"\xff", b"", check_request(None, NEEDED), check_request(TARGET, [])):
        (response,) = answer(bad, "t", decision=ALLOWED)
        assert isinstance(response, CheckResponse)
        assert (response.allowed, response.status, json.loads(response.body)["code"]) == (False, 400, -1000)
    other = "/envoy.service.auth.v2.Authorization/Check"
    (status,) = answer(message, "t", decision=ALLOWED, method=other)
    assert isinstance(status, Status)


def test_refused_message_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "portal.gateway")
    answer(check_request(None, NEEDED), "t", decision=ALLOWED, calls=3)
    assert [record.getMessage() for record in caplog.records if record.name == "portal.gateway"] == [
        "gateway request refused: the path is missing (logged once)"
    ]


# --- the process ----------------------------------------------------------------------------------------------------


class GrpcGateway(GatewayProcess):
    """``manage.py run_gateway --grpc-port``."""

    def __init__(self, bearer: str, environ: dict[str, str] | None = None, workers: int = 1) -> None:
        super().__init__(bearer, environ, grpc=True)
        self.arguments = (*self.arguments, "--workers", str(workers))

    def check(self, message: bytes, *tokens: str) -> CheckResponse | Status:
        return run_in_thread(self._until_answered(message, *(tokens or (self.bearer,))))

    async def _until_answered(self, message: bytes, *tokens: str) -> CheckResponse | Status:
        # The port is opened right after that of HTTP.
        while True:
            try:
                return await ext_authz.call(self.grpc_port, message, *tokens)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def process(kept_db: None) -> Iterator[GrpcGateway]:
    with GrpcGateway(token()) as process:
        yield process


@pytest.fixture
def key() -> ApiKey:
    key = people.key_of(people.customer())
    key.apply(["read", "trade"], "unrestricted", [])
    return key


def signed(
    key: ApiKey, query: str = "", form: str = "", method: str = "POST", secret: str = "", **more: str
) -> Call:
    client = BinanceClient(key.key_id, secret or people.secret_of(key))
    pairs: list[list[Any]] = [
        [tuple(pair.split("=")) for pair in text.split("&") if text] for text in (query, form)
    ]
    pairs[1 if form else 0] += [("timestamp", str(time.time_ns() // 1_000_000)), *more.items()]
    return client.call(method, "/api/v3/order", *pairs, sign_in="body" if form else "query")


def both(
    gateway: GrpcGateway,
    call: Call,
    permission: str = "trade",
    security: str = "signed",
    address: str = ADDRESS,
) -> tuple[GatewayResponse, CheckResponse | Status]:
    """Ask the same over HTTP and over gRPC."""
    sent = {"X-Client-IP": address, "X-Required-Permission": permission, "X-Required-Security": security}
    if "X-MBX-APIKEY" in call.headers:
        sent["X-MBX-APIKEY"] = call.headers["X-MBX-APIKEY"]
    target = call.path + ("?" + call.query.decode() if call.query else "")
    over_http = gateway.ask(call.method, f"{PREFIX}check{target}", sent, call.body or None)
    headers = [(name.lower(), value.encode()) for name, value in sent.items()]
    return over_http, gateway.check(check_request(target.encode(), headers, call.body))


def agree(
    gateway: GrpcGateway,
    call: Call,
    permission: str = "trade",
    security: str = "signed",
    address: str = ADDRESS,
) -> int:
    """Return the code of both answers, 0 for a request that is allowed."""
    http, grpc = both(gateway, call, permission, security, address)
    assert isinstance(grpc, CheckResponse)
    assert (grpc.status, grpc.allowed) == (http.status, http.status == 200)
    if grpc.allowed:
        portal = {name: value for name, value in http.headers.items() if name.startswith("x-portal-")}
        assert grpc.headers == portal
        return 0
    assert grpc.body == http.body.decode()
    return int(json.loads(grpc.body)["code"])


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_decisions_over_grpc_are_those_over_http(process: GrpcGateway, key: ApiKey) -> None:
    for query, body in (("symbol=A", ""), ("", "symbol=A"), ("symbol=A", "quantity=1")):
        right = signed(key, query, body)
        assert agree(process, right) == 0
        assert (
            agree(process, Call(right.method, right.path, right.query, right.body + b"&a=2", right.headers))
            == -1022
        )
        assert (
            agree(process, Call(right.method, right.path, right.query + b"&a=2", right.body, right.headers))
            == -1022
        )
    call = signed(key, "symbol=A")
    assert agree(process, call, "withdraw") == -2015
    assert agree(process, call, "") == -1000
    assert agree(process, call, "trade", "Key") == -1000
    assert agree(process, signed(key, "a=1", secret="w" * 64)) == -1022
    assert agree(process, signed(key, "a=1", recvWindow="60001")) == -1131
    assert agree(process, signed(key, "timestamp=1499827319559")) == -1101
    assert agree(process, Call("GET", "/api/v3/order", b"timestamp=1", b"", {})) == -2014
    assert agree(process, Call("GET", "/api/v3/order", b"", b"", call.headers), "read", "key") == 0
    assert agree(process, Call("GET", "/api/v3/time", b"", b"", {}), "", "none") == 0
    large = Call("POST", call.path, call.query, b"a" * MAX_PAYLOAD_BYTES, call.headers)
    assert agree(process, large) == -1000
    key.apply(["read", "trade"], "trusted", ["198.51.100.1"])
    commit_barrier.changed()
    commit_barrier.wait()
    assert agree(process, signed(key, "symbol=A")) == -2015
    assert agree(process, signed(key, "symbol=A"), address="198.51.100.1") == 0
    key.set_state(KeyState.REVOKED)
    commit_barrier.changed()
    commit_barrier.wait()
    assert agree(process, signed(key, "symbol=A"), address="198.51.100.1") == -2015
    assert agree(process, Call("GET", "/a", b"", b"", call.headers), "read", "key", "198.51.100.1") == -2015


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_token_that_is_revoked_ends_the_calls_of_its_gateway(process: GrpcGateway) -> None:
    message = check_request(TARGET, [*NEEDED, ("x-required-security", b"none")])
    bearer = token("for a call over gRPC")
    assert isinstance(process.check(message, bearer), CheckResponse)
    GatewayToken.objects.filter(name="for a call over gRPC").delete()
    commit_barrier.changed()
    commit_barrier.wait()
    assert process.check(message, bearer) is Status.UNAUTHENTICATED
    assert process.check(message, "hbgw_unknown") is Status.UNAUTHENTICATED


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_several_workers_share_the_port_and_stop_with_an_open_connection(key: ApiKey) -> None:
    with GrpcGateway(token(), workers=2) as process:
        for _ in range(8):
            assert agree(process, signed(key, "symbol=A")) == 0


def test_one_port_for_both_protocols_is_an_error() -> None:
    with pytest.raises(CommandError, match="--grpc-port and --port are the same"):
        call_command("run_gateway", "--port", "8002", "--grpc-port", "8002")


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
@pytest.mark.parametrize("workers", [1, 2])
def test_port_of_another_program_is_an_error(workers: int) -> None:
    process = GrpcGateway("", workers=workers)
    with socket.create_server(("127.0.0.1", process.grpc_port)):
        finished = subprocess.run(
            [sys.executable, "manage.py", "run_gateway", *process.arguments],
            cwd=ROOT, env=process.environ, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    assert finished.returncode == 1
    assert f"cannot listen on 127.0.0.1, port {process.grpc_port}" in finished.stderr


def test_option_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    for missing in ("grpclib", "google"):

        def without(name: str, package: str | None = None, missing: str = missing) -> Any:
            if name.partition(".")[0] != missing:
                return find(name, package)
            if "." in name:
                raise ModuleNotFoundError(name=missing)
            return None

        with monkeypatch.context() as patched:
            patched.setattr("importlib.util.find_spec", without)
            assert not run_gateway.has_grpc_packages()
            with pytest.raises(CommandError, match=r"pip install --require-hashes -r requirements-grpc\.txt"):
                call_command("run_gateway", "--grpc-port", "8002")
    assert run_gateway.has_grpc_packages()
