from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitobit_portal.http.client_ip import parse_address, parse_trusted, resolve

PROXIES = parse_trusted(["10.0.0.0/8", "127.0.0.1", "fd00::/8"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::ffff:102:304", "1.2.3.4"),
        ("::1", "::1"),
        (None, None),
        ("", None),
        (" 1.2.3.4", None),
        ("1.2.3.4\n", None),
        ("1.2.3.4:55", None),
        ("[::1]", None),
        ("01.2.3.4", None),
        ("1.2.3", None),
        ("16909060", None),
        ("۱.۲.۳.۴", None),
        ("fe80::1%eth0", None),
        ("::ffff:1.2.3.4%eth0", None),
        ("unix:", None),
    ],
)
def test_address_is_read_in_one_spelling_or_not_at_all(text: str | None, expected: str | None) -> None:
    address = parse_address(text)
    assert (None if address is None else str(address)) == expected


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        # Nobody in between, or nobody that we trust: the header is not looked at.
        ("8.8.8.8", None, "8.8.8.8"),
        ("8.8.8.8", "1.1.1.1", "8.8.8.8"),
        ("8.8.8.8", "10.0.0.1", "8.8.8.8"),
        ("8.8.8.8", "garbage", "8.8.8.8"),
        ("::ffff:8.8.8.8", "1.1.1.1", "8.8.8.8"),
        # One proxy.
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "8.8.8.8", "8.8.8.8"),
        ("::ffff:10.0.0.1", "8.8.8.8", "8.8.8.8"),
        ("fd00::1", "2001:db8::9", "2001:db8::9"),
        ("10.0.0.1", "::ffff:8.8.8.8", "8.8.8.8"),
        ("10.0.0.1", "  8.8.8.8\t", "8.8.8.8"),
        # What the caller wrote stands on the left.
        ("10.0.0.1", "1.1.1.1, 8.8.8.8", "8.8.8.8"),
        ("10.0.0.1", "10.0.0.9, 8.8.8.8", "8.8.8.8"),
        ("10.0.0.1", "garbage, 8.8.8.8", "8.8.8.8"),
        ("10.0.0.1", ",,, 8.8.8.8", "8.8.8.8"),
        # Several proxies.
        ("10.0.0.1", "8.8.8.8, 10.0.0.2", "8.8.8.8"),
        ("10.0.0.1", "1.1.1.1,8.8.8.8,::ffff:10.0.0.3,fd00::2", "8.8.8.8"),
        ("10.0.0.1", "10.0.0.7, 10.0.0.2", "10.0.0.7"),
        # Ports, as some balancers append them.
        ("10.0.0.1", "8.8.8.8:55", "8.8.8.8"),
        ("10.0.0.1", "[2001:db8::1]:80", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.1", "8.8.8.8, 10.0.0.2:443", "8.8.8.8"),
        ("10.0.0.1", "[::ffff:8.8.8.8]:80", "8.8.8.8"),
        # What had to be read and could not be.
        ("10.0.0.1", "", None),
        ("10.0.0.1", " ", None),
        ("10.0.0.1", "8.8.8.8,", None),
        ("10.0.0.1", "8.8.8.8,,10.0.0.2", None),
        ("10.0.0.1", "unknown", None),
        ("10.0.0.1", "1.1.1.1, unknown", None),
        ("10.0.0.1", "unknown, 10.0.0.2", None),
        ("10.0.0.1", "8.8.8.8:", None),
        ("10.0.0.1", "8.8.8.8:http", None),
        ("10.0.0.1", "8.8.8.8:55:66", None),
        ("10.0.0.1", "[8.8.8.8]:80", None),
        ("10.0.0.1", "[2001:db8::1", None),
        ("10.0.0.1", "fe80::1%eth0", None),
        ("10.0.0.1", "[fe80::1%eth0]:80", None),
        ("10.0.0.1", "۸.۸.۸.۸", None),
        ("10.0.0.1", "08.8.8.8", None),
        ("10.0.0.1", '"8.8.8.8"', None),
        ("", "8.8.8.8", None),
        ("unix:", "8.8.8.8", None),
        ("10.0.0.1:9", "8.8.8.8", None),
    ],
)
def test_caller_is_the_first_from_the_right_that_is_no_proxy(
    peer: str, header: str | None, expected: str | None
) -> None:
    assert resolve(peer, header, PROXIES) == expected


def test_nobody_is_a_proxy_unless_configured() -> None:
    assert resolve("127.0.0.1", "8.8.8.8", []) == "127.0.0.1"


@settings(deadline=None)
@given(st.lists(st.one_of(st.ip_addresses().map(str), st.text(max_size=12)), max_size=6))
def test_what_a_caller_writes_never_changes_its_address(forged: list[str]) -> None:
    header = ",".join([*forged, "203.0.113.7", "10.0.0.2"])
    assert resolve("10.0.0.1", header, PROXIES) == "203.0.113.7"


@settings(deadline=None)
@given(st.text(), st.text())
def test_any_text_is_answered_without_an_exception(peer: str, header: str) -> None:
    resolve(peer, header, PROXIES)
    resolve("10.0.0.1", header, PROXIES)


@pytest.mark.parametrize("value", ["0.0.0.0/0", "::/0", "::ffff:0:0/96", "0.0.0.0/0.0.0.0", " ::/0 "])
def test_trusting_everybody_is_refused_by_name(value: str) -> None:
    with pytest.raises(ValueError, match="trusts every address") as caught:
        parse_trusted(["10.0.0.0/8", value])
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "value", ["", "proxy.internal", "10.0.0.1/8", "10.0.0.0/33", "1.2.3.4/0", "fe80::%1"]
)
def test_value_that_is_no_network_is_refused_by_name(value: str) -> None:
    with pytest.raises(ValueError, match="not a network of trusted proxies") as caught:
        parse_trusted([value])
    assert repr(value) in str(caught.value)


def test_trusted_mapped_network_means_its_ipv4_network() -> None:
    trusted = parse_trusted(["::ffff:10.0.0.0/104"])
    assert resolve("10.1.2.3", "8.8.8.8", trusted) == "8.8.8.8"
    assert resolve("::ffff:10.1.2.3", "8.8.8.8", trusted) == "8.8.8.8"
    assert resolve("11.1.2.3", "8.8.8.8", trusted) == "11.1.2.3"
