"""Find the address of the caller behind trusted proxies. Pure: no Django, no settings, no clock.

The address decides whether a key may be used and which rate limit counts a request. Text that is not an address gives
``None``, and every caller of this module must reject ``None``.
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
    """Parse one IP address. An IPv4-mapped IPv6 address gives the IPv4 address.

    Returns ``None`` for anything that is not exactly one address: spaces, ports, leading zeros, digits outside ASCII,
    zone ids (``fe80::1%eth0`` is meaningful on one machine only).
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
    """The address of ``1.2.3.4:55``, ``[2001:db8::1]:443`` or ``[2001:db8::1]``; other text unchanged."""
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        return text
    if match["six"] is None:
        return match["four"]
    # Brackets are for IPv6 only: no proxy writes "[1.2.3.4]".
    return match["six"] if ":" in match["six"] else text


def unwrap_network(network: Network) -> Network:
    """Turn a network of IPv4-mapped addresses (``::ffff:1.2.3.0/120``) into the IPv4 network."""
    if isinstance(network, IPv6Network) and network.prefixlen >= MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - MAPPED_BITS))
    return network


def parse_trusted(values: Iterable[str]) -> list[Network]:
    """Parse the networks of the trusted proxies.

    Raises:
        ValueError: with the value, if it is not a network, has host bits set, or contains every address.
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
        The normalised address: the first from the right that is not a trusted proxy; if all are, the leftmost one.
        ``None`` if an entry on the way is not an address: the request must be rejected.
    """
    peer = parse_address(remote_addr)
    if peer is None:
        return None
    # SECURITY: the header of a peer that is not our proxy was written by an attacker.
    if forwarded_for is None or not _is_trusted(peer, trusted):
        return str(peer)
    caller = peer
    # SECURITY: from the right, because each proxy appends its peer, and an attacker chooses the left end.
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
