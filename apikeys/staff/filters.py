"""Filters and search for the staff's list of keys."""

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.staff.search import key_condition
from apikeys.models import AddressUse, AllowedNetwork, ApiKey, Refusal
from apikeys.policy.choices import IpPolicy, KeyState, Permission
from apikeys.policy.names import fold
from apikeys.verification import networks
from hitobit_portal.http.client_ip import parse_address

DAY = timedelta(days=1)
AGES = {
    "1": (_("in the last day"), 1),
    "7": (_("in the last week"), 7),
    "30": (_("in the last month"), 30),
    "older": (_("more than a year ago"), 365),
}
USES = {
    "1": (_("in the last day"), 1),
    "7": (_("in the last week"), 7),
    "idle": (_("not in the last 90 days"), 90),
    "never": (_("never"), 0),
}
HOW = [
    ("any", _("in any of these ways")),
    ("admits", _("keys that allow it")),
    ("listed", _("keys that list exactly it")),
    ("seen", _("keys with requests from it, allowed or refused")),
]
STATES = [
    ("", _("All states")),
    *KeyState.choices,
    ("account_frozen", _("account frozen")),
    ("expired", _("expired")),
]


def _choices(first: Any, table: dict[str, tuple[Any, int]]) -> list[tuple[str, Any]]:
    return [("", first), *((value, words) for value, (words, _days) in table.items())]


class KeyFilter(forms.Form):
    """The filters, which are combined; empty ones are ignored."""

    q = forms.CharField(max_length=80, required=False, strip=True)
    address = forms.CharField(max_length=60, required=False, strip=True)
    how = forms.ChoiceField(choices=HOW, required=False)
    state = forms.ChoiceField(choices=STATES, required=False)
    permission = forms.ChoiceField(choices=[("", _("All")), *Permission.choices], required=False)
    policy = forms.ChoiceField(choices=[("", _("All")), *IpPolicy.choices], required=False)
    age = forms.ChoiceField(choices=_choices(_("at any time"), AGES), required=False)
    used = forms.ChoiceField(choices=_choices(_("at any time, or never"), USES), required=False)

    def clean_address(self) -> str:
        text = self.cleaned_data["address"]
        if not text:
            return ""
        try:
            return networks.parse_network(text).value
        except networks.NetworkError:
            raise forms.ValidationError(_("This is not an IP address or a network.")) from None

    def names_a_key(self) -> bool:
        """Return whether a valid form names one key by its public id, complete or as the portal shows it."""
        return key_condition("", self.cleaned_data["q"]) is not None

    def chosen(self, keys: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        """Return the ``keys`` that match a valid form."""
        values = self.cleaned_data
        conditions = [FILTERS[name](values[name]) for name in FILTERS if values.get(name)]
        if values.get("address"):
            conditions.append(by_address(values["address"], values.get("how") or "any"))
        return keys.filter(*conditions)


def _by_text(text: str) -> Q:
    key = key_condition("", text)
    return key if key is not None else Q(label_folded__contains=fold(text))


def _by_state(state: str) -> Q:
    now = timezone.now()
    if state == "account_frozen":
        return Q(owner__frozen_at__isnull=False) & ~Q(state=KeyState.REVOKED)
    if state == "expired":
        return Q(state=KeyState.ACTIVE, expires_at__lte=now)
    if state == KeyState.ACTIVE:
        # As on the page: a key that is stopped by its account or its expiry is not active.
        return Q(state=KeyState.ACTIVE, owner__frozen_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))
    return Q(state=state)


def _by_age(age: str) -> Q:
    edge = timezone.now() - DAY * AGES[age][1]
    return Q(created_at__lt=edge) if age == "older" else Q(created_at__gte=edge)


def _by_use(used: str) -> Q:
    if used == "never":
        return Q(last_used_at=None)
    edge = timezone.now() - DAY * USES[used][1]
    return Q(last_used_at__lt=edge) if used == "idle" else Q(last_used_at__gte=edge)


FILTERS: dict[str, Callable[[str], Q]] = {
    "q": _by_text,
    "state": _by_state,
    "permission": lambda value: Q(**{f"can_{value}": True}),
    "policy": lambda value: Q(ip_policy=value),
    "age": _by_age,
    "used": _by_use,
}


def by_address(value: str, how: str) -> Q:
    """Return the condition for keys related to ``value``, a normalised IP or network.

    Unrestricted keys accept every address; they are left out, or every search would return most keys.
    """
    related: list[QuerySet[Any, Any]] = []
    if how in ("any", "listed"):
        related.append(AllowedNetwork.objects.filter(value=value))
    if how in ("any", "admits"):
        listed = AllowedNetwork.objects.filter(value__in=covering(value), key__ip_policy=IpPolicy.TRUSTED)
        related.append(listed)
    if how in ("any", "seen") and parse_address(value) is not None:
        related += [AddressUse.objects.filter(address=value), Refusal.objects.filter(address=value)]
    if not related:
        return Q(pk__in=[])
    # One subquery: of several that are joined by OR, none is where the database begins, and it reads every key.
    first, *others = [rows.order_by().values("key") for rows in related]
    return Q(pk__in=first.union(*others)) if others else Q(pk__in=first)


def covering(value: str) -> list[str]:
    """Return all networks that contain ``value``, as stored in allow-lists: at most 32, or 128 for IPv6.

    An index supports equality only, and SQLite has no network type with a "contains" operator.
    """
    network = ip_network(value)
    supernets = (network.supernet(new_prefix=length) for length in range(1, network.prefixlen + 1))
    return [_spelled(one) for one in supernets]


def _spelled(network: Any) -> str:
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)
