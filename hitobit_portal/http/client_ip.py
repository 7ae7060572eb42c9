"""The one resolver of a caller's address. Pure: no Django, no settings, no clock.

A caller's address decides whether a key may be used and which rate bucket a request falls into, so a
text that cannot be understood is ``None`` here, and ``None`` is refused by everyone who asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAPPED_BITS = 96  # ::ffff:0:0/96 holds the IPv4-mapped addresses (RFC 4291, 2.5.5.2)

# Some balancers append the source port: "1.2.3.4:55", "[2001:db8::1]:443".
_WITH_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?")


def parse_address(text: str | None) -> Address | None:
    """Read one IP address, an IPv4-mapped IPv6 address as the IPv4 address that it carries.

    Returns ``None`` for anything that is not exactly one address: spaces, ports, leading zeros,
    digits outside ASCII and zone ids (``fe80::1%eth0`` means something on one machine only).
    """
    # SECURITY: "::ffff:1.2.3.4%x" and "::ffff:1.2.3.4" would be two rate buckets for one attacker.
    if not text or "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def without_port(text: str) -> str:
    """The address of ``1.2.3.4:55``, ``[2001:db8::1]:443`` or ``[2001:db8::1]``; any other text as it is."""
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        return text
    if match["six"] is None:
        return match["four"]
    # Brackets are for IPv6 alone: "[1.2.3.4]" was not written by any proxy.
    return match["six"] if ":" in match["six"] else text


def unwrap_network(network: Network) -> Network:
    """Turn a network of IPv4-mapped addresses (``::ffff:1.2.3.0/120``) into the IPv4 network it means."""
    if isinstance(network, IPv6Network) and network.prefixlen >= MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - MAPPED_BITS))
    return network


def parse_trusted(values: Iterable[str]) -> list[Network]:
    """Read the networks of the trusted proxies from the configuration.

    Raises:
        ValueError: naming the value, if it is no network, has host bits set, or is as wide as the Internet.
    """
    networks: list[Network] = []
    for value in values:
        try:
            if "%" in value:
                raise ValueError("zone ids are not supported")
            network = unwrap_network(ip_network(value.strip()))
        except ValueError as error:
            raise ValueError(f"{value!r} is not a network of trusted proxies: {error}") from None
        # SECURITY: trusting every address as a proxy lets every caller choose its own address.
        if network.prefixlen == 0:
            raise ValueError(f"{value!r} trusts every address as a proxy")
        networks.append(network)
    return networks


def resolve(remote_addr: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str | None:
    """Find the address of the caller behind the trusted proxies.

    Args:
        remote_addr: the address of the TCP peer.
        forwarded_for: the ``X-Forwarded-For`` header, ``None`` if there was none.
        trusted: the networks of our own proxies, from `parse_trusted`.

    Returns:
        The normalised address: the first from the right that is not a trusted proxy; the leftmost one if all
        are. ``None`` if an address that had to be read on the way was not one: the caller must be refused.
    """
    peer = parse_address(remote_addr)
    if peer is None:
        return None
    # SECURITY: the header of a peer that is not our proxy is whatever an attacker wrote into it.
    if forwarded_for is None or not _is_trusted(peer, trusted):
        return str(peer)
    caller = peer
    # SECURITY: from the right. The left end is the attacker's; each proxy appends whom it saw.
    for entry in reversed(forwarded_for.split(",")):
        address = _parse_entry(entry)
        if address is None:
            return None
        caller = address
        if not _is_trusted(caller, trusted):
            break
    return str(caller)


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _parse_entry(entry: str) -> Address | None:
    return parse_address(without_port(entry.strip(" \t")))
