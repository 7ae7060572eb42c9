"""Which addresses a request to a configured name may go to. Pure."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Network = IPv4Network | IPv6Network

#: IANA's special-purpose registries, multicast, and what is reserved. Written out: `is_global` of Python before 3.11.10
#: allows some of them (CVE-2024-4032).
SPECIAL_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; metadata of Alibaba Cloud
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's virtual public address of its own platform
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
#: Everything public is in here. Mapped and translated IPv4 addresses, loopback, local and multicast ones are not.
PUBLIC_V6 = IPv6Network("2000::/3")
SPECIAL_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, which contains IPv4 addresses, and others
        "2001:db8::/32",
        "2002::/16",  # 6to4, which contains IPv4 addresses
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether ``address`` is an ordinary address of the internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL_V4)
    if address.scope_id is not None:
        return False
    return address in PUBLIC_V6 and not any(address in network for network in SPECIAL_V6)


def is_within(address: IPv4Address | IPv6Address, networks: Collection[Network]) -> bool:
    return any(address in network for network in networks)


def parse_networks(texts: Collection[str]) -> list[Network]:
    """Parse networks that are allowed although they are not public. Raise `ValueError`, also for all addresses."""
    networks = [ip_network(text) for text in texts]
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("a network contains every address")
    return networks
