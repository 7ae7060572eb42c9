"""How a request may be described: sent whole, by headers of several proxies, and with an answer for the client."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeys.gateway import requests
from apikeys.gateway.app import OPENAPI
from apikeys.gateway.endpoints import AUTH, MAX_BODY_BYTES, PREFIX, Endpoints
from apikeys.gateway.http.messages import Headers, HttpRequest
from apikeys.gateway.requests import MAX_PAYLOAD_BYTES, UNSIGNABLE, AuthorizationRequestError
from apikeys.models import ApiKey
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome
from tests.apikeys.gateway.test_authorizer import ADDRESS, make_request
from tests.apikeys.gateway.test_endpoints import TOKEN, LocalEndpoints
from tests.apikeys.gateway.test_openapi_document import FakeAuthorizer, FakeConnection, FakeTokens
from tests.apikeys.gateway.test_security_types import headers
from tests.support import people
from tests.support.binance_client import BinanceClient, Call
from tests.support.event_loops import run_in_thread
from tests.support.examples import times as examples
from tests.support.gateways import GatewayProcess, GatewayResponse, auth_headers, token

URI = "/api/v3/order?a=1"


def read(query: str = "", **changed: str | list[str] | None) -> requests.AuthorizationRequest:
    """Parse a sub-request of /auth."""
    return requests.from_auth(headers(**changed), query, b"")


def problem(query: str = "", **changed: str | list[str] | None) -> str:
    """Return why a sub-request of /auth is refused."""
    with pytest.raises(AuthorizationRequestError) as refused:
        read(query, **changed)
    return str(refused.value)


# --- the original method and path, for the key's owner --------------------------------------------------------------


def test_every_form_says_which_method_and_path_were_sent() -> None:
    for changed in SAME_URI:
        for method in ("x_original_method", "x_forwarded_method"):
            sent = requests.from_auth(headers(**{**changed, method: "DELETE"}), "", b"")
            assert sent.line == ("DELETE", "/api/v3/order")
    for prefix in ("/gateway/v1/check", "/gateway/v1/envoy"):
        sent = requests.from_check(
            headers(x_original_uri=None), f"{prefix}/api/v3/order", "a=1", b"", method="DELETE"
        )
        assert sent.line == ("DELETE", "/api/v3/order")
    document = {"permission": "read", "method": "DELETE", "path": "/api/v3/order"}
    assert requests.from_json(document)[0][0].line == ("DELETE", "/api/v3/order")
    assert requests.from_json({"permission": "read"})[0][0].line == ("", "")


# --- several headers for one thing ----------------------------------------------------------------------------------

#: Headers that name the same URI.
SAME_URI: list[dict[str, str | None]] = [
    {"x_original_uri": URI},
    {"x_original_uri": None, "x_forwarded_uri": URI},
    {"x_original_uri": None, "x_original_url": f"https://api.example{URI}"},
    {"x_original_uri": None, "x_original_url": f"HTTP://[2001:db8::1]:8080{URI}"},
    {"x_original_uri": None, "x_original_url": f"http://my_host-1.example:80{URI}"},
    {"x_original_uri": URI, "x_forwarded_uri": URI, "x_original_url": f"https://api.example{URI}"},
]
#: Headers that leave open which request was sent.
OPEN_URI: list[dict[str, str | list[str] | None]] = [
    {"x_original_uri": None},
    {"x_original_uri": [URI, URI]},
    {"x_original_uri": None, "x_forwarded_uri": [URI, URI]},
    {"x_original_uri": None, "x_original_url": [f"https://a{URI}", f"https://a{URI}"]},
    {"x_forwarded_uri": URI + "&b=2"},
    {"x_forwarded_uri": "/api/v3/account?a=1"},
    {"x_forwarded_uri": ""},
    {"x_original_url": f"https://a{URI}&b=2"},
    {"x_original_url": f"https://a/x{URI}"},
    # The client chooses the host, and nginx accepts nearly everything in it.
    {"x_original_uri": None, "x_original_url": f"https://a?a=1{URI}"},
    {"x_original_uri": None, "x_original_url": f"https://a#{URI}"},
    {"x_original_uri": None, "x_original_url": f"https://a@b{URI}"},
    {"x_original_uri": None, "x_original_url": f"https://a\\{URI}"},
    {"x_original_uri": None, "x_original_url": f"https://{URI}"},
    {"x_original_uri": None, "x_original_url": "https://a?a=1"},
    {"x_original_uri": None, "x_original_url": "https://a"},
    {"x_original_uri": None, "x_original_url": URI},
    {"x_original_uri": None, "x_original_url": f"//a{URI}"},
    {"x_original_uri": None, "x_original_url": f"ftp://a{URI}"},
    {"x_original_uri": None, "x_original_url": f"https://a{URI} https://b{URI}"[:9]},
    {"x_original_uri": "/a#b?a=1"},
    {"x_original_uri": "/\xc3\xbc?a=1"},
]


@pytest.mark.parametrize("sent", SAME_URI)
def test_original_uri_is_read_from_the_headers_of_each_proxy(sent: dict[str, str | None]) -> None:
    for query in ("", "a=1"):
        for security in ("signed", "key", "none"):
            assert read(query, x_required_security=security, **sent).query == b"a=1"


@pytest.mark.parametrize("sent", OPEN_URI)
def test_uri_that_is_not_certain_is_refused_for_each_security_type(sent: dict[str, Any]) -> None:
    assert read(**sent).query.endswith(UNSIGNABLE)
    for security in ("key", "none"):
        assert problem(x_required_security=security, **sent)


def test_query_string_of_the_subrequest_is_that_of_the_request_or_none() -> None:
    for query in (
        "a=2",
        "a=1&b=2",
        "answer=client&a=1",
        "a=1&answer=client",
        "answer=Client",
        "answer=client&",
        "%61=1",
    ):
        assert read(query).query.endswith(UNSIGNABLE), query
        for security in ("key", "none"):
            assert problem(query, x_required_security=security) == "the sub-request has another query string"
    assert read("answer=client").query == read("a=1").query == b"a=1"


@pytest.mark.parametrize("security", ["signed", "key", "none"])
def test_body_that_is_not_complete_is_refused_for_each_security_type(security: str) -> None:
    for trailer, cut in ((True, None), (False, "true"), (True, "false"), (False, ["false", "true"])):
        sent = headers(x_required_security=security, x_envoy_auth_partial_body=cut)
        parsers: list[Callable[[], requests.AuthorizationRequest]] = [
            partial(requests.from_auth, sent, "", b"", trailer=trailer),
            partial(requests.from_check, sent, "/", "a=1", b"", trailer=trailer),
        ]
        for parse in parsers:
            if security == "signed":
                assert parse().query == b"a=1" + UNSIGNABLE
            else:
                with pytest.raises(AuthorizationRequestError):
                    parse()


#: X-Client-IP, X-Real-IP, X-Forwarded-For, and the address; "": refused.
ADDRESSES: list[tuple[str | list[str] | None, str | list[str] | None, str | list[str] | None, str | None]] = [
    ("203.0.113.9", None, None, "203.0.113.9"),
    (None, "203.0.113.9", None, "203.0.113.9"),
    (None, None, "10.0.0.1, 203.0.113.9", "203.0.113.9"),
    ("203.0.113.9", "203.0.113.9", "203.0.113.9", "203.0.113.9"),
    ("203.0.113.9", "[::ffff:203.0.113.9]:80", None, "203.0.113.9"),
    (None, "203.0.113.9:80", "203.0.113.9", "203.0.113.9"),
    # A proxy in between: the last entry is its address.
    ("203.0.113.9", None, "203.0.113.9, 10.0.0.1", "203.0.113.9"),
    ("203.0.113.9", "203.0.113.9", "203.0.113.9, 10.0.0.1", "203.0.113.9"),
    # One of the two was sent by the client.
    ("203.0.113.9", "198.51.100.1", None, ""),
    ("203.0.113.9", "198.51.100.1", "198.51.100.1", ""),
    ("203.0.113.9", "", None, ""),
    ("203.0.113.9", "unknown", None, ""),
    (None, "203.0.113.9", "198.51.100.1", ""),
    (None, "203.0.113.9", "203.0.113.9, 198.51.100.1", ""),
    (None, "203.0.113.9", "", ""),
    (None, ["203.0.113.9", "203.0.113.9"], None, None),
    (["203.0.113.9", "203.0.113.9"], "203.0.113.9", None, None),
    ("203.0.113.9", ["203.0.113.9", "198.51.100.1"], None, None),
    (None, None, None, None),
    (None, None, ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
]


@pytest.mark.parametrize(("client", "real", "forwarded", "address"), ADDRESSES)
def test_source_address_is_certain_or_refused(
    client: str | list[str] | None,
    real: str | list[str] | None,
    forwarded: str | list[str] | None,
    address: str | None,
) -> None:
    sent: dict[str, Any] = {"x_client_ip": client, "x_real_ip": real, "x_forwarded_for": forwarded}
    if address == "":
        assert problem(**sent) == "X-Real-IP is not the address in X-Client-IP or X-Forwarded-For"
    else:
        assert read(**sent).client_ip == address


def test_methods_that_contradict_each_other_are_refused() -> None:
    wanted = "X-Original-Method and X-Forwarded-Method name more than one method"
    for original, forwarded in ((None, None), ("POST", None), (None, "POST"), ("POST", "POST")):
        assert read(x_original_method=original, x_forwarded_method=forwarded).query == b"a=1"
    for first, second in (
        ("GET", "POST"),
        ("GET", "get"),
        (["GET", "GET"], None),
        (None, ["GET", "POST"]),
        ("", "GET"),
    ):
        for security in ("signed", "key", "none"):
            sent: dict[str, Any] = {"x_original_method": first, "x_forwarded_method": second}
            assert problem(x_required_security=security, **sent) == wanted


# --- the fast path --------------------------------------------------------------------------------------------------


def test_fast_path_takes_the_headers_of_each_proxy() -> None:
    local = LocalEndpoints()
    uri, address = b"/api/v3/account?" + make_request().query, ADDRESS.encode()
    original: dict[str, bytes | None] = {"X-Original-URI": None}
    client: dict[str, bytes | None] = {"X-Client-IP": None}
    fast: list[tuple[dict[str, bytes | None], list[tuple[str, bytes]]]] = [
        (original, [("X-Forwarded-Uri", uri)]),
        ({}, [("X-Forwarded-For", b"192.0.2.1, 10.0.0.1"), ("X-Forwarded-For", b"x")]),
        ({}, [("X-Real-IP", address)]),
        (client, [("X-Real-IP", address)]),
        (client, [("X-Forwarded-For", address)]),
        (client, [("X-Forwarded-For", address), ("X-Real-Ip", address)]),
        ({}, [("X-Original-Method", b"POST"), ("X-Required-Security", b"signed"), ("X-Portal-Answer", b"client")]),
        ({**original, **client}, [
            ("X-Forwarded-Method", b"GET"), ("X-Forwarded-Proto", b"https"), ("X-Forwarded-Host", b"api"),
            ("X-Forwarded-Uri", uri), ("X-Forwarded-For", address),
        ]),
    ]  # fmt: skip
    for changed, more in fast:
        for target in (AUTH.encode(), AUTH.encode() + b"?answer=client"):
            changed = {name: uri if value == b"" else value for name, value in changed.items()}
            assert local.handle_fast({"X-Original-URI": uri, **changed}, *more, target=target) is not None, (
                more
            )
    slow: list[tuple[dict[str, bytes | None], list[tuple[str, bytes]]]] = [
        ({}, [("X-Forwarded-Uri", uri + b"&a=1")]),
        ({}, [("X-Forwarded-Uri", uri), ("X-Forwarded-Uri", uri)]),
        ({}, [("X-Original-URL", b"https://a" + uri)]),
        ({}, [("X-Real-IP", b"192.0.2.1")]),
        ({}, [("X-Real-IP", address), ("X-Real-IP", address)]),
        (client, [("X-Forwarded-For", b"192.0.2.1, " + address)]),
        (client, [("X-Forwarded-For", address), ("X-Forwarded-For", address)]),
        (client, [("X-Forwarded-For", address), ("X-Real-IP", b"192.0.2.1")]),
        (client, []),
        (original, []),
        ({}, [("X-Original-Method", b"GET"), ("X-Forwarded-Method", b"POST")]),
        ({}, [("X-Original-Method", b"GET"), ("X-Original-Method", b"GET")]),
    ]
    for _ in range(2):
        for changed, more in slow:
            assert local.handle_fast({"X-Original-URI": uri, **changed}, *more) is None, more
    for target in (b"?answer=Client", b"?answer=client&", b"?a=1", b"?"):
        assert local.handle_fast(target=AUTH.encode() + target) is None


def test_fast_path_answers_only_what_the_endpoints_allow() -> None:
    """Each set of headers that the fast path takes parses to the request that it decided."""
    local = LocalEndpoints()
    uri, address = b"/api/v3/account?" + make_request().query, ADDRESS.encode()
    names = {
        "X-Original-URI": [uri, uri + b"&a=1"], "X-Forwarded-Uri": [uri, b"/"], "X-Original-URL": [b"https://a" + uri],
        "X-Client-IP": [address, b"192.0.2.1"], "X-Real-IP": [address, b"192.0.2.1", address + b":1"],
        "X-Forwarded-For": [address, b"192.0.2.1, " + address, address + b", 192.0.2.1"],
        "X-Original-Method": [b"GET", b"POST"], "X-Forwarded-Method": [b"GET", b"get"],
        "X-Required-Security": [b"signed", b"key", b"none", b"signed "],
        "X-Required-Permission": [b"read", b"trade", b""], "X-MBX-APIKEY": [b"k" * 64],
        "X-Portal-Answer": [b"client", b"x"],
    }  # fmt: skip
    usual = [("Authorization", TOKEN), ("X-MBX-APIKEY", b"k" * 64), ("X-Required-Permission", b"read")]
    field = st.sampled_from([(name, value) for name, values in names.items() for value in values])
    likely = st.tuples(
        st.sampled_from(["X-Original-URI", "X-Forwarded-Uri"]).map(lambda name: (name, uri)),
        st.sampled_from(["X-Client-IP", "X-Real-IP", "X-Forwarded-For"]).map(lambda name: (name, address)),
    ).map(list)
    seen = {True: 0, False: 0}
    decided: list[tuple[bytes, ...]] = []
    authorizer = local.endpoints._authorizer
    real = authorizer.authorize_fast

    def authorize_fast(*arguments: bytes) -> Any:
        decided.append(arguments)
        return real(*arguments)

    authorizer.authorize_fast = authorize_fast  # type: ignore[assignment]

    @settings(max_examples=examples(400), database=None, deadline=None)
    @given(likely, st.lists(field, max_size=2), st.permutations(usual))
    def agree(
        first: list[tuple[str, bytes]], more: list[tuple[str, bytes]], rest: list[tuple[str, bytes]]
    ) -> None:
        pairs = [*rest, *first, *more]
        sent = [name.encode() for name, _value in pairs], [value for _name, value in pairs]
        fast = local.endpoints.handle_fast(b"GET", AUTH.encode(), *sent)
        seen[fast is not None] += 1
        if fast is not None:
            request = requests.from_auth(Headers(*sent), "", b"")
            parsed = (
                request.api_key or "",
                request.query.decode(),
                request.client_ip or "",
                request.permission,
            )
            assert decided[-1] == tuple(text.encode() for text in parsed)
            assert request.security is requests.Security.SIGNED

    agree()
    assert min(seen.values()) >= 0.1 * sum(seen.values()), seen


# --- what is answered, and logged -----------------------------------------------------------------------------------


WRONG = Decision.of(Outcome.SIGNATURE)


def respond(
    target: str,
    sent: dict[str, str],
    *,
    decision: Decision | None = WRONG,
    valid: bool | None = True,
    body: bytes | None = b"",
    method: str = "GET",
    times: int = 1,
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the response. ``body`` None: announced, and never received."""

    async def run() -> bytes:
        authorizer: Any = FakeAuthorizer(decision)
        tokens: Any = FakeTokens(valid)
        endpoints = Endpoints(authorizer, tokens, _ready, "{}", str)
        for _ in range(times):
            length = {} if body == b"" else {"content-length": "9" if body is None else str(len(body))}
            fields = {
                "x-required-permission": "read",
                **length,
                **{name.lower(): v for name, v in sent.items()},
            }
            names, values = [name.encode() for name in fields], [value.encode() for value in fields.values()]
            request = HttpRequest(
                FakeConnection(), method.encode(), target.encode(), Headers(names, values), True
            )
            if body is not None:
                request.feed(body)
                request.end()
            await endpoints.handle(request)
        assert request.response is not None
        return request.response

    head, _end, content = run_in_thread(run()).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split(" ")[1]), dict(line.lower().split(": ", 1) for line in lines), content


async def _ready() -> bool:
    return True


ORIGINAL = {"X-Original-URI": "/api/v3/order?a=1"}
CLIENT_FORMS = [
    (AUTH + "?answer=client", {}), (AUTH, {"X-Portal-Answer": "client"}),
    (AUTH + "?a=1", {"X-Portal-Answer": "client"}),
    (PREFIX + "check/api/v3/order", {}), (PREFIX + "envoy/api/v3/order", {}),
    (PREFIX + "check/api/v3/order?answer=headers", {"X-Portal-Answer": "headers"}),
]  # fmt: skip


@pytest.mark.parametrize(("target", "more"), CLIENT_FORMS)
def test_rejection_has_the_clients_status_and_body_where_it_is_passed_on(
    target: str, more: dict[str, str]
) -> None:
    sent = {**ORIGINAL, **more}
    for outcome in Outcome:
        decision = Decision.of(outcome)
        if decision.allowed:
            continue
        status, fields, body = respond(target, sent, decision=decision)
        assert (status, json.loads(body)) == (decision.status, {"code": decision.code, "msg": decision.msg})
        assert (fields["content-type"], fields["cache-control"]) == ("application/json", "no-store")
        assert not [name for name in fields if name.startswith("x-portal")]
    status, fields, body = respond(target, sent, decision=None)
    assert (status, fields["retry-after"], json.loads(body)["code"]) == (503, "1", -1001)
    status, _fields, body = respond(target, sent, valid=None)
    assert (status, json.loads(body)["code"]) == (503, -1001)
    status, _fields, body = respond(target, sent, body=bytes(MAX_BODY_BYTES + 1), method="POST")
    assert (status, json.loads(body)) == (413, {"code": -1000, "msg": "The request is too large."})
    status, _fields, body = respond(target, {**sent, "X-Required-Security": "x"})
    assert (status, json.loads(body)["code"]) == (400, -1000)
    # Without a token nobody learns anything.
    assert respond(target, sent, valid=False)[::2] == (403, b"")


def test_late_body_has_an_answer_for_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apikeys.gateway.endpoints.BODY_TIMEOUT_SECONDS", 0.01)
    for target, wanted in ((AUTH, b""), (AUTH + "?answer=client", -1000), (PREFIX + "check/x", -1000)):
        status, fields, body = respond(target, ORIGINAL, body=None, method="POST")
        assert (status, fields["connection"]) == (408, "close")
        assert (json.loads(body)["code"] if body else body) == wanted


def test_client_does_not_choose_the_form_of_the_answer_by_its_own_query_string() -> None:
    """SECURITY: a proxy that passes the query string on sends the client's, not its operator's."""
    for target, uri in (
        (AUTH, "/api/v3/order?answer=client"),
        (AUTH + "?answer=client", "/api/v3/order?answer=client"),
        (AUTH + "?a=1", URI),
        (AUTH + "?answer=Client", URI),
        (AUTH + "?answer=client&answer=client", URI),
    ):
        for name in ("X-Original-URI", "X-Forwarded-Uri"):
            status, fields, body = respond(target, {name: uri})
            assert (status, fields["x-portal-status"], body) == (403, "400", b"")
    status, fields, body = respond(AUTH, {**ORIGINAL, "X-Portal-Answer": "Client"})
    assert (status, fields["x-portal-status"], body) == (403, "400", b"")


def test_body_over_the_limit_is_refused_in_words_that_a_proxy_understands() -> None:
    status, fields, body = respond(AUTH, ORIGINAL, body=bytes(MAX_BODY_BYTES + 1), method="POST")
    assert (status, fields["x-portal-status"], fields["x-portal-code"], body) == (403, "413", "-1000", b"")


def test_refused_request_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "portal.gateway")
    for target, sent, body, logged in (
        (AUTH, {"X-Required-Permission": ""}, b"", "X-Required-Permission is missing"),
        (
            PREFIX + "check/x",
            {"X-Required-Security": "x"},
            b"",
            "X-Required-Security is not signed, key or none",
        ),
        (PREFIX + "authorize", {}, b'{"query": ""}', "'permission' is missing"),
        (PREFIX + "authorize", {}, b'{"query": "", "query": ""}', "an object has a duplicate name"),
        (AUTH, {}, bytes(MAX_BODY_BYTES + 1), "the body is too large"),
    ):
        caplog.clear()
        respond(target, {**ORIGINAL, **sent}, body=body, method="POST", times=3)
        assert [record.getMessage() for record in caplog.records] == [
            f"gateway request refused: {logged} (logged once)"
        ]


def test_form_that_is_sent_whole_is_documented_for_each_method() -> None:
    paths = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]
    assert set(paths[PREFIX + "check/{path}"]) == {"get", "head", "post", "put", "delete", "patch"}


# --- over HTTP ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def process(kept_db: None) -> Iterator[GatewayProcess]:
    with GatewayProcess(token()) as process:
        yield process


@pytest.fixture
def key() -> ApiKey:
    key = people.key_of(people.customer())
    key.apply(["read", "trade"], "unrestricted", [])
    return key


def signed(key: ApiKey, method: str, query: str = "", form: str = "") -> Call:
    """Return a signed call with parameters in the query string, in the body, or in both."""
    client, now = BinanceClient(key.key_id, people.secret_of(key)), str(time.time_ns() // 1_000_000)
    pairs = [[tuple(pair.split("=")) for pair in text.split("&") if text] for text in (query, form)]
    pairs[1 if form else 0].append(("timestamp", now))
    return client.call(method, "/api/v3/order", *pairs, sign_in="body" if form else "query")  # type: ignore[arg-type]


def whole(
    gateway: GatewayProcess,
    call: Call,
    form: str = "check",
    *,
    chunked: bool = False,
    security: str = "signed",
) -> GatewayResponse:
    sent = {**auth_headers(call, "trade"), "X-Required-Security": security}
    sent["Content-Type"] = "application/x-www-form-urlencoded"
    del sent["X-Original-URI"]
    target = f"/gateway/v1/{form}{call.path}" + ("?" + call.query.decode() if call.query else "")
    # An iterator has no length, so http.client sends it in chunks.
    body: Any = iter([call.body]) if chunked and call.body else call.body or None
    return gateway.ask(call.method, target, sent, body)


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
@pytest.mark.parametrize("form", ["check", "envoy"])
def test_request_that_is_sent_whole_is_decided_with_its_body(
    process: GatewayProcess, key: ApiKey, form: str
) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        for query, body in (("symbol=A", ""), ("", "symbol=A"), ("symbol=A", "quantity=1")):
            call = signed(key, method, query, body)
            assert whole(process, call, form).status == 200
            assert whole(process, call, form, chunked=True).status == 200
            for changed in (
                Call(method, call.path, call.query, call.body + b"&extra=2", call.headers),
                Call(method, call.path, call.query + b"&extra=2", call.body, call.headers),
                Call(
                    method,
                    call.path,
                    call.query.replace(b"A", b"B"),
                    call.body.replace(b"A", b"B"),
                    call.headers,
                ),
            ):
                answer = whole(process, changed, form)
                assert (answer.status, answer.json()["code"]) == (400, -1022)
    head = signed(key, "HEAD", "symbol=A")
    assert (whole(process, head, form).status, whole(process, head, form).body) == (200, b"")
    refused = whole(process, Call("HEAD", head.path, head.query + b"&a=1", b"", head.headers), form)
    assert (refused.status, refused.body) == (400, b"")


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_auth_takes_the_body_of_any_method(process: GatewayProcess, key: ApiKey) -> None:
    for method in ("POST", "PUT", "DELETE"):
        call = signed(key, method, "symbol=A", "quantity=1")
        for own in ("GET", "POST"):
            sent = auth_headers(call, "trade")
            assert process.ask(own, "/gateway/v1/auth", sent, call.body).status == 204
            assert process.ask(own, "/gateway/v1/auth", sent, call.body + b"0").code == -1022
            assert process.ask(own, "/gateway/v1/auth", sent).code == -1102
            contradicted = {**sent, "X-Forwarded-Method": "GET"}
            assert process.ask(own, "/gateway/v1/auth", contradicted, call.body).code == -1000


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_payload_over_the_limit_is_refused_in_the_clients_form(process: GatewayProcess, key: ApiKey) -> None:
    for size in (MAX_PAYLOAD_BYTES, MAX_BODY_BYTES):
        call = signed(key, "POST", "symbol=A")
        large = Call("POST", call.path, call.query, b"a" * (size + 1), call.headers)
        for security in ("signed", "key", "none"):
            answer = whole(process, large, security=security)
            assert (answer.status, answer.json()["code"]) == (413, -1000)


@pytest.mark.postgres
@pytest.mark.usefixtures("kept_db")
def test_answer_for_the_client_over_http(process: GatewayProcess, key: ApiKey) -> None:
    right, wrong = signed(key, "GET", "symbol=A"), signed(key, "GET", "symbol=A")
    wrong = Call("GET", wrong.path, wrong.query + b"&a=1", b"", wrong.headers)
    for _ in range(3):
        allowed = process.ask("GET", "/gateway/v1/auth?answer=client", auth_headers(right))
        assert (allowed.status, allowed.headers["x-portal-user"]) == (204, str(key.owner_id))
        answer = process.ask("GET", "/gateway/v1/auth?answer=client", auth_headers(wrong))
        assert (answer.status, answer.json()["code"]) == (400, -1022)
    # The client's own parameter is signed as any other, and changes no answer.
    own = signed(key, "GET", "answer=client")
    assert process.ask("GET", "/gateway/v1/auth", auth_headers(own)).status == 204
