"""What a change of a key's settings does to its power. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from accounts.wording import change_text, kept_networks_text

ORDER = ("read", "trade", "withdraw")


@dataclass(frozen=True)
class Settings:
    """Permissions, IP policy, networks and expiry of a key, as they are or as they are wanted.

    ``expires_at``: ISO 8601 with offset; "" for never.
    """

    permissions: frozenset[str]
    ip_policy: str
    networks: tuple[str, ...]
    expires_at: str = ""

    def as_json(self) -> dict[str, Any]:
        """JSON values in one spelling: equal settings give equal JSON, so an approval can be bound to them."""
        return {
            "permissions": [value for value in ORDER if value in self.permissions],
            "ip_policy": self.ip_policy,
            "networks": sorted(self.networks),
            "expires_at": self.expires_at,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        return cls(
            frozenset(data["permissions"]),
            data["ip_policy"],
            tuple(data["networks"]),
            data["expires_at"],
        )

    @property
    def expiry(self) -> datetime | None:
        return datetime.fromisoformat(self.expires_at) if self.expires_at else None


@dataclass(frozen=True)
class Change:
    before: Settings
    after: Settings

    @property
    def adds_power(self) -> bool:
        """Whether the key could do anything, from anywhere, at any time, that it could not do before."""
        if self.after.permissions - self.before.permissions or self._lives_longer or self._trades_longer:
            return True
        if self.before.ip_policy == "unrestricted":
            return False
        if self.after.ip_policy == "unrestricted":
            return True
        old = [ip_network(value) for value in self.before.networks]
        return any(not _inside(ip_network(value), old) for value in self.after.networks)

    @property
    def _trades_longer(self) -> bool:
        # SECURITY: trading from anywhere ends after 90 days, and renewing it takes a code. Restricted to a thief's own
        # address, a key would go on trading for ever, or trade again, without one.
        trades = "trade" in self.before.permissions & self.after.permissions
        return trades and self.before.ip_policy == "unrestricted" and self.after.ip_policy != "unrestricted"

    @property
    def _lives_longer(self) -> bool:
        before, after = self.before.expiry, self.after.expiry
        return before is not None and (after is None or after > before)

    def codes(self) -> list[str]:
        """The difference in the codes of `accounts.wording.change_text`, for the audit trail."""
        codes = []
        for value in ORDER:
            had, has = value in self.before.permissions, value in self.after.permissions
            if had != has:
                codes.append(f"{'+' if has else '-'}{value}")
        if self.before.ip_policy != self.after.ip_policy:
            codes.append(f"ip:{self.after.ip_policy}")
        if self._trades_longer:
            codes.append("trade:lasting")
        codes += [f"+{value}" for value in self.after.networks if value not in self.before.networks]
        codes += [f"-{value}" for value in self.before.networks if value not in self.after.networks]
        if self.before.expires_at != self.after.expires_at:
            codes.append(f"expires:{self.before.expires_at}>{self.after.expires_at}")
        return codes

    def lines(self, *, short: bool = False) -> list[str]:
        """The difference in words, one line each, for the page; ``short``: for the SMS."""
        lines = [change_text(code) for code in self.codes()]
        kept = [value for value in self.after.networks if value in self.before.networks]
        if self.after.permissions - self.before.permissions and kept:
            # SECURITY: taking a permission away and listing an address need no codes. A thief with a session does both
            # and waits until the owner, whose program stopped, gives the permission back.
            lines.append(kept_networks_text(kept, short=short))
        return lines


def _inside(network: IPv4Network | IPv6Network, allowed: list[IPv4Network | IPv6Network]) -> bool:
    return any(network.version == old.version and network.subnet_of(old) for old in allowed)  # type: ignore[arg-type]
