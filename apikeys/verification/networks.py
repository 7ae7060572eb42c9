"""Parse, normalise and match the networks of an IP allow-list. Pure: no ORM, no Django."""

from __future__ import annotations

import enum
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from hitobit_portal.http import client_ip

# Lists are pasted from chats and spreadsheets: with Persian commas and semicolons, any white space, and the invisible
# marks of right-to-left text. Marks are separators, so that removing one cannot join two texts into a new address.
_SEPARATORS = re.compile("[\\s,;\u060c\u061b\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+")
# Persian keyboards write the decimal separator U+066B instead of a dot.
_DIGITS = {0x066B: "."} | {base + value: str(value) for base in (0x0660, 0x06F0) for value in range(10)}
_SHAPE = re.compile(r"(?P<address>[0-9A-Fa-f:.]+)(?:/(?P<prefix>.*))?", re.DOTALL)
_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}")
_IPV4_ADDRESSES = 2**32
#: Shortest allowed prefix by IP version: thirty networks cover at most an eighth of IPv4, and less of IPv6.
#: SECURITY: 0.0.0.0/1 and 128.0.0.0/1 together are all addresses; a key "restricted" to them could withdraw from any
#: address and trade without an end.
SHORTEST_PREFIX = {4: 8, 6: 24}
#: Addresses of examples: RFC 5737, RFC 3849.
_EXAMPLES = [
    ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]


#: Prefix of a network whose change is worth a notice, by IP version.
WIDE_PREFIX = {4: 16, 6: 48}


class NetworkProblem(enum.Enum):
    """Why a text is not accepted as an entry of an allow-list."""

    SHAPE = "shape"
    PREFIX = "prefix"
    TOO_WIDE = "too_wide"


class NetworkError(ValueError):
    """A text is not an acceptable network; `kind` is the reason."""

    def __init__(self, kind: NetworkProblem) -> None:
        super().__init__(kind.value)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Network:
    """One entry of an allow-list.

    Attributes:
        value: normalised: compressed, IPv4-mapped unwrapped, a single address without its prefix.
        corrected: host bits were set and have been cleared (``1.2.3.4/24`` became ``1.2.3.0/24``).
        private: not reachable on the Internet (private, loopback, link-local, shared; RFC 6890). The addresses of
            examples (RFC 5737, RFC 3849) are not counted: the portal's own texts use them.
    """

    value: str
    corrected: bool
    private: bool


@dataclass(frozen=True, slots=True)
class NetworkMatcher:
    """A compiled allow-list: sorted, disjoint ranges of numbers as `address_number` returns them.

    An empty matcher is false and matches no address.
    """

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.starts)

    def contains(self, ip_text: str | None) -> bool:
        """Return whether the address is in the list; an invalid address is not."""
        number = address_number(ip_text)
        return number is not None and self.holds(number)

    def holds(self, number: int) -> bool:
        """Return whether an address, given as `address_number` returns it, is in the list."""
        index = bisect_right(self.starts, number)
        return index > 0 and number <= self.ends[index - 1]

    def example(self) -> str | None:
        """Return one address of the list; None if it is empty."""
        return _text_of(self.starts[0]) if self.starts else None


# Gateways see the same addresses repeatedly; parsing one costs more than a cache lookup.
@lru_cache(maxsize=65_536)
def address_number(ip_text: str | None) -> int | None:
    """Return an address as a number: IPv4 (also mapped) from 0, IPv6 above it; ``None`` for an invalid address."""
    address = client_ip.parse_address(ip_text)
    return None if address is None else _number(address)


@lru_cache(maxsize=65_536)
def wide_network(ip_text: str) -> str:
    """Return the network whose change is worth a notice to the owner of a key; "" for an invalid address.

    IPv4: /16. Home and mobile connections change their address within the pool of a provider, which is mostly larger
    than a /24. IPv6: /48, which is what a site is given at most.
    """
    address = client_ip.parse_address(ip_text)
    if address is None:
        return ""
    prefix = WIDE_PREFIX[address.version]
    host_bits = address.max_prefixlen - prefix
    return str(ip_network((int(address) >> host_bits << host_bits, prefix)))


def _number(address: client_ip.Address) -> int:
    return int(address) if isinstance(address, IPv4Address) else int(address) + _IPV4_ADDRESSES


def _text_of(number: int) -> str:
    return str(IPv4Address(number) if number < _IPV4_ADDRESSES else IPv6Address(number - _IPV4_ADDRESSES))


def _is_private(network: IPv4Network | IPv6Network) -> bool:
    if network.is_global:
        return False
    return not any(
        network.subnet_of(example)  # type: ignore[arg-type]
        for example in _EXAMPLES
        if example.version == network.version
    )


def split_list(text: str) -> list[str]:
    """Split a pasted list into its entries; Persian and Arabic digits become ASCII."""
    return [part for part in _SEPARATORS.split(text.translate(_DIGITS)) if part]


def parse_network(text: str) -> Network:
    """Parse one IPv4 or IPv6 address or network in CIDR notation.

    Raises:
        NetworkError: `NetworkProblem.SHAPE`: not an address; `NetworkProblem.PREFIX`: the prefix length is not a plain
            number in range; `NetworkProblem.TOO_WIDE`: the network has every address.
    """
    network, corrected = _parse(text.translate(_DIGITS).strip())
    single = network.prefixlen == network.max_prefixlen
    value = str(network.network_address) if single else str(network)
    return Network(value=value, corrected=corrected, private=_is_private(network))


def parse_entry(text: str) -> Network:
    """Parse a new entry of an allow-list: as `parse_network`, and raise `NetworkProblem.TOO_WIDE` if `is_too_wide`."""
    network = parse_network(text)
    if is_too_wide(network.value):
        raise NetworkError(NetworkProblem.TOO_WIDE)
    return network


def is_too_wide(value: str) -> bool:
    """Return whether a network (as in `Network.value`) is too large a part of the Internet for an allow-list."""
    network = ip_network(value)
    return network.prefixlen < SHORTEST_PREFIX[network.version]


def compile_networks(values: Iterable[str]) -> NetworkMatcher:
    """Compile stored networks for matching.

    Unreadable stored values are skipped: they match no address, and the other entries still apply.
    """
    ranges: list[tuple[int, int]] = []
    for value in values:
        try:
            network = _parse(value)[0]
        except NetworkError:
            continue
        ranges.append((_number(network[0]), _number(network[-1])))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    # Both ends of a single address share one int object: gateways keep a hundred thousand lists in memory.
    ends = (start if start == end else end for start, end in merged)
    return NetworkMatcher(tuple(start for start, _end in merged), tuple(ends))


def _parse(text: str) -> tuple[client_ip.Network, bool]:
    """Return the unwrapped network and whether host bits had to be cleared."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise NetworkError(NetworkProblem.SHAPE)
    try:
        whole = ip_network(shape["address"])
    except ValueError:
        raise NetworkError(NetworkProblem.SHAPE) from None
    length = _prefix_length(shape["prefix"], whole.max_prefixlen)
    mapped = isinstance(whole, IPv6Network) and whole.network_address.ipv4_mapped is not None
    network = client_ip.unwrap_network(whole.supernet(new_prefix=length))
    # SECURITY: "1.2.3.4/0" would open a restricted key to the whole Internet, and so would a mapped address with a
    # prefix shorter than the 96 bits in front of it.
    if network.prefixlen == 0 or (mapped and length < client_ip.MAPPED_BITS):
        raise NetworkError(NetworkProblem.TOO_WIDE)
    return network, client_ip.parse_address(shape["address"]) != network.network_address


def _prefix_length(text: str | None, longest: int) -> int:
    if text is None:
        return longest
    # Netmasks are rejected too: "/0.0.0.255" and "/255.255.255.0" are easily confused.
    if _PREFIX.fullmatch(text) is None or int(text) > longest:
        raise NetworkError(NetworkProblem.PREFIX)
    return int(text)
