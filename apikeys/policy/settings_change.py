"""Compare a key's settings before and after a change: the change codes, and whether power is added. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apikeys.policy import power
from apikeys.policy.detail_texts import change_text, kept_networks_text
from apikeys.policy.power import RENEWED, Codes, Power

ORDER = ("read", "trade", "withdraw")


@dataclass(frozen=True)
class Settings:
    """Permissions, IP policy, networks and expiry of a key, current or requested.

    ``expires_at``: ISO 8601 with offset; "" for never.
    """

    permissions: frozenset[str]
    ip_policy: str
    networks: tuple[str, ...]
    expires_at: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values in a canonical form: equal settings give equal JSON, so an approval can be bound to it."""
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

    @property
    def power(self) -> Power:
        """Return the power of a key with these settings, without its credentials and date of renewal."""
        if self.ip_policy == "unrestricted":
            return Power(self.permissions, None, self.expiry, RENEWED)
        return Power(self.permissions, self.networks, self.expiry, None)


@dataclass(frozen=True)
class SettingsChange:
    before: Settings
    after: Settings

    @property
    def adds_power(self) -> bool:
        """Return whether the key gets any ability, address or time that it did not have before."""
        # Settings have no date of renewal, so the result does not depend on the time.
        return power.codes_for(self.before.power, self.after.power, RENEWED) is not Codes.NONE

    def codes(self) -> list[str]:
        """Return the change codes (see `apikeys.policy.detail_texts.change_text`) for the audit trail."""
        codes = []
        for value in ORDER:
            had, has = value in self.before.permissions, value in self.after.permissions
            if had != has:
                codes.append(f"{'+' if has else '-'}{value}")
        if self.before.ip_policy != self.after.ip_policy:
            codes.append(f"ip:{self.after.ip_policy}")
        if power.trades_longer(self.before.power, self.after.power):
            codes.append("trade:lasting")
        codes += [f"+{value}" for value in self.after.networks if value not in self.before.networks]
        codes += [f"-{value}" for value in self.before.networks if value not in self.after.networks]
        if self.before.expires_at != self.after.expires_at:
            codes.append(f"expires:{self.before.expires_at}>{self.after.expires_at}")
        return codes

    def lines(self, *, short: bool = False) -> list[str]:
        """Return the change as texts, one line each, for the page; ``short``: for the SMS."""
        lines = [change_text(code) for code in self.codes()]
        kept = [value for value in self.after.networks if value in self.before.networks]
        if self.after.permissions - self.before.permissions and kept:
            # SECURITY: removing a permission and adding an address require no codes. A thief with a session could do
            # both, and wait until the owner, whose program stopped, adds the permission again.
            lines.append(kept_networks_text(kept, short=short))
        return lines
