"""What is stored of a rejected request: method, path and one name, never a value, never more than fits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeys.models import Refusal
from apikeys.usage.request_line import MAX_PARAMETER_LENGTH, MAX_PATH_LENGTH, RequestLine, clean_parameter
from tests.support.examples import times

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("/api/v3/order", "/api/v3/order"),
        ("/", "/"),
        ("", ""),
        ("api/v3/order", ""),
        ("/api/v3/order;signature=abc", "/api/v3/…"),
        ("/api/v3/order?symbol=BTC", "/api/v3/…"),
        (f"/api/v3/{HEX}/x", "/api/v3/…/x"),
        (f"/api/v3/order/{HEX[:20]}%41{HEX[20:]}", "/api/v3/order/…"),
        ("/<script>alert(1)</script>", "/…"),
        ("/call +98 912 000 0000", "/…"),
        ("/\u202eevil", "/…"),
        ("/a\0b", "/…"),
        ("/a\ud800", "/…"),
        ("/" + "ab/" * 40, "/" + "ab/" * 26 + "…"),
        (f"/{'x' * 8}/{'y' * 8}/{'z' * 8}/{'w' * 8}/{'v' * 8}/{'u' * 8}/{'t' * 8}/{HEX}",
         f"/{'x' * 8}/{'y' * 8}/{'z' * 8}/{'w' * 8}/{'v' * 8}/{'u' * 8}/{'t' * 8}/…"),
    ],
)  # fmt: skip
def test_a_path_is_stored_without_what_may_be_a_value(path: str, stored: str) -> None:
    assert RequestLine("GET", path).cleaned() == ("GET", stored)


@pytest.mark.parametrize("method", ["get", "GET\r\n", "X" * 1000, "CONNECT", "", "دریافت"])
def test_a_method_that_does_not_exist_is_not_stored(method: str) -> None:
    assert RequestLine(method, "/").cleaned().method == ""


@settings(max_examples=times(300), deadline=None)
@given(st.text(), st.text())
def test_whatever_is_sent_fits_into_its_columns_and_stays_as_it_was_stored(method: str, path: str) -> None:
    for line in (RequestLine(method, path), RequestLine(method, f"/{path}")):
        stored = line.cleaned()
        assert len(stored.method) <= 8 == Refusal._meta.get_field("method").max_length
        assert len(stored.path) <= MAX_PATH_LENGTH == Refusal._meta.get_field("path").max_length
        assert stored.cleaned() == stored


@pytest.mark.parametrize(
    "name", ["timestamp", "recvWindow", "signature", "symbol", "newClientOrderId", "a1_b"]
)
def test_a_name_is_stored(name: str) -> None:
    assert clean_parameter(name) == name


@pytest.mark.parametrize(
    "name", ["", HEX, "9a", "a b", "a=b", "<b>", "x" * 33, "\u202ea", "نام", "a\0", "a\n"]
)
def test_what_may_be_no_name_is_not_stored(name: str) -> None:
    assert clean_parameter(name) == ""
    assert Refusal._meta.get_field("parameter").max_length == MAX_PARAMETER_LENGTH
