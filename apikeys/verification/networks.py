"""Parse, normalise and match the networks of an allow-list. Pure: no ORM, no Django."""

from __future__ import annotations

import enum
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from hitobit_portal.http import client_ip

# People paste lists from chats and spreadsheets: Persian comma and semicolon, any white space, and the
# invisible marks that right-to-left text carries. Marks separate, so that removing one never joins two
# texts into an address that nobody wrote.
_SEPARATORS = re.compile("[\\s,;\u060c\u061b\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+")
# Persian keyboards write the decimal separator U+066B where others have a dot.
_DIGITS = {0x066B: "."} | {base + value: str(value) for base in (0x0660, 0x06F0) for value in range(10)}
_SHAPE = re.compile(r"(?P<address>[0-9A-Fa-f:.]+)(?:/(?P<prefix>.*))?", re.DOTALL)
_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}")
_IPV4_ADDRESSES = 2**32
#: Prefixes of what may be listed, by IP version: thirty of them are an eighth of IPv4 at most, and of IPv6 less.
#: SECURITY: 0.0.0.0/1 and 128.0.0.0/1 are everywhere; a key restricted to them could withdraw, and trade for ever.
SHORTEST = {4: 8, 6: 24}


class Problem(enum.Enum):
    """Why a text is not a network that may stand in an allow-list."""

    SHAPE = "shape"
    PREFIX = "prefix"
    TOO_WIDE = "too_wide"


class NetworkError(ValueError):
    """A text was refused; `kind` says why."""

    def __init__(self, kind: Problem) -> None:
        super().__init__(kind.value)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Network:
    """One entry of an allow-list.

    Attributes:
        value: normalised: compressed, IPv4-mapped unwrapped, a single address without its prefix.
        corrected: host bits were set and have been cleared (``1.2.3.4/24`` became ``1.2.3.0/24``).
        private: nobody on the Internet calls from there (private, loopback, link-local, shared; RFC 6890).
    """

    value: str
    corrected: bool
    private: bool


@dataclass(frozen=True, slots=True)
class Matcher:
    """A compiled allow-list: ranges of `number_of` an address, sorted, none touching the next.

    It is false, and admits nobody, when it is empty.
    """

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.starts)

    def contains(self, ip_text: str | None) -> bool:
        """Tell whether the address is in the list; a text that is no address never is."""
        number = number_of(ip_text)
        return number is not None and self.holds(number)

    def holds(self, number: int) -> bool:
        """The same for an address that was read already."""
        place = bisect_right(self.starts, number)
        return place > 0 and number <= self.ends[place - 1]

    def example(self) -> str | None:
        """One address that is admitted; None when there is none."""
        return _text_of(self.starts[0]) if self.starts else None


# Gateways see the same callers again and again; reading an address costs more than looking it up here.
@lru_cache(maxsize=65_536)
def number_of(ip_text: str | None) -> int | None:
    """An address as a number: IPv4 (mapped ones too) from 0, IPv6 behind it; ``None`` for what is no address."""
    address = client_ip.parse_address(ip_text)
    return None if address is None else _number(address)


def _number(address: client_ip.Address) -> int:
    return int(address) if isinstance(address, IPv4Address) else int(address) + _IPV4_ADDRESSES


def _text_of(number: int) -> str:
    return str(IPv4Address(number) if number < _IPV4_ADDRESSES else IPv6Address(number - _IPV4_ADDRESSES))


def split_list(text: str) -> list[str]:
    """Split what a person pasted into its entries, with Persian and Arabic digits made ASCII."""
    return [part for part in _SEPARATORS.split(text.translate(_DIGITS)) if part]


def parse_network(text: str) -> Network:
    """Read one IPv4 or IPv6 address or CIDR.

    Raises:
        NetworkError: `Problem.SHAPE` for what is no address, `Problem.PREFIX` for a prefix length that is not
            a plain number in range, `Problem.TOO_WIDE` for a network that admits every address.
    """
    network, corrected = _read(text.translate(_DIGITS).strip())
    single = network.prefixlen == network.max_prefixlen
    value = str(network.network_address) if single else str(network)
    return Network(value=value, corrected=corrected, private=not network.is_global)


def parse_entry(text: str) -> Network:
    """Read what somebody wants to list: as `parse_network`, and `Problem.TOO_WIDE` also for what `is_too_wide`."""
    network = parse_network(text)
    if is_too_wide(network.value):
        raise NetworkError(Problem.TOO_WIDE)
    return network


def is_too_wide(value: str) -> bool:
    """Whether a network (as `Network.value`) is so large a part of the Internet that no list may have it."""
    network = ip_network(value)
    return network.prefixlen < SHORTEST[network.version]


def compile_networks(values: Iterable[str]) -> Matcher:
    """Prepare stored networks for matching.

    A stored value that cannot be read is left out: it admits nobody, and its neighbours stay in force.
    """
    ranges: list[tuple[int, int]] = []
    for value in values:
        try:
            network = _read(value)[0]
        except NetworkError:
            continue
        ranges.append((_number(network[0]), _number(network[-1])))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    # Of a single address both ends are one number in memory, too: gateways remember a hundred thousand lists.
    ends = (start if start == end else end for start, end in merged)
    return Matcher(tuple(start for start, _end in merged), tuple(ends))


def _read(text: str) -> tuple[client_ip.Network, bool]:
    """Return the unwrapped network and whether host bits had to be cleared."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise NetworkError(Problem.SHAPE)
    try:
        whole = ip_network(shape["address"])
    except ValueError:
        raise NetworkError(Problem.SHAPE) from None
    length = _prefix_length(shape["prefix"], whole.max_prefixlen)
    mapped = isinstance(whole, IPv6Network) and whole.network_address.ipv4_mapped is not None
    network = client_ip.unwrap_network(whole.supernet(new_prefix=length))
    # SECURITY: "1.2.3.4/0" would quietly open a restricted key to the Internet, and so would a mapped
    # address with a prefix shorter than the 96 bits in front of it.
    if network.prefixlen == 0 or (mapped and length < client_ip.MAPPED_BITS):
        raise NetworkError(Problem.TOO_WIDE)
    return network, client_ip.parse_address(shape["address"]) != network.network_address


def _prefix_length(text: str | None, longest: int) -> int:
    if text is None:
        return longest
    # Netmasks are refused too: "/0.0.0.255" and "/255.255.255.0" are easily taken for each other.
    if _PREFIX.fullmatch(text) is None or int(text) > longest:
        raise NetworkError(Problem.PREFIX)
    return int(text)
