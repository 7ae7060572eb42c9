from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apikeys.verification.networks import (
    Network,
    NetworkError,
    NetworkProblem,
    compile_networks,
    parse_entry,
    parse_network,
    split_list,
)


@pytest.mark.parametrize(
    ("text", "value", "corrected"),
    [
        ("8.8.8.8", "8.8.8.8", False),
        ("8.8.8.8/32", "8.8.8.8", False),
        ("8.8.8.0/24", "8.8.8.0/24", False),
        ("8.8.8.8/24", "8.8.8.0/24", True),
        ("255.255.255.255/1", "128.0.0.0/1", True),
        (" 8.8.8.8 ", "8.8.8.8", False),
        ("۸.۸.۸.۰/۲۴", "8.8.8.0/24", False),
        ("٨.٨.٨.٠/٢٤", "8.8.8.0/24", False),
        ("۸٫۸٫۸٫۰/۲۴", "8.8.8.0/24", False),  # U+066B, the Persian keyboard's decimal point
        ("2A00:0:0::1", "2a00::1", False),
        ("2a00::1/128", "2a00::1", False),
        ("2a00::1/64", "2a00::/64", True),
        ("2a00::/64", "2a00::/64", False),
        ("::ffff:8.8.8.8", "8.8.8.8", False),
        ("::FFFF:808:808", "8.8.8.8", False),
        ("::ffff:8.8.8.8/128", "8.8.8.8", False),
        ("::ffff:8.8.8.0/120", "8.8.8.0/24", False),
        ("::ffff:8.8.8.8/120", "8.8.8.0/24", True),
        ("::ffff:128.0.0.0/97", "128.0.0.0/1", False),
    ],
)
def test_network_is_normalised(text: str, value: str, corrected: bool) -> None:
    network = parse_network(text)
    assert (network.value, network.corrected) == (value, corrected)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", NetworkProblem.SHAPE),
        (" ", NetworkProblem.SHAPE),
        ("localhost", NetworkProblem.SHAPE),
        ("1.2.3", NetworkProblem.SHAPE),
        ("1.2.3.4.5", NetworkProblem.SHAPE),
        ("1.2.3.256", NetworkProblem.SHAPE),
        ("01.2.3.4", NetworkProblem.SHAPE),
        ("1.2.3.04", NetworkProblem.SHAPE),
        ("۰۱.۲.۳.۴", NetworkProblem.SHAPE),
        ("１.2.3.4", NetworkProblem.SHAPE),
        ("0x1.2.3.4", NetworkProblem.SHAPE),
        ("16909060", NetworkProblem.SHAPE),
        ("1.2.3.4:80", NetworkProblem.SHAPE),
        ("[::1]", NetworkProblem.SHAPE),
        ("1.2.3.4 5.6.7.8", NetworkProblem.SHAPE),
        ("1.2.3.4-9", NetworkProblem.SHAPE),
        ("1.2.3.*", NetworkProblem.SHAPE),
        (":::", NetworkProblem.SHAPE),
        ("::ffff:01.2.3.4", NetworkProblem.SHAPE),
        ("fe80::1%eth0", NetworkProblem.SHAPE),
        ("fe80::1%eth0/64", NetworkProblem.SHAPE),
        ("::ffff:1.2.3.4%1", NetworkProblem.SHAPE),
        ("/24", NetworkProblem.SHAPE),
        ("1.2.3.4/", NetworkProblem.PREFIX),
        ("1.2.3.4/33", NetworkProblem.PREFIX),
        ("::1/129", NetworkProblem.PREFIX),
        ("1.2.3.0/-1", NetworkProblem.PREFIX),
        ("1.2.3.0/+24", NetworkProblem.PREFIX),
        ("1.2.3.0/ 24", NetworkProblem.PREFIX),
        ("1.2.3.0/024", NetworkProblem.PREFIX),
        ("1.2.3.0/00", NetworkProblem.PREFIX),
        ("1.2.3.0/24/24", NetworkProblem.PREFIX),
        ("1.2.3.0/255.255.255.0", NetworkProblem.PREFIX),
        ("1.2.3.0/0.0.0.255", NetworkProblem.PREFIX),
        ("0.0.0.0/0.0.0.0", NetworkProblem.PREFIX),
        ("1.2.3.0/" + "9" * 5000, NetworkProblem.PREFIX),
        ("1.2.3.4/0", NetworkProblem.TOO_WIDE),
        ("0.0.0.0/0", NetworkProblem.TOO_WIDE),
        ("۰.۰.۰.۰/۰", NetworkProblem.TOO_WIDE),
        ("::/0", NetworkProblem.TOO_WIDE),
        ("2a00::1/0", NetworkProblem.TOO_WIDE),
        ("::ffff:0:0/96", NetworkProblem.TOO_WIDE),
        ("::ffff:1.2.3.4/96", NetworkProblem.TOO_WIDE),
        ("::ffff:1.2.3.4/24", NetworkProblem.TOO_WIDE),
        ("::ffff:1.2.3.4/0", NetworkProblem.TOO_WIDE),
    ],
)
def test_what_is_no_entry_of_an_allow_list_is_rejected_with_its_reason(
    text: str, kind: NetworkProblem
) -> None:
    with pytest.raises(NetworkError) as caught:
        parse_network(text)
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("8.8.8.8", False),
        ("2a00::/16", False),
        ("0.0.0.0/1", False),
        ("10.0.0.1", True),
        ("192.168.0.0/16", True),
        ("172.16.5.4", True),
        ("127.0.0.1", True),
        ("169.254.0.0/16", True),
        ("100.64.0.1", True),
        ("::1", True),
        ("fe80::/10", True),
        ("fd00::1", True),
        ("::ffff:127.0.0.1", True),
        ("198.18.0.0/15", True),
        # The product's own examples.
        ("203.0.113.24", False),
        ("198.51.100.0/28", False),
        ("192.0.2.1", False),
        ("2001:db8::/48", False),
        ("203.0.112.0/23", False),
    ],
)
def test_network_that_is_not_reachable_on_the_internet_is_marked(text: str, private: bool) -> None:
    assert parse_network(text).private is private


@pytest.mark.parametrize(
    "text", ["128.0.0.0/7", "::ffff:128.0.0.0/103", "8000::/1", "2a00::/23", "1.2.3.4/0"]
)
def test_a_good_part_of_the_internet_is_not_listed(text: str) -> None:
    """SECURITY: 0.0.0.0/1 and 128.0.0.0/1 together are all addresses."""
    with pytest.raises(NetworkError) as caught:
        parse_entry(text)
    assert caught.value.kind is NetworkProblem.TOO_WIDE


@pytest.mark.parametrize("text", ["128.0.0.0/8", "::ffff:128.0.0.0/104", "2a00::/24", "8.8.8.8", "2a00::1"])
def test_what_a_provider_has_is_listed(text: str) -> None:
    assert parse_entry(text) == parse_network(text)


def test_normalised_value_reads_back_as_itself() -> None:
    first = parse_network("::ffff:8.8.8.8/120")
    assert parse_network(first.value) == Network(value=first.value, corrected=False, private=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ,،; ", []),
        ("1.2.3.4", ["1.2.3.4"]),
        ("1.2.3.4, 5.6.7.8", ["1.2.3.4", "5.6.7.8"]),
        ("1.2.3.4،5.6.7.8؛9.9.9.9", ["1.2.3.4", "5.6.7.8", "9.9.9.9"]),
        ("1.2.3.4\r\n5.6.7.8\t::1", ["1.2.3.4", "5.6.7.8", "::1"]),
        ("۱.۲.۳.۰/۲۴ ٤.٥.٦.٧", ["1.2.3.0/24", "4.5.6.7"]),
        ("\u200e1.2.3.4\u200f\u00a0\u2066::1\u2069\ufeff", ["1.2.3.4", "::1"]),
        ("1.2.3.4 nonsense", ["1.2.3.4", "nonsense"]),
    ],
)
def test_pasted_list_is_split(text: str, expected: list[str]) -> None:
    assert split_list(text) == expected


@pytest.mark.parametrize(
    ("values", "address", "expected"),
    [
        (["1.2.3.0/24"], "1.2.3.4", True),
        (["1.2.3.0/24"], "1.2.4.4", False),
        (["1.2.3.0/24"], "::ffff:1.2.3.4", True),
        (["1.2.3.0/24"], "::ffff:1.2.4.4", False),
        (["::ffff:1.2.3.0/120"], "1.2.3.4", True),
        (["::ffff:1.2.3.4"], "::ffff:1.2.3.4", True),
        (["1.2.3.4"], "1.2.3.4", True),
        (["1.2.3.4"], "1.2.3.5", False),
        (["2001:db8::/32"], "2001:db8:1::5", True),
        (["2001:db8::/32"], "2001:db9::5", False),
        (["2001:db8::/32"], "1.2.3.4", False),
        (["::/1"], "1.2.3.4", False),
        (["9.9.9.9", "1.2.3.0/24"], "1.2.3.255", True),
        # A network inside another one does not change the result, whatever their order.
        (["10.0.0.0/8", "10.1.0.0/16"], "10.0.0.1", True),
        (["10.0.0.0/8", "10.1.0.0/16"], "10.1.2.3", True),
        (["10.0.0.0/8", "10.1.0.0/16"], "10.200.0.1", True),
        (["10.0.0.0/8", "10.1.0.0/16"], "11.0.0.0", False),
        (["10.1.0.0/16", "10.0.0.0/8"], "10.255.255.255", True),
        (["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "12.0.0.1"], "10.255.255.255", True),
        (["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "12.0.0.1"], "11.255.255.255", False),
        (["2001:db8::/32", "2001:db8:1::/48"], "2001:db8:ffff::1", True),
        (["1.2.3.0/24"], None, False),
        (["1.2.3.0/24"], "", False),
        (["1.2.3.0/24"], "1.2.3.4 ", False),
        (["1.2.3.0/24"], "1.2.3.4:80", False),
        (["1.2.3.0/24"], "01.2.3.4", False),
        (["1.2.3.0/24"], "۱.۲.۳.۴", False),
        (["::ffff:1.2.3.4"], "::ffff:1.2.3.4%eth0", False),
        ([], "1.2.3.4", False),
        (["0.0.0.0/0"], "1.2.3.4", False),
        (["nonsense"], "1.2.3.4", False),
        (["nonsense", "1.2.3.4"], "1.2.3.4", True),
        # A network within another one does not change the result, whichever was listed first.
        (["10.1.0.0/16", "10.0.0.0/8"], "10.200.0.1", True),
        (["10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24"], "10.0.1.1", True),
        (["10.0.0.0/8", "10.1.0.0/16"], "11.0.0.1", False),
        (["2001:db8::/32", "2001:db8:1::/48"], "2001:db8:2::1", True),
    ],
)
def test_address_is_matched_against_the_list(values: list[str], address: str | None, expected: bool) -> None:
    assert compile_networks(values).contains(address) is expected


@pytest.mark.parametrize(
    ("values", "example"),
    [
        (["1.2.3.0/24", "9.9.9.9"], "1.2.3.0"),
        (["2001:db8::/32"], "2001:db8::"),
        (["nonsense"], None),
        ([], None),
    ],
)
def test_a_list_has_an_example_of_what_it_admits(values: list[str], example: str | None) -> None:
    assert compile_networks(values).example() == example


def test_list_without_a_usable_network_is_false() -> None:
    assert not compile_networks([])
    assert not compile_networks(["0.0.0.0/0"])
    assert compile_networks(["1.2.3.4"])


@settings(deadline=None)
@given(st.ip_addresses(), st.integers(1, 128), st.ip_addresses())
def test_matching_agrees_with_arithmetic(
    base: ipaddress.IPv4Address | ipaddress.IPv6Address,
    length: int,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    length = min(length, base.max_prefixlen)
    if isinstance(base, ipaddress.IPv6Address):
        assume(base.ipv4_mapped is None)
    if isinstance(address, ipaddress.IPv6Address):
        assume(address.ipv4_mapped is None)
    shift = base.max_prefixlen - length
    same = base.version == address.version and int(base) >> shift == int(address) >> shift
    matcher = compile_networks([parse_network(f"{base}/{length}").value])
    assert matcher.contains(str(address)) is same
    assert matcher.contains(str(base))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**16 - 1), st.integers(17, 32)), max_size=6), st.integers(0, 2**16 - 1)
)
def test_a_list_admits_what_one_of_its_networks_admits(listed: list[tuple[int, int]], number: int) -> None:
    """Networks in one /16, so that they touch and contain one another."""
    networks = [ipaddress.ip_network((0x0A010000 + base, length), strict=False) for base, length in listed]
    address = ipaddress.ip_address(0x0A010000 + number)
    expected = any(address in network for network in networks)
    assert (
        compile_networks([parse_network(str(one)).value for one in networks]).contains(str(address))
        is expected
    )


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(8, 16)), min_size=1, max_size=6),
    st.integers(0, 255),
)
def test_list_admits_what_any_of_its_networks_admits(listed: list[tuple[int, int]], second: int) -> None:
    """Networks of 10.0.0.0/8, most of which are within each other."""
    values = [parse_network(f"10.{number}.0.0/{length}").value for number, length in listed]
    address = ipaddress.ip_address(f"10.{second}.255.1")
    admitted = any(address in ipaddress.ip_network(value) for value in values)
    assert compile_networks(values).contains(str(address)) is admitted


@settings(deadline=None)
@given(st.text())
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    for part in [text, *split_list(text)]:
        with contextlib.suppress(NetworkError):
            parse_network(part)
    assert compile_networks([text]).contains(text) in (True, False)
