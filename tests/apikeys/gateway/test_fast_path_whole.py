"""The fast path of requests that are sent whole (``/gateway/v1/check/``), as Envoy sends those without a body."""

import pytest

from apikeys.gateway.endpoints import CHECK
from tests.apikeys.gateway.test_authorizer import ADDRESS, make_request
from tests.apikeys.gateway.test_endpoints import TOKEN, LocalEndpoints

NEEDED = {
    "authorization": TOKEN, "x-mbx-apikey": b"k" * 64, "x-client-ip": ADDRESS.encode(),
    "x-required-permission": b"read",
}  # fmt: skip
LINES = b"\r\n".join(
    [b"content-length: 0", b"x-portal-user: 7", b"x-portal-key: " + b"k" * 64, b"x-portal-permissions: read",
     b"x-portal-security: signed", b"", b""]
)  # fmt: skip


def fast(
    changed: dict[str, bytes | None] | None = None, *more: tuple[str, bytes], method: bytes = b"GET",
    target: bytes | None = None, prefix: str = CHECK[0], local: LocalEndpoints | None = None,
) -> bytes | None:  # fmt: skip
    fields: dict[str, bytes | None] = {**NEEDED, **(changed or {})}
    pairs = [*((name, value) for name, value in fields.items() if value is not None), *more]
    target = target or prefix.encode() + b"api/v3/account?" + make_request().query
    names, values = [name.encode() for name, _value in pairs], [value for _name, value in pairs]
    return (local or LocalEndpoints()).endpoints.handle_fast(method, target, names, values)


@pytest.mark.parametrize("prefix", CHECK)
def test_request_without_a_body_is_answered_with_200(prefix: str) -> None:
    local = LocalEndpoints()
    for _ in range(3):  # the second one by the stored selector
        assert fast(prefix=prefix, local=local) == LINES
        assert (
            fast({"content-length": b"0", "x-required-security": b"signed"}, prefix=prefix, local=local)
            == LINES
        )


def test_the_two_forms_do_not_use_each_others_selector() -> None:
    local = LocalEndpoints()
    for _ in range(2):
        named = (b"x-original-uri", b"/api/v3/account?" + make_request().query)
        names, values = [*(name.encode() for name in NEEDED), named[0]], [*NEEDED.values(), named[1]]
        assert local.endpoints.handle_fast(b"GET", b"/gateway/v1/auth", names, values) is not None
        assert fast(None, ("x-original-uri", named[1]), local=local) == LINES


def test_headers_that_name_a_uri_are_not_read() -> None:
    named = [("x-original-uri", b"/a"), ("x-forwarded-uri", b"/b"), ("x-original-url", b"http://a/c")]
    assert fast(None, *named) == LINES


@pytest.mark.parametrize("name", NEEDED)
def test_missing_or_duplicate_header_is_left_to_handle(name: str) -> None:
    assert fast({name: None}) is None
    assert fast(None, (name, NEEDED[name])) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-length", b"1"), ("content-length", b""), ("content-length", b"00"), ("transfer-encoding", b"chunked"),
        ("x-envoy-auth-partial-body", b"false"), ("x-required-security", b"key"), ("x-required-security", b"none"),
        ("x-real-ip", b"198.51.100.1"), ("x-required-permission", b"trade"), ("x-mbx-apikey", b"z" * 64),
        ("authorization", b"Bearer hbgw_other"), ("x-client-ip", b"1.2.3.4:5"),
    ],
)  # fmt: skip
def test_anything_else_is_left_to_handle(name: str, value: bytes) -> None:
    assert fast({name: value}) is None


def test_twice_the_same_header_is_left_to_handle() -> None:
    for name, value in (
        ("content-length", b"0"),
        ("x-required-security", b"signed"),
        ("x-real-ip", ADDRESS.encode()),
    ):
        assert fast(None, (name, value)) == LINES
        assert fast(None, (name, value), (name, value)) is None
    assert fast(None, ("x-original-method", b"GET"), ("x-forwarded-method", b"POST")) is None


@pytest.mark.parametrize("method", [b"HEAD", b"POST", b"DELETE"])
def test_other_methods_are_left_to_handle(method: bytes) -> None:
    assert fast(method=method) is None


def test_target_that_is_not_the_signed_one_is_left_to_handle() -> None:
    query = make_request().query
    right = b"/gateway/v1/check/api/v3/account?" + query
    assert fast(target=right) == LINES
    for target in (
        right + b"&a=1", right + b"?a=1", right + b"#", b"/gateway/v1/check/a#b?" + query,
        b"/gateway/v1/check/\xc3\xbc?" + query, b"/gateway/v1/check?" + query, b"/gateway/v1/checks/a?" + query,
        b"http://a/gateway/v1/check/a?" + query, b"/gateway/v1/check/a",
    ):  # fmt: skip
        assert fast(target=target) is None
