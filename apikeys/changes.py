"""What a change of a key's settings does to its power. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from accounts.wording import change_text

ORDER = ("read", "trade", "withdraw")


@dataclass(frozen=True)
class Settings:
    """Permissions, IP policy, networks and expiry of a key, as they are or as they are wanted.

    ``expires_at``: ISO 8601 with offset; "" for never. ``trade_ended``: it may trade from anywhere, but the time for
    which that was given is over.
    """

    permissions: frozenset[str]
    ip_policy: str
    networks: tuple[str, ...]
    expires_at: str = ""
    trade_ended: bool = False

    def as_json(self) -> dict[str, Any]:
        """JSON values in one spelling: equal settings give equal JSON, so an approval can be bound to them."""
        return {
            "permissions": [value for value in ORDER if value in self.permissions],
            "ip_policy": self.ip_policy,
            "networks": sorted(self.networks),
            "expires_at": self.expires_at,
            "trade_ended": self.trade_ended,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        return cls(
            frozenset(data["permissions"]),
            data["ip_policy"],
            tuple(data["networks"]),
            data["expires_at"],
            data.get("trade_ended", False),
        )

    @property
    def expiry(self) -> datetime | None:
        return datetime.fromisoformat(self.expires_at) if self.expires_at else None


@dataclass(frozen=True)
class Change:
    before: Settings
    after: Settings

    @classmethod
    def of(cls, before: Settings, wanted: Settings) -> Change:
        """The change to what a form asks for; a form does not know that the time for trading is over."""
        keeps = "trade" in wanted.permissions and wanted.ip_policy == before.ip_policy
        return cls(before, replace(wanted, trade_ended=before.trade_ended and keeps))

    @property
    def adds_power(self) -> bool:
        """Whether the key could do anything, from anywhere, that it could not do before."""
        if self.after.permissions - self.before.permissions or self._trades_again:
            return True
        if self._lives_longer:
            return True
        if self.before.ip_policy == "unrestricted":
            return False
        if self.after.ip_policy == "unrestricted":
            return True
        old = [ip_network(value) for value in self.before.networks]
        return any(not _inside(ip_network(value), old) for value in self.after.networks)

    @property
    def _trades_again(self) -> bool:
        # SECURITY: restricted to a thief's own address, a key that no longer trades would trade again without a code.
        return self.before.trade_ended and not self.after.trade_ended and "trade" in self.after.permissions

    @property
    def _lives_longer(self) -> bool:
        before, after = self.before.expiry, self.after.expiry
        return before is not None and (after is None or after > before)

    def codes(self) -> list[str]:
        """The difference in the codes of `accounts.wording.change_text`, for the audit trail."""
        codes = []
        for value in ORDER:
            had, has = value in self.before.permissions, value in self.after.permissions
            if had != has or (value == "trade" and self._trades_again):
                codes.append(f"{'+' if has else '-'}{value}")
        if self.before.ip_policy != self.after.ip_policy:
            codes.append(f"ip:{self.after.ip_policy}")
        codes += [f"+{value}" for value in self.after.networks if value not in self.before.networks]
        codes += [f"-{value}" for value in self.before.networks if value not in self.after.networks]
        if self.before.expires_at != self.after.expires_at:
            codes.append(f"expires:{self.before.expires_at}>{self.after.expires_at}")
        return codes

    def lines(self) -> list[str]:
        """The difference in words, one line each, for the page and the SMS."""
        return [change_text(code) for code in self.codes()]


def _inside(network: IPv4Network | IPv6Network, allowed: list[IPv4Network | IPv6Network]) -> bool:
    return any(network.version == old.version and network.subnet_of(old) for old in allowed)  # type: ignore[arg-type]
