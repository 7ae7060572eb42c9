"""Forms of the key pages: the name, the settings, the typed confirmation."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.audit.detail_texts import isolated
from accounts.models import User
from apikeys.models import ApiKey
from apikeys.pages.credential_forms import CredentialForm
from apikeys.policy import names
from apikeys.policy.choices import NETWORKS_A_KEY, IpPolicy, Permission, check_rules
from apikeys.policy.settings_change import Settings
from apikeys.verification import networks
from hitobit_portal.i18n import free_text
from hitobit_portal.i18n.fields import FREE_TEXT, DayField
from hitobit_portal.i18n.jalali import TEHRAN, digits

LONGEST_LIST = 4000
KEEP, NEVER, ON_A_DAY = "keep", "never", "date"
EXPIRIES = [
    (KEEP, gettext_lazy("As it is")),
    (NEVER, gettext_lazy("Never expires")),
    ("30", gettext_lazy("In 30 days")),
    ("90", gettext_lazy("In 90 days")),
    ("180", gettext_lazy("In 180 days")),
    ("365", gettext_lazy("In one year")),
    (ON_A_DAY, gettext_lazy("On a day of my choice")),
]


class NameForm(CredentialForm):
    """The name of a new key, unique among the customer's live keys; and what its programs sign with."""

    name = forms.CharField(label=gettext_lazy("Key name"), strip=False)

    def __init__(self, *args: Any, owner: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.owner = owner
        if self.is_bound:
            # What is shown again with an error: a megabyte of pasted text is not sent back.
            self.data = {**self.data, "name": str(self.data.get("name", ""))[: names.MAX_LENGTH * 21]}

    def clean_name(self) -> str:
        try:
            name = names.clean(self.cleaned_data["name"])
        except names.InvalidName as error:
            raise ValidationError(name_problem(error.problem)) from None
        if ApiKey.objects.live(self.owner).filter(label_folded=names.fold(name)).exists():
            raise ValidationError(_("You have a key of this name already. Choose another one."))
        return name


def name_problem(problem: names.NameProblem) -> str:
    """Why a name can't be one, in words."""
    words: dict[names.NameProblem, str | Promise] = {
        names.NameProblem.EMPTY: _("Write a name."),
        names.NameProblem.TOO_LONG: _("A name has at most %(n)s characters.")
        % {"n": digits(names.MAX_LENGTH)},
        names.NameProblem.HIDDEN: _("The name has invisible characters. Type it again."),
        names.NameProblem.LINK: FREE_TEXT[free_text.Problem.LINK],
    }
    return str(words[problem])


class SettingsForm(forms.Form):
    """Permissions, IP policy, and an allow-list: chips (``networks``) and a text box (``network``) for more."""

    permissions = forms.MultipleChoiceField(
        choices=Permission.choices,
        widget=forms.CheckboxSelectMultiple,
        required=False,
        error_messages={"invalid_choice": gettext_lazy("This choice does not exist.")},
    )
    ip_policy = forms.ChoiceField(choices=IpPolicy.choices, widget=forms.RadioSelect)
    network = forms.CharField(required=False, widget=forms.Textarea, max_length=LONGEST_LIST)
    expiry = forms.ChoiceField(choices=EXPIRIES, required=False)
    expiry_date = DayField(label=gettext_lazy("Last day"), required=False)

    def __init__(self, data: Any = None, *, chips: list[str], expires_at: str = "", **kwargs: Any) -> None:
        self.expires_at = expires_at
        self.typed: QueryDict = data.copy() if data is not None else QueryDict(mutable=True)
        super().__init__(self.typed if data is not None else None, **kwargs)
        self.chips = list(
            dict.fromkeys(value for raw in chips[: NETWORKS_A_KEY + 1] if (value := _normalised(raw)))
        )
        self.notes: list[str] = []

    def clean(self) -> dict[str, Any]:
        """Adds ``expires_at``: as it is, "" for never, or the end of the last day on Tehran's clock."""
        data = super().clean() or {}
        chosen, day = data.get("expiry") or KEEP, data.get("expiry_date")
        data["expires_at"] = self.expires_at
        if chosen == KEEP and data.get("expiry_date"):
            chosen = ON_A_DAY  # who wrote a day meant it
        if chosen == NEVER:
            data["expires_at"] = ""
        elif chosen.isdigit():
            data["expires_at"] = (timezone.now() + timedelta(days=int(chosen))).isoformat()
        elif chosen == ON_A_DAY and not self.errors.get("expiry_date"):
            if day is None:
                self.add_error("expiry_date", _("Write the last day on which the key works."))
            else:
                end = datetime.combine(day, time(23, 59, 59), TEHRAN)
                data["expires_at"] = end.astimezone(UTC).isoformat()
                if end <= timezone.now():
                    self.add_error("expiry_date", _("This day has passed."))
        return data

    def add(self, text: str) -> bool:
        """Moves what is right in ``text`` to the chips and leaves the rest in the box with an error.

        Returns whether all of it was right.
        """
        wrong: list[tuple[str, networks.NetworkProblem]] = []
        for entry in networks.split_list(text[:LONGEST_LIST]):
            try:
                network = networks.parse_entry(entry)
            except networks.NetworkError as error:
                wrong.append((entry, error.kind))
                continue
            self._add_one(entry, network)
        self.typed["network"] = "\n".join(entry for entry, _kind in wrong)
        for entry, kind in wrong[:5]:
            self.add_error("network", _network_problem(entry, kind))
        if len(self.chips) > NETWORKS_A_KEY:
            self.add_error("network", _("A key takes at most %(n)s IPs.") % {"n": digits(NETWORKS_A_KEY)})
        return not wrong and len(self.chips) <= NETWORKS_A_KEY

    def _add_one(self, entry: str, network: networks.Network) -> None:
        if network.value in self.chips:
            self.notes.append(_("%(value)s is in the list already.") % {"value": isolated(network.value)})
            return
        self.chips.append(network.value)
        if network.corrected:
            self.notes.append(
                _("%(entry)s was corrected to the network %(value)s.")
                % {"entry": isolated(entry), "value": isolated(network.value)}
            )
        if network.private:
            note = _("%(value)s is a private address: requests over the Internet never come from it.")
            self.notes.append(note % {"value": isolated(network.value)})

    def wanted(self) -> Settings | None:
        """The settings that the form asks for; None, with errors beside the fields, when they can't be."""
        if not self.is_valid():
            return None
        trusted = self.cleaned_data["ip_policy"] == IpPolicy.TRUSTED
        if trusted and not self.add(self.cleaned_data["network"]):
            return None
        # Without the restriction the list has no meaning; keeping it would surprise whoever turns it on again.
        settings = Settings(
            frozenset(self.cleaned_data["permissions"]),
            self.cleaned_data["ip_policy"],
            tuple(self.chips) if trusted else (),
            self.cleaned_data["expires_at"],
        )
        try:
            check_rules(settings.permissions, settings.ip_policy, list(settings.networks))
        except ValidationError as error:
            self.add_error(None, error)
            return None
        return settings

    def shown_chips(self) -> list[tuple[str, str]]:
        """The chips with what a network's size means."""
        return [(value, _size(value)) for value in self.chips]


def _normalised(raw: str) -> str | None:
    try:
        return networks.parse_network(raw[:64]).value
    except networks.NetworkError:
        return None


def _size(value: str) -> str:
    address, slash, prefix = value.partition("/")
    if not slash or ":" in address:
        return ""
    count = 1 << (32 - int(prefix))
    return ngettext("%(n)s address", "%(n)s addresses", count) % {"n": digits(count)}


def _network_problem(entry: str, kind: networks.NetworkProblem) -> str:
    shown = isolated(entry[:50])
    if kind is networks.NetworkProblem.PREFIX:
        return _("“%(entry)s”: the number after the slash is not right.") % {"entry": shown}
    if kind is networks.NetworkProblem.TOO_WIDE:
        return _(
            "“%(entry)s” is too wide: /8 is the most, of IPv6 /24. Choose “Unrestricted” for every address."
        ) % {"entry": shown}
    return _("“%(entry)s” is not an IP. Examples: 203.0.113.24, 198.51.100.0/28, 2001:db8::/48") % {
        "entry": shown
    }


class DeleteForm(forms.Form):
    """The name of the key, typed; what people can't see (joiners, case, Arabic letters) may differ."""

    name = forms.CharField(label=gettext_lazy("Key name"), strip=False)

    def __init__(self, *args: Any, key: ApiKey, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.key = key

    def clean_name(self) -> str:
        # Tidied and not cleaned: a key that is older than the rule about names can be deleted, too.
        typed = names.tidy(self.cleaned_data["name"][: names.MAX_LENGTH * 20])
        if names.fold(typed) != self.key.label_folded:
            raise ValidationError(_("This is not the name of the key. Nothing was deleted."))
        return typed
