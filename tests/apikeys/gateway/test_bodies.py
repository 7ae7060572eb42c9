"""Everything that reaches the gateway with a sub-request must have been signed; otherwise it is rejected."""

import json
import time
from collections.abc import Iterator

import pytest

from apikeys.models import ApiKey
from tests.apikeys.gateway.test_attacks import raw
from tests.apikeys.gateway.test_endpoints import LocalEndpoints
from tests.support import people
from tests.support.binance_client import BinanceClient, Call
from tests.support.gateways import ADDRESS, GatewayProcess, as_json, token

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("kept_db")]
EVIL = b"symbol=EVIL&quantity=999"
METHODS = [b"GET", b"POST", b"HEAD"]
PATH = "/api/v3/order"
AUTH, ENVOY = b"/gateway/v1/auth", b"/gateway/v1/envoy"


@pytest.fixture(scope="module")
def process(kept_db: None) -> Iterator[GatewayProcess]:
    with GatewayProcess(token()) as process:
        yield process


@pytest.fixture
def gateway(process: GatewayProcess) -> GatewayProcess:
    return process


@pytest.fixture
def key() -> ApiKey:
    return people.key_of(people.customer())


def signed(key: ApiKey, body: str = "", query: str = "timestamp") -> Call:
    """Return a call signed over the timestamp and ``body``; with ``query`` "" everything is in the body."""
    client, now = BinanceClient(key.key_id, people.secret_of(key)), str(time.time_ns() // 1_000_000)
    form = [tuple(pair.split("=")) for pair in body.split("&")] if body else []
    if not query:
        return client.call("POST", PATH, [], [*form, ("timestamp", now)], sign_in="body")  # type: ignore[list-item]
    return client.call("POST", PATH, [("timestamp", now)], form, sign_in="query")  # type: ignore[arg-type]


def uri_of(call: Call) -> bytes:
    return call.path.encode() + (b"?" + call.query if call.query else b"")


def head(
    gateway: GatewayProcess, key: ApiKey, target: bytes, method: bytes, *more: bytes, uri: bytes | None = None
) -> bytes:
    """Return the head of a sub-request without its last line; ``uri``: X-Original-URI."""
    lines = [
        method + b" " + target + b" HTTP/1.1", b"Host: gateway", b"Authorization: Bearer " + gateway.bearer.encode(),
        b"X-MBX-APIKEY: " + key.key_id.encode(), b"X-Client-IP: " + ADDRESS.encode(), b"X-Required-Permission: read",
    ]  # fmt: skip
    return b"\r\n".join([*lines, *([] if uri is None else [b"X-Original-URI: " + uri]), *more, b"", b""])


def framed(body: bytes, chunked: bool, trailer: bytes = b"") -> tuple[bytes, bytes]:
    """Return the header that announces the body, and the body as sent."""
    if not chunked:
        return b"Content-Length: %d" % len(body), body
    piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return b"Transfer-Encoding: chunked", piece + b"0\r\n" + trailer + b"\r\n"


def after_an_allowed_request(gateway: GatewayProcess, key: ApiKey, request_bytes: bytes) -> tuple[int, int]:
    """Return (status, X-Portal-Code) of ``request_bytes``, sent behind an allowed request of the key."""
    good = head(gateway, key, AUTH, b"GET", uri=uri_of(signed(key)))
    last = head(gateway, key, b"/healthz", b"GET", b"Connection: close")
    raw(gateway, good + last)  # the key is cached now
    answers = raw(gateway, good + request_bytes + last).split(b"HTTP/1.1 ")[1:]
    assert answers[0].startswith(b"204 ")
    status, _, rest = answers[1].partition(b" ")
    code = rest.partition(b"x-portal-code: ")[2].partition(b"\r\n")[0]
    if int(status) not in (200, 204):
        assert b"x-portal-user" not in answers[1]
    return int(status), int(code or 0)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_body_of_the_subrequest_is_part_of_the_signed_payload(
    gateway: GatewayProcess, key: ApiKey, method: bytes, chunked: bool
) -> None:
    def outcome_of(call: Call, body: bytes) -> tuple[int, int]:
        announced, sent = framed(body, chunked)
        return after_an_allowed_request(
            gateway, key, head(gateway, key, AUTH, method, announced, uri=uri_of(call)) + sent
        )

    assert outcome_of(signed(key), EVIL) == (403, -1022)
    assert outcome_of(signed(key, "symbol=GOOD"), EVIL) == (403, -1022)
    assert outcome_of(signed(key, EVIL.decode()), b"") == (403, -1022)
    both = signed(key, EVIL.decode())
    assert both.body == EVIL
    assert outcome_of(both, both.body) == (204, 0)
    alone = signed(key, EVIL.decode(), query="")
    assert outcome_of(alone, alone.body) == (204, 0)
    assert outcome_of(signed(key), b"") == (204, 0)


def changed(case: str, call: Call) -> tuple[bytes, bytes | None, list[bytes], bytes]:
    """Return target, X-Original-URI, headers and body of a sub-request with unsigned additions to ``call``."""
    uri, now = uri_of(call), call.query
    more: list[bytes]
    target, following, more = AUTH, b"", []
    match case:
        case "own query":
            target += b"?symbol=EVIL"
        case "own query with the original in it":
            target += b"?" + now + b"&symbol=EVIL"
        case "own query that is a fragment":
            target += b"?#x"
        case "second address":
            more = [b"X-Forwarded-Uri: " + PATH.encode() + b"?symbol=EVIL"]
        case "address twice":
            more = [b"X-Original-URI: " + PATH.encode() + b"?symbol=EVIL"]
        case "address twice, once as no text":
            more = [b"X-Original-URI: " + PATH.encode() + b"?symbol=\xc3\xbc"]
        case "fragment of the query":
            uri += b"#symbol=EVIL"
        case "query in a fragment":
            uri = PATH.encode() + b"#?" + now
        case "path that is no text":
            uri = b"/api/\xc3\xbc?" + now
        case "second query":
            uri += b"?symbol=EVIL"
        case "trailer":
            announced, following = framed(b"", True, b"symbol: EVIL\r\n")
            more = [announced, b"Trailer: symbol"]
        case "part of a body":
            more = [b"X-Envoy-Auth-Partial-Body: true"]
        case "part of a body, denied by the client":
            more = [b"X-Envoy-Auth-Partial-Body: false", b"X-Envoy-Auth-Partial-Body: true"]
        case "second transfer coding":
            following = framed(EVIL, True)[1]
            more = [b"Transfer-Encoding: gzip, chunked"]
        case "body after an offer of HTTP/2":
            more = [b"Connection: Upgrade", b"Upgrade: h2c", framed(EVIL, False)[0]]
            following = EVIL
        case "key twice, once as no text":
            more = [b"X-MBX-APIKEY: \xc3\xbc"]
        case "permission twice, once as no text":
            more = [b"X-Required-Permission: \xc3\xbc"]
        case "caller twice, once as no text":
            more = [b"X-Client-IP: \xc3\xbc"]
        case _:
            raise AssertionError(case)
    return target, uri, more, following


CASES = [
    "own query", "own query with the original in it", "own query that is a fragment", "second address",
    "address twice", "address twice, once as no text", "fragment of the query",
    "query in a fragment", "path that is no text", "second query", "trailer", "part of a body",
    "part of a body, denied by the client", "second transfer coding", "body after an offer of HTTP/2",
    "key twice, once as no text", "permission twice, once as no text", "caller twice, once as no text",
]  # fmt: skip
NOT_SIGNED = {"key twice, once as no text": (401, -2014), "permission twice, once as no text": (403, -1000),
              "caller twice, once as no text": (401, -2015)}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", CASES)
def test_subrequest_with_unsigned_parts_is_rejected(
    gateway: GatewayProcess, key: ApiKey, case: str, method: bytes
) -> None:
    target, uri, more, following = changed(case, signed(key))
    status, code = after_an_allowed_request(
        gateway, key, head(gateway, key, target, method, *more, uri=uri) + following
    )
    assert (status, code) == NOT_SIGNED.get(case, (403, -1022))


@pytest.mark.parametrize("fields", [["trailer"], ["part"], ["trailer", "part"]])
def test_signed_body_with_a_trailer_is_rejected_in_each_form(
    gateway: GatewayProcess, key: ApiKey, fields: list[str]
) -> None:
    call = signed(key, EVIL.decode())
    more = [b"X-Envoy-Auth-Partial-Body: true"] if "part" in fields else []
    announced, body = framed(call.body, True, b"quantity: 1000000\r\n" if "trailer" in fields else b"")
    for method in METHODS:
        request_bytes = head(gateway, key, AUTH, method, announced, *more, uri=uri_of(call)) + body
        assert after_an_allowed_request(gateway, key, request_bytes) == (403, -1022)
    request_bytes = head(gateway, key, ENVOY + uri_of(call), b"POST", announced, *more) + body
    assert after_an_allowed_request(gateway, key, request_bytes)[0] == 400
    right, plain = framed(call.body, True)
    request_bytes = (
        head(gateway, key, ENVOY + uri_of(call), b"POST", right, b"X-Envoy-Auth-Partial-Body: false") + plain
    )
    assert after_an_allowed_request(gateway, key, request_bytes)[0] == 200


def test_signed_body_without_an_original_uri_is_rejected(gateway: GatewayProcess, key: ApiKey) -> None:
    """A proxy that does not send the URI could forward any query string with the body."""
    call = signed(key, EVIL.decode(), query="")
    for chunked in (False, True):
        announced, body = framed(call.body, chunked)
        for method in METHODS:
            request_bytes = head(gateway, key, AUTH, method, announced) + body
            assert after_an_allowed_request(gateway, key, request_bytes) == (403, -1022)


def test_own_query_string_equal_to_the_original_one_is_accepted(gateway: GatewayProcess, key: ApiKey) -> None:
    call = signed(key)
    for method in METHODS:
        request_bytes = head(gateway, key, AUTH + b"?" + call.query, method, uri=uri_of(call))
        assert after_an_allowed_request(gateway, key, request_bytes) == (204, 0)
        request_bytes = head(gateway, key, AUTH + b"?", method, uri=uri_of(call))
        assert after_an_allowed_request(gateway, key, request_bytes) == (204, 0)


def test_fragment_in_an_envoy_path_is_rejected(gateway: GatewayProcess, key: ApiKey) -> None:
    call = signed(key)
    for target, wanted in (
        (call.path.encode() + b"?" + call.query, 200),
        (call.path.encode() + b"#?" + call.query, 400),
        (call.path.encode() + b"?" + call.query + b"#symbol=EVIL", 400),
    ):
        assert after_an_allowed_request(gateway, key, head(gateway, key, ENVOY + target, b"GET"))[0] == wanted


@pytest.mark.parametrize(
    "changed",
    [
        {"X-Original-URI": b"/a#?"},
        {"X-Original-URI": b"/\xff?"},
        {"X-Envoy-Auth-Partial-Body": b"true"},
        {"Content-Length": b"24"},
        {"Transfer-Encoding": b"chunked"},
        {"X-Forwarded-Uri": b"/"},
    ],
)
def test_fast_path_does_not_handle_requests_with_additional_parts(changed: dict[str, bytes | None]) -> None:
    from tests.apikeys.gateway.test_authorizer import make_request

    local = LocalEndpoints()
    if "X-Original-URI" in changed:
        changed = {"X-Original-URI": (changed["X-Original-URI"] or b"") + make_request().query}
    assert local.handle_fast() is not None
    assert local.handle_fast(changed) is None
    assert local.handle_fast(target=AUTH + b"?a=1") is None


# --- /authorize -----------------------------------------------------------------------------------------------------


def documents(key: ApiKey) -> list[tuple[str, str, int]]:
    """Return target, body and expected status of requests that are almost as documented."""
    one = as_json(signed(key))
    text = json.dumps(one)[:-1]
    target = "/gateway/v1/authorize"

    def batch(*items: str, more: str = "") -> str:
        return '{"requests": [' + ", ".join(items) + "]" + more + "}"

    twice = ', "permission": "read"}'
    return [
        (target, text + "}", 200),
        (target, batch(text + "}"), 200),
        # A duplicate name: same value, other value, escaped, nested, within a batch, of the batch.
        (target, '{"permission": "withdraw", ' + text[1:] + "}", 400),
        (target, text + twice, 400),
        (target, text + ', "permissi\\u006fn": "read"}', 400),
        (target, text + ', "query": ""}', 400),
        (target, text + ', "x": {"a": 1, "a": 2}}', 400),
        (target, batch(text + "}", text + twice), 400),
        (target, batch(text + "}", more=', "requests": []'), 400),
        (target, batch("[" + text + twice + "]"), 400),
        # A permission for all of them, an unknown name.
        (target, batch(text + "}", more=', "permission": "withdraw"'), 400),
        (target, batch(text + "}", more=', "x": null'), 400),
        # A second query string.
        (target + "?permission=withdraw", text + "}", 400),
        (target + "?permission=withdraw", batch(text + "}"), 400),
        (target, json.dumps({**one, "path": PATH + "?symbol=EVIL"}), 400),
        (target, json.dumps({**one, "path": PATH + "#x"}), 400),
        (target, batch(json.dumps({**one, "path": "?"})), 400),
        (target, json.dumps({**one, "path": None}), 200),
    ]


def test_ambiguous_json_document_is_rejected(gateway: GatewayProcess, key: ApiKey) -> None:
    for target, body, wanted in documents(key):
        answer = gateway.ask("POST", target, body=body.encode())
        assert answer.status == wanted, body
        document = answer.json()
        if wanted == 400:
            assert list(document) == ["error"]
            assert key.key_id not in document["error"]
        else:
            assert [one["allowed"] for one in document.get("decisions", [document])] == [True]


def test_trailer_behind_a_json_document_is_rejected(gateway: GatewayProcess, key: ApiKey) -> None:
    announced, body = framed(json.dumps(as_json(signed(key))).encode(), True, b"permission: withdraw\r\n")
    request_bytes = head(gateway, key, b"/gateway/v1/authorize", b"POST", announced) + body
    assert after_an_allowed_request(gateway, key, request_bytes)[0] == 400
