"""The power of a key, and the codes that a change of it requires. Pure: no ORM, no Django, no clock.

The power of a key is its permissions, the addresses that it may be used from, its end, and the credentials that sign
for it. `codes_for` compares two powers part by part. If any part grows, both codes are required, with one exception:
the permission to trade from any address, while it has not ended, is renewed with the authenticator's code alone.

A part that has no effect at the moment is compared like any other. A key that is paused, has expired or belongs to a
frozen account can do nothing; a person who ends such a stop approves the end of the stop and nothing else. A permission
that was added to an expired key without codes would take effect with a later expiry whose approval does not mention it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

#: Placeholder for the end of the trade permission of an unrestricted key if only the settings are known; renewals
#: change the real date.
RENEWED = datetime.max.replace(tzinfo=UTC)


class Codes(enum.IntEnum):
    """The codes that a change requires, or that were entered for it; a greater value means more codes."""

    NONE = 0
    AUTHENTICATOR = 1
    BOTH = 2


@dataclass(frozen=True, slots=True)
class Power:
    """The power of a key.

    Attributes:
        networks: None for all addresses.
        until: expiry; None for no end.
        trades_until: end of the trade permission; None for no end.
        credentials: the live credentials, each with its end or None.
        runs: the key is not paused.
    """

    permissions: frozenset[str]
    networks: tuple[str, ...] | None
    until: datetime | None
    trades_until: datetime | None
    credentials: frozenset[tuple[str, datetime | None]] = frozenset()
    runs: bool = True


def codes_for(before: Power, after: Power, now: datetime) -> Codes:
    """Return the codes that are required at ``now`` to change ``before`` into ``after``."""
    grows = (
        after.permissions - before.permissions
        or _opens_addresses(before.networks, after.networks)
        or _is_later(before.until, after.until)
        or _adds_credentials(before, after)
        or (after.runs and not before.runs)
    )
    if grows:
        return Codes.BOTH
    if not trades_longer(before, after):
        return Codes.NONE
    # SECURITY: after the trade permission has ended, a renewal adds power. A thief with a session and the authenticator
    # must not be able to reactivate trading of a key whose permission lapsed.
    runs = before.trades_until is not None and now < before.trades_until
    return Codes.AUTHENTICATOR if runs and after.trades_until is not None else Codes.BOTH


def trades_longer(before: Power, after: Power) -> bool:
    """Return whether the key can trade in both, and for longer in ``after``."""
    # SECURITY: trading from any address ends after 90 days. By restricting the key to an address of their own, a thief
    # could otherwise trade without an end, or again after the end.
    trades = "trade" in before.permissions and "trade" in after.permissions
    return trades and _is_later(before.trades_until, after.trades_until)


def _is_later(before: datetime | None, after: datetime | None) -> bool:
    return before is not None and (after is None or after > before)


def _adds_credentials(before: Power, after: Power) -> bool:
    ends = dict(before.credentials)
    return any(name not in ends or _is_later(ends[name], end) for name, end in after.credentials)


def _opens_addresses(before: tuple[str, ...] | None, after: tuple[str, ...] | None) -> bool:
    if before is None:
        return False
    if after is None:
        return True
    old = [ip_network(value) for value in before]
    return any(not _is_inside(ip_network(value), old) for value in after)


def _is_inside(network: IPv4Network | IPv6Network, allowed: list[IPv4Network | IPv6Network]) -> bool:
    return any(network.version == old.version and network.subnet_of(old) for old in allowed)  # type: ignore[arg-type]
