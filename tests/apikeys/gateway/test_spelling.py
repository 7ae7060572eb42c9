"""Spellings of the same value by gateways and clients: schemes, addresses with a port, HEAD, foreign bytes."""

import http.client
import json
import time
from collections.abc import Iterator

import pytest

from apikeys.gateway import requests
from apikeys.models import AddressUse, ApiKey
from apikeys.models.tokens import bearer
from hitobit_portal.http import client_ip
from tests.apikeys.gateway.test_attacks import raw, status
from tests.apikeys.gateway.test_bodies import AUTH, ENVOY, after_an_allowed_request, head, uri_of
from tests.support import people
from tests.support.binance_client import BinanceClient, Call
from tests.support.gateways import ADDRESS, GatewayProcess, as_json, auth_headers, token

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("kept_db")]
UNSIGNED = {"code": -1022, "msg": "Signature for this request is not valid."}
#: Bytes outside RFC 3986's query characters, one of each kind.
FOREIGN = ['"', "<", ">", "[", "\\", "^", "`", "{", "|", "#", "%", "\x7f", "\x80", "\xc3\xbc", "\xff"]


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


def signed(key: ApiKey, before: str = "") -> Call:
    """Return a call with ``before`` in front of the timestamp, signed and sent as bytes."""
    query = before.encode("latin-1") + b"timestamp=%d" % (time.time_ns() // 1_000_000)
    client = BinanceClient(key.key_id, people.secret_of(key))
    text = query.decode("latin-1")
    signature = client.signature(text) if text.isascii() else "0" * 64
    return Call(
        "GET",
        "/api/v3/account",
        query + b"&signature=" + signature.encode(),
        b"",
        {"X-MBX-APIKEY": key.key_id},
    )


@pytest.mark.parametrize("byte", FOREIGN)
def test_byte_outside_rfc_3986_is_a_wrong_signature_in_each_form(
    gateway: GatewayProcess, key: ApiKey, byte: str
) -> None:
    call = signed(key, f"symbol=B{byte}T&")
    # A header must not contain DEL (RFC 9110, 5.5), nor a request line that a proxy accepts.
    wanted = (400, 0) if byte == "\x7f" else (403, -1022)
    assert (
        after_an_allowed_request(gateway, key, head(gateway, key, AUTH, b"GET", uri=uri_of(call))) == wanted
    )
    answer = raw(gateway, head(gateway, key, ENVOY + uri_of(call), b"GET", b"Connection: close"))
    assert status(answer) == 400
    head_of_answer, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body) == UNSIGNED
    assert b"content-type: application/json" in head_of_answer
    document = {**as_json(signed(key)), "query": call.query.decode("latin-1")}
    answered = gateway.ask("POST", "/gateway/v1/authorize", body=json.dumps(document).encode()).json()
    assert (answered["allowed"], answered["code"]) == (False, -1022)


def test_authorization_scheme_may_have_any_case(gateway: GatewayProcess, key: ApiKey) -> None:
    for scheme, wanted in (
        ("Bearer", 204), ("bearer", 204), ("BEARER", 204), ("bEaReR", 204), ("Bearer ", 204), ("Basic", 403),
        ("", 403), ("Bearer\t", 403), ("Bearerx", 403),
    ):  # fmt: skip
        headers = {**auth_headers(signed(key)), "Authorization": f"{scheme} {gateway.bearer}"}
        for _ in range(2):
            assert gateway.ask("GET", "/gateway/v1/auth", headers, token="").status == wanted, scheme
        metrics = gateway.ask("GET", "/metrics", {"Authorization": headers["Authorization"]}, token="")
        assert metrics.status == (200 if wanted == 204 else 403)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("Bearer x", "x"), ("bearer x", "x"), ("BEARER  x", "x"), ("Bearer x ", "x "), ("Bearer", None),
        ("Bearer ", None), ("", None), (None, None), ("Bearer\tx", None), ("x", None), (" Bearer x", None),
    ],
)  # fmt: skip
def test_token_is_the_text_behind_the_scheme(header: str | None, wanted: str | None) -> None:
    assert bearer(header) == wanted


def test_portal_metrics_accept_the_token_with_any_case_of_the_scheme(key: ApiKey) -> None:
    text = token()
    for scheme, wanted in (("Bearer", 200), ("bearer", 200), ("Basic", 403)):
        assert (
            people.browser().get("/metrics", headers={"Authorization": f"{scheme} {text}"}).status_code
            == wanted
        )


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("1.2.3.4:5566", "1.2.3.4"), ("1.2.3.4", "1.2.3.4"), ("[::1]:5566", "::1"), ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"), ("::ffff:1.2.3.4", "1.2.3.4"), ("[::ffff:1.2.3.4]:1", "1.2.3.4"),
        ("[1.2.3.4]:5", None), ("[1.2.3.4]", None), ("1.2.3.4:", None), ("1.2.3.4:x", None), ("1.2.3.4:123456", None),
        ("[::1]5566", None), ("[::1", None), ("1.2.3.4 :5", None), ("1.2.3.4:5:6", None), ("[fe80::1%eth0]:5", None),
        ("1.2.3.04:5", None), ("", None), ("[]:5", None), ("1.2.3.4:\u0665", None),
    ],
)  # fmt: skip
def test_address_is_parsed_with_or_without_port(address: str, wanted: str | None) -> None:
    read = client_ip.parse_address(client_ip.without_port(address))
    assert (None if read is None else str(read)) == wanted


ADDRESSES = [ADDRESS, ADDRESS + ":5566", "198.51.100.1:5566", "[2001:db8::9]:5566", "[2001:db8::9]", "[2001:db8::8]:1",
             f"[{ADDRESS}]:5566", ADDRESS + ":", "[::ffff:203.0.113.9]:80"]  # fmt: skip
ADMITTED = {ADDRESS, ADDRESS + ":5566", "[2001:db8::9]:5566", "[2001:db8::9]", "[::ffff:203.0.113.9]:80"}


@pytest.mark.parametrize("address", ADDRESSES)
def test_source_address_may_have_a_port_in_each_form(
    gateway: GatewayProcess, key: ApiKey, address: str
) -> None:
    key.apply(["read"], "trusted", [ADDRESS, "2001:db8::9"])
    call = signed(key)
    wanted = address in ADMITTED
    for _ in range(2):
        assert (gateway.auth(call, address=address).status == 204) is wanted
        assert (gateway.envoy(call, address=address).status == 200) is wanted
        assert gateway.authorize(call, address=address)["allowed"] is wanted
        forwarded = {**auth_headers(call), "X-Forwarded-For": f"192.0.2.1:80, {address}"}
        del forwarded["X-Client-IP"]
        assert (gateway.ask("GET", "/gateway/v1/auth", forwarded).status == 204) is wanted


def test_owner_sees_the_address_without_its_port(gateway: GatewayProcess, key: ApiKey) -> None:
    for port in (1, 65_535):
        assert gateway.auth(signed(key), address=f"{ADDRESS}:{port}").status == 204
    assert gateway.auth(signed(key)).status == 204
    deadline = time.monotonic() + 60
    while not (uses := list(AddressUse.objects.filter(key=key).values_list("address", "count"))) or (
        uses != [(ADDRESS, 3)] and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    assert uses == [(ADDRESS, 3)]


class HeaderDict(dict[str, list[str]]):
    def get_all(self, key: str, /) -> list[str]:
        return self.get(key, [])


def test_last_address_of_a_list_is_used_or_none() -> None:
    for lines, wanted in (
        (["192.0.2.1, 203.0.113.9:80"], "203.0.113.9"),
        (["192.0.2.1", "203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9", "\xc3\xbc"], "\xc3\xbc"),
        ([], None),
    ):
        headers = HeaderDict({"x-forwarded-for": lines} if lines else {})
        assert requests.source_address(headers) == wanted
    assert requests.source_address(HeaderDict({"x-client-ip": [ADDRESS, "\xff"]})) is None
    assert requests.source_address(HeaderDict({"x-client-ip": [], "x-forwarded-for": [ADDRESS]})) is None


def test_head_is_answered_like_get(gateway: GatewayProcess, key: ApiKey) -> None:
    for call, permission in (
        (signed(key), "read"),
        (signed(key), "trade"),
        (signed(key, "a=1&a=1&"), "read"),
    ):
        headers = auth_headers(call, permission)
        got, headed = (gateway.ask(method, "/gateway/v1/auth", headers) for method in ("GET", "HEAD"))
        got.headers.pop("date", None), headed.headers.pop("date", None)
        assert (headed.status, headed.headers, headed.body) == (got.status, got.headers, b"")
    got, headed = (gateway.ask(method, "/gateway/v1/openapi.json") for method in ("GET", "HEAD"))
    assert (headed.status, headed.body) == (got.status, b"")
    assert headed.headers["content-length"] == str(len(got.body))
    refused = gateway.ask("PUT", "/gateway/v1/auth", auth_headers(signed(key)))
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, POST")


def test_connection_stays_open_after_head(gateway: GatewayProcess, key: ApiKey) -> None:
    connection: http.client.HTTPConnection = gateway.connection()
    headers = auth_headers(signed(key))
    statuses = [
        gateway.ask_on(connection, method, "/gateway/v1/auth", headers).status
        for method in ("HEAD", "GET", "HEAD", "POST", "GET")
    ]
    connection.close()
    assert statuses == [204] * 5
