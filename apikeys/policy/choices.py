"""States, permissions, IP policies and limits of keys, and the rules that combine them. No ORM."""

from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import digits

LIVE_KEYS = 30
NETWORKS_A_KEY = 30
FIRST_SETTINGS_SECONDS = 600
#: A key that trades from any address is the most valuable one to steal: its trade permission has to be renewed.
UNRESTRICTED_TRADE = timedelta(days=90)


class KeyState(TextChoices):
    ACTIVE = "active", _("active")
    FROZEN = "frozen", _("paused")
    REVOKED = "revoked", _("deleted")


class RequestState(TextChoices):
    """The states of a key that the exchange requests from a customer. All but the first one are final."""

    WAITING = "waiting", _("waiting for the customer")
    CONFIRMED = "confirmed", _("confirmed")
    DECLINED = "declined", _("refused")
    CANCELLED = "cancelled", _("withdrawn by Hitobit")
    EXPIRED = "expired", _("expired")


class IpPolicy(TextChoices):
    UNRESTRICTED = "unrestricted", _("Unrestricted")
    TRUSTED = "trusted", _("Restricted to trusted IPs only")


class Permission(TextChoices):
    READ = "read", _("Read")
    TRADE = "trade", _("Trade")
    WITHDRAW = "withdraw", _("Withdraw")


def check_rules(permissions: frozenset[str], ip_policy: str, values: list[str]) -> None:
    """Check the rules that combine permissions, IP policy and networks. Raises `ValidationError` by field."""
    if not permissions:
        raise ValidationError({"permissions": _("Choose at least one permission.")})
    if not permissions <= set(Permission.values) or ip_policy not in IpPolicy.values:
        raise ValidationError(_("This option does not exist."))
    if len(values) > NETWORKS_A_KEY:
        raise ValidationError(
            {"network": fill(_("A key can have at most %(n)s IPs."), n=digits(NETWORKS_A_KEY))}
        )
    if "withdraw" in permissions and ip_policy != IpPolicy.TRUSTED:
        raise ValidationError({"permissions": _("“Withdraw” needs access restricted to trusted IPs.")})
    if ip_policy == IpPolicy.TRUSTED and not values:
        raise ValidationError(
            {"network": _("Add at least one trusted IP. Without one, nobody could use the key.")}
        )
