"""Compare a key's settings before and after a change: the change codes, and whether power is added. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from accounts.choices.approvals import Change, ChangeRow
from apikeys.policy import power
from apikeys.policy.detail_texts import (
    change_text,
    expiry_text,
    kept_networks_text,
    permission_names,
    removes_protection,
)
from apikeys.policy.power import RENEWED, Codes, Power

#: Fewer parts are a list.
ROWS_FROM = 3
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

    @property
    def kept_networks(self) -> list[str]:
        """Return the networks that a new permission will work from although they are not new.

        SECURITY: removing a permission and adding an address require no codes. A thief with a session could do both,
        and wait until the owner, whose program stopped, adds the permission again.
        """
        if not self.after.permissions - self.before.permissions:
            return []
        return [value for value in self.after.networks if value in self.before.networks]

    def _said_codes(self) -> list[str]:
        """Return the codes of the parts that are said: a restriction that is removed takes its IPs along."""
        codes = self.codes()
        if "ip:unrestricted" in codes:
            return [code for code in codes if code[1:] not in self.before.networks]
        return codes

    def lines(self) -> list[str]:
        """Return the change as texts for the SMS."""
        lines = [change_text(code) for code in self._said_codes()]
        return [*lines, kept_networks_text(kept, short=True)] if (kept := self.kept_networks) else lines

    def parts(self) -> list[Change]:
        """Return the change as a list for the page."""
        parts = [
            Change(change_text(code), "warn" if removes_protection(code) else "")
            for code in self._said_codes()
        ]
        return (
            [*parts, Change(kept_networks_text(kept, short=False))] if (kept := self.kept_networks) else parts
        )

    def rows(self) -> list[ChangeRow]:
        """Return a change of `ROWS_FROM` parts or more as a table of what was and what will be; [] for a smaller one.

        The IPs are in it whenever the list would name them.
        """
        codes, before, after = self.codes(), self.before, self.after
        if len(self._said_codes()) < ROWS_FROM:
            return []
        rows = []
        if before.permissions != after.permissions:
            rows.append(ChangeRow(_("Permissions"), _permissions(before), _permissions(after)))
        if _ips(before) != _ips(after) or self.kept_networks:
            tone = "warn" if "ip:unrestricted" in codes else ""
            rows.append(ChangeRow(_("Trusted IPs"), _ips(before), _ips(after), tone))
        if "trade:lasting" in codes:
            rows.append(ChangeRow(_("Trading"), [_("90 days at a time")], [_("without an end")]))
        if before.expires_at != after.expires_at:
            tone = "warn" if any(map(removes_protection, codes[-1:])) else ""
            ends = ([expiry_text(before.expires_at)], [expiry_text(after.expires_at)])
            rows.append(ChangeRow(_("Expiry"), *ends, tone))
        return rows


def _permissions(settings: Settings) -> list[str]:
    names = permission_names()
    return [names[value] for value in ORDER if value in settings.permissions]


def _ips(settings: Settings) -> list[str]:
    return [_("Any IP")] if settings.ip_policy == "unrestricted" else list(settings.networks)
