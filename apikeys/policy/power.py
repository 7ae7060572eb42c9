"""What a key can do, and which codes a change of it takes. Pure: no ORM, no Django, no clock.

The power of a key is its permissions, the addresses that it may be used from, until when, and the credentials that sign
for it. `codes_for` compares two powers part by part. Any part that grows takes both codes, with one exception: trading
from any address that still runs is renewed by the authenticator's code alone.

A part that has no effect at the moment is compared like any other. A key that is paused, has expired or belongs to a
frozen account can do nothing; a person who lifts that stop approves the end of the stop and nothing else. A permission
that was given to an expired key without codes would come into force with a later expiry that does not mention it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

#: The end of trading from any address where only the settings are known: it is a day that renewals move.
RENEWED = datetime.max.replace(tzinfo=UTC)


class Codes(enum.IntEnum):
    """The codes that a change takes, or that were given for it; more is greater."""

    NONE = 0
    AUTHENTICATOR = 1
    BOTH = 2


@dataclass(frozen=True, slots=True)
class Power:
    """``networks``: None for every address. Ends (``until``, ``trades_until``, of a credential): None for no end.

    ``credentials`` are the live ones, each with its end. ``runs``: the key is not paused.
    """

    permissions: frozenset[str]
    networks: tuple[str, ...] | None
    until: datetime | None
    trades_until: datetime | None
    credentials: frozenset[tuple[str, datetime | None]] = frozenset()
    runs: bool = True


def codes_for(before: Power, after: Power, now: datetime) -> Codes:
    """The codes that it takes at ``now`` to turn ``before`` into ``after``."""
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
    # SECURITY: once trading has ended, a renewal gives back what the key no longer has. A thief who finds the session
    # and the authenticator of a key that was left to lapse must not make it trade again.
    runs = before.trades_until is not None and now < before.trades_until
    return Codes.AUTHENTICATOR if runs and after.trades_until is not None else Codes.BOTH


def trades_longer(before: Power, after: Power) -> bool:
    """Whether a key that trades in both goes on trading for longer."""
    # SECURITY: trading from anywhere ends after 90 days. Restricted to a thief's own address, a key would go on trading
    # without an end, or trade again after it.
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
