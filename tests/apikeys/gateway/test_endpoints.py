"""The fast path of the endpoints: it handles what nearly every proxy sends, and leaves everything else to `handle`."""

import dataclasses

import pytest

from apikeys.gateway import responses
from apikeys.gateway.authorizer import Authorizer, RequestLimits
from apikeys.gateway.endpoints import AUTH, MAX_HEADER_ORDER_BYTES, MAX_HEADER_ORDERS, Endpoints
from apikeys.gateway.keycache.cache import KeyCache
from apikeys.gateway.requests import Security
from apikeys.gateway.tokens import TokenCache
from apikeys.verification.records import DUMMY_KEY
from tests.apikeys.gateway.test_authorizer import ADDRESS, make_request, record
from tests.support.event_loops import StubListener

TOKEN = b"Bearer hbgw_one"
NEEDED = ("Authorization", "X-MBX-APIKEY", "X-Original-URI", "X-Client-IP", "X-Required-Permission")


async def nobody(*_arguments: object) -> bool:
    raise AssertionError("unexpected call")


class LocalEndpoints:
    """Endpoints with one cached key and one cached token."""

    def __init__(self) -> None:
        key_cache = KeyCache(nobody, 9, 0)  # type: ignore[arg-type]
        key_cache.listener = self.listener = StubListener()
        key_cache.put(record())
        self.tokens = TokenCache(nobody)  # type: ignore[arg-type]
        self.tokens.known_headers[TOKEN] = 1
        key_cache.tokens_changed = self.tokens.invalidate
        self.key_cache = key_cache
        authorizer = Authorizer(key_cache, nobody, RequestLimits(1, 1))  # type: ignore[arg-type]
        self.endpoints = Endpoints(authorizer, self.tokens, nobody, "", str, tuple(Security))

    def handle_fast(
        self, changed: dict[str, bytes | None] | None = None, *more: tuple[str, bytes], method: bytes = b"GET",
        target: bytes = AUTH.encode(),
    ) -> bytes | None:  # fmt: skip
        uri = b"/api/v3/account?" + make_request().query
        fields: dict[str, bytes | None] = dict(
            zip(NEEDED, (TOKEN, b"k" * 64, uri, ADDRESS.encode(), b"read"), strict=True)
        )
        fields |= changed or {}
        pairs = [*((name, value) for name, value in fields.items() if value is not None), *more]
        names, values = [name.encode() for name, _value in pairs], [value for _name, value in pairs]
        return self.endpoints.handle_fast(method, target, names, values)


def test_usual_request_is_handled_on_the_fast_path() -> None:
    local = LocalEndpoints()
    for _ in range(3):
        fields = local.handle_fast(None, ("Host", b"gateway"), ("User-Agent", b"nginx"))
        assert fields == b"\r\n".join(
            [b"x-portal-user: 7", b"x-portal-key: " + b"k" * 64, b"x-portal-permissions: read",
             b"x-portal-security: signed", b"", b""]
        )  # fmt: skip


def test_fast_path_names_the_subject_behind_the_user() -> None:
    record = dataclasses.replace(DUMMY_KEY, user="7", subject="ext:7")
    user, rest = responses.fast_path_header_parts(record)
    assert user == b"7\r\nx-portal-subject: ext:7"
    assert rest == responses.fast_path_header_parts(DUMMY_KEY)[1]


def test_header_names_may_have_any_case_and_order() -> None:
    local = LocalEndpoints()
    uri = b"/?" + make_request().query
    values = {b"X-ORIGINAL-URI": uri, b"x-required-permission": b"read", b"x-client-ip": ADDRESS.encode()}
    values |= {b"x-mbx-apikey": b"k" * 64, b"authorization": TOKEN}
    assert local.endpoints.handle_fast(b"GET", AUTH.encode(), [*values], [*values.values()]) is not None


@pytest.mark.parametrize("name", NEEDED)
def test_missing_or_duplicate_header_is_left_to_handle(name: str) -> None:
    local = LocalEndpoints()
    assert local.handle_fast() is not None
    assert local.handle_fast({name: None}) is None
    for again in (name, name.upper(), name.lower()):
        assert local.handle_fast(None, (again, b"x")) is None
        assert local.handle_fast({name: b"x"}, (again, b"x")) is None


@pytest.mark.parametrize("name", ["X-Forwarded-Uri", "Content-Length", "transfer-encoding"])
def test_additional_header_is_left_to_handle(name: str) -> None:
    assert LocalEndpoints().handle_fast(None, (name, b"0")) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"Authorization": b"Bearer hbgw_two"},
        {"Authorization": b"bearer hbgw_one"},
        {"Authorization": TOKEN + b" "},
        {"X-MBX-APIKEY": b"K" * 64},
        {"X-MBX-APIKEY": b"\xff" * 64},
        {"X-Original-URI": b""},
        {"X-Original-URI": b"/?\xff"},
        {"X-Original-URI": b"/\xff?" + make_request().query},
        {"X-Client-IP": b""},
        {"X-Client-IP": b"\xd9\xa1.2.3.4"},
        {"X-Required-Permission": b"trade"},
        {"X-Required-Permission": b"Read"},
    ],
)
def test_malformed_values_are_not_allowed_on_the_fast_path(changed: dict[str, bytes | None]) -> None:
    local = LocalEndpoints()
    for _ in range(2):
        assert local.handle_fast(changed) is None
        assert local.handle_fast() is not None


def test_other_methods_and_targets_are_left_to_handle() -> None:
    local = LocalEndpoints()
    assert local.handle_fast(method=b"HEAD") is None
    for target in (
        b"/gateway/v1/auth/",
        b"/gateway/v1/auth?a=1",
        b"/gateway/v1/%61uth",
        b"/gateway/v1/envoy/x",
    ):
        assert local.handle_fast(target=target) is None


def test_revoked_token_is_removed_from_the_cache() -> None:
    local = LocalEndpoints()
    assert local.handle_fast() is not None
    local.key_cache.invalidate("")
    assert local.handle_fast() is None


def test_fast_path_does_not_use_stale_data() -> None:
    local = LocalEndpoints()
    assert local.handle_fast() is not None
    local.listener.fresh = False
    assert local.handle_fast() is None


def test_cached_header_orders_are_bounded() -> None:
    local = LocalEndpoints()
    for n in range(MAX_HEADER_ORDERS + 5):
        assert local.handle_fast(None, (f"X-{n}", b"")) is not None
        assert local.handle_fast({"Authorization": b"Bearer no"}, (f"Y-{n}", b"")) is None
    assert len(local.endpoints._selectors) == 5
    assert local.handle_fast(None, ("X" * MAX_HEADER_ORDER_BYTES, b"")) is not None
    assert len(local.endpoints._selectors) == 5
