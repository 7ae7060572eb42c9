"""Forms of the key pages: name, settings, renaming, and typed confirmations."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.models import User
from apikeys.models import ApiKey
from apikeys.pages.credential_forms import CredentialForm
from apikeys.pages.key_templates import OWN_CHOICE, TEMPLATES, KeyTemplate
from apikeys.policy import names
from apikeys.policy.choices import NETWORKS_A_KEY, IpPolicy, Permission, check_rules
from apikeys.policy.settings_change import Settings
from apikeys.verification import networks
from hitobit_portal.i18n import free_text
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.fields import FREE_TEXT, DayField
from hitobit_portal.i18n.jalali import TEHRAN, digits

MAX_LIST_LENGTH = 4000
KEEP, NEVER, ON_A_DAY = "keep", "never", "date"
#: Preselected for a new key, in days.
RECOMMENDED = "90"
EXPIRIES = [
    (KEEP, gettext_lazy("Unchanged")),
    (NEVER, gettext_lazy("Never expires")),
    ("30", gettext_lazy("In 30 days")),
    ("90", gettext_lazy("In 90 days")),
    ("180", gettext_lazy("In 180 days")),
    ("365", gettext_lazy("In one year")),
    (ON_A_DAY, gettext_lazy("On a date of my choice")),
]


class NameForm(CredentialForm):
    """The name of a new key, unique among the customer's live keys, its credential, and its template."""

    name = forms.CharField(label=gettext_lazy("Key name"), strip=False)
    template = forms.ChoiceField(
        choices=[(OWN_CHOICE, ""), *((value, one.title) for value, one in TEMPLATES.items())],
        required=False,
        error_messages={"invalid_choice": gettext_lazy("This option does not exist.")},
    )

    def __init__(self, *args: Any, owner: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.owner = owner
        if self.is_bound:
            # Cut: the value is shown again with an error, and a megabyte of pasted text must not be sent back.
            self.data = {**self.data, "name": str(self.data.get("name", ""))[: names.MAX_LENGTH * 21]}

    @property
    def templates(self) -> list[tuple[str, KeyTemplate, bool]]:
        """Return the value of each template, the template, and whether it is chosen."""
        chosen = self["template"].value()
        return [(value, one, value == chosen) for value, one in TEMPLATES.items()]

    def clean_name(self) -> str:
        try:
            name = names.clean(self.cleaned_data["name"])
        except names.InvalidName as error:
            raise ValidationError(name_problem_text(error.problem)) from None
        if ApiKey.objects.live(self.owner).filter(label_folded=names.fold(name)).exists():
            raise ValidationError(_("You already have a key with this name. Choose another name."))
        return name


def name_problem_text(problem: names.NameProblem) -> str:
    """Return the error message for a name."""
    texts: dict[names.NameProblem, str | Promise] = {
        names.NameProblem.EMPTY: _("Enter a name."),
        names.NameProblem.TOO_LONG: fill(
            _("A name can have at most %(n)s characters."), n=digits(names.MAX_LENGTH)
        ),
        names.NameProblem.HIDDEN: _("The name contains invisible characters. Type it again."),
        names.NameProblem.LINK: FREE_TEXT[free_text.Problem.LINK],
    }
    return str(texts[problem])


class SettingsForm(forms.Form):
    """Permissions, IP policy, and an allow-list: chips (``networks``) and a text box (``network``) for more."""

    permissions = forms.MultipleChoiceField(
        choices=Permission.choices,
        widget=forms.CheckboxSelectMultiple,
        required=False,
        error_messages={"invalid_choice": gettext_lazy("This option does not exist.")},
    )
    ip_policy = forms.ChoiceField(choices=IpPolicy.choices, widget=forms.RadioSelect)
    network = forms.CharField(required=False, widget=forms.Textarea, max_length=MAX_LIST_LENGTH)
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
        """Add ``expires_at``: unchanged, "" for never, or the end of the last day in Tehran."""
        data = super().clean() or {}
        chosen, day = data.get("expiry") or KEEP, data.get("expiry_date")
        data["expires_at"] = self.expires_at
        if chosen == KEEP and data.get("expiry_date"):
            chosen = ON_A_DAY  # a person who entered a day wants it
        if chosen == NEVER:
            data["expires_at"] = ""
        elif chosen.isdigit():
            data["expires_at"] = (timezone.now() + timedelta(days=int(chosen))).isoformat()
        elif chosen == ON_A_DAY and not self.errors.get("expiry_date"):
            if day is None:
                self.add_error("expiry_date", _("Enter the last day on which the key works."))
            else:
                end = datetime.combine(day, time(23, 59, 59), TEHRAN)
                data["expires_at"] = end.astimezone(UTC).isoformat()
                if end <= timezone.now():
                    self.add_error("expiry_date", _("This day has passed."))
        return data

    def add(self, text: str) -> bool:
        """Move valid entries of ``text`` to the chips, and leave the others in the text box with errors.

        Return whether all entries were valid.
        """
        invalid: list[tuple[str, networks.NetworkProblem]] = []
        for entry in networks.split_list(text[:MAX_LIST_LENGTH]):
            try:
                network = networks.parse_entry(entry)
            except networks.NetworkError as error:
                invalid.append((entry, error.kind))
                continue
            self._add_one(entry, network)
        self.typed["network"] = "\n".join(entry for entry, _kind in invalid)
        for entry, kind in invalid[:5]:
            self.add_error("network", _network_problem_text(entry, kind))
        if len(self.chips) > NETWORKS_A_KEY:
            self.add_error("network", fill(_("A key can have at most %(n)s IPs."), n=digits(NETWORKS_A_KEY)))
        return not invalid and len(self.chips) <= NETWORKS_A_KEY

    def _add_one(self, entry: str, network: networks.Network) -> None:
        if network.value in self.chips:
            self.notes.append(fill(_("%(value)s is already in the list."), value=network.value))
            return
        self.chips.append(network.value)
        if network.corrected:
            self.notes.append(
                fill(_("%(entry)s was corrected to the network %(value)s."), entry=entry, value=network.value)
            )
        if network.private:
            note = _("%(value)s is a private address: requests over the Internet never come from it.")
            self.notes.append(fill(note, value=network.value))

    def wanted(self) -> Settings | None:
        """Return the requested settings; None, with errors at the fields, if they are invalid."""
        if not self.is_valid():
            return None
        trusted = self.cleaned_data["ip_policy"] == IpPolicy.TRUSTED
        if trusted and not self.add(self.cleaned_data["network"]):
            return None
        # Without the restriction the list has no effect; keeping it would be a surprise when it is enabled again.
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
        """Return the chips with the sizes of networks as text."""
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
    return fill(ngettext("%(n)s address", "%(n)s addresses", count), n=digits(count))


def _network_problem_text(entry: str, kind: networks.NetworkProblem) -> str:
    shown = entry[:50]
    if kind is networks.NetworkProblem.PREFIX:
        return fill(_("“%(entry)s”: the number after the slash is not valid."), entry=shown)
    if kind is networks.NetworkProblem.TOO_WIDE:
        return fill(
            _(
                "“%(entry)s” is too wide: /8 is the widest network, /24 for IPv6. To allow every "
                "address, choose “Unrestricted”."
            ),
            entry=shown,
        )
    return fill(
        _("“%(entry)s” is not an IP. Examples: 203.0.113.24, 198.51.100.0/28, 2001:db8::/48"), entry=shown
    )


class DeleteForm(forms.Form):
    """The typed name of the key; invisible differences (joiners, case, Arabic letters) are ignored."""

    name = forms.CharField(label=gettext_lazy("Key name"), strip=False)

    def __init__(self, *args: Any, key: ApiKey, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.key = key

    def clean_name(self) -> str:
        # `tidy` instead of `clean`: a key that is older than the rule about names can be deleted too.
        typed = names.tidy(self.cleaned_data["name"][: names.MAX_LENGTH * 20])
        if names.fold(typed) != self.key.label_folded:
            raise ValidationError(_("This does not match the key's name. Nothing was deleted."))
        return typed


class RenameForm(forms.Form):
    """A new name for ``key``, unique among its owner's other live keys."""

    name = forms.CharField(label=gettext_lazy("Key name"), strip=False)

    def __init__(self, data: Any = None, *, key: ApiKey, **kwargs: Any) -> None:
        # Cut: the value is shown again with an error, and a megabyte of pasted text must not be sent back.
        typed = None if data is None else {"name": str(data.get("name", ""))[: names.MAX_LENGTH * 21]}
        super().__init__(typed, initial={"name": key.label, **kwargs.pop("initial", {})}, **kwargs)
        self.key = key

    def clean_name(self) -> str:
        try:
            name = names.clean(self.cleaned_data["name"])
        except names.InvalidName as error:
            raise ValidationError(name_problem_text(error.problem)) from None
        others = ApiKey.objects.live(self.key.owner).exclude(pk=self.key.pk)
        if others.filter(label_folded=names.fold(name)).exists():
            raise ValidationError(taken_text())
        return name


def taken_text() -> str:
    return _("You already have a key with this name. Choose another name.")


class DeleteAllForm(forms.Form):
    """The typed phrase of the page; invisible differences (joiners, case, Arabic letters) are ignored."""

    phrase = forms.CharField(label=gettext_lazy("Confirmation"), strip=False)

    def clean_phrase(self) -> str:
        try:
            typed = names.clean(self.cleaned_data["phrase"])
        except names.InvalidName:
            typed = ""
        if names.fold(typed) != names.fold(delete_all_phrase()):
            raise ValidationError(_("The phrase does not match. Nothing was deleted."))
        return typed


def delete_all_phrase() -> str:
    return _("delete all keys")
