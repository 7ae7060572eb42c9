"""Templates for new keys: what the form of the first settings shows as chosen, and why.

A template is a proposal. The key is made like any other, reading from any IP; what is saved is what its owner then
sends, under the rules and codes of every change.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apikeys.policy.choices import IpPolicy, Permission

#: Value of the field for a key without a template.
OWN_CHOICE = ""


@dataclass(frozen=True)
class KeyTemplate:
    """``sets``: the choices in a few words; ``why``: the reason for them; ``expiry``: a value of `forms.EXPIRIES`."""

    title: Promise
    sets: Promise
    why: Promise
    permissions: tuple[str, ...]
    ip_policy: str
    expiry: str


TEMPLATES: Mapping[str, KeyTemplate] = {
    "reading": KeyTemplate(
        _("Read only (tax, portfolio)"),
        _("Read; from any IP; one year"),
        _(
            "A tax or portfolio service only reads, and from IPs that you do not know. A key that cannot trade or "
            "withdraw moves nothing, even if it is stolen."
        ),
        (Permission.READ.value,),
        IpPolicy.UNRESTRICTED.value,
        "365",
    ),
    "bot": KeyTemplate(
        _("Trading bot"),
        _("Read and trade; from your IPs; 90 days"),
        _(
            "A bot runs in one place: with its IP in the list, nobody can trade with a stolen key. The expiry stops "
            "a bot that was forgotten; you get a notice before."
        ),
        (Permission.READ.value, Permission.TRADE.value),
        IpPolicy.TRUSTED.value,
        "90",
    ),
    "market-maker": KeyTemplate(
        _("Market maker"),
        _("Read and trade; from your IPs; 180 days"),
        _(
            "It quotes around the clock: list the IP of every server, including the spare ones. Downtime is expensive, "
            "so the key lasts half a year; you get a notice before it ends."
        ),
        (Permission.READ.value, Permission.TRADE.value),
        IpPolicy.TRUSTED.value,
        "180",
    ),
    "treasury": KeyTemplate(
        _("Treasury"),
        _("Read and withdraw; from your IPs; 30 days"),
        _(
            "Moves assets out, so it gets the least of everything else: no trading, only the IPs of your own servers, "
            "and the shortest time."
        ),
        (Permission.READ.value, Permission.WITHDRAW.value),
        IpPolicy.TRUSTED.value,
        "30",
    ),
}
