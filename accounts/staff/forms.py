"""Forms of staff pages: reasons, searches, filters. All values are bounded, and none reaches SQL as text."""

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.choices.events import choices
from accounts.staff import opaque_ids
from hitobit_portal.http.client_ip import parse_address
from hitobit_portal.i18n import free_text
from hitobit_portal.i18n.fields import DayField, parse_phone, validate_free_text
from hitobit_portal.i18n.jalali import TEHRAN

MAX_REASON_LENGTH, MAX_SEARCH_LENGTH, MAX_ID_DIGITS = 200, 254, 18
MIN_REASON_LENGTH = 5


class ReasonForm(forms.Form):
    """The reason of an action, which the customer reads too."""

    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        strip=True,
        error_messages={
            "required": _(
                "Write the reason. The customer reads it, and so does anyone who investigates this later."
            ),
            "max_length": _("At most 200 characters."),
        },
    )

    def clean_reason(self) -> str:
        # SECURITY: it is sent in notices; a link or a character that reorders text would appear as a statement of
        # Hitobit.
        reason = free_text.one_line(self.cleaned_data["reason"])
        validate_free_text(reason)
        if len(reason) < MIN_REASON_LENGTH:
            raise forms.ValidationError(
                _("Write a few words: the ticket number, what the customer said, what you saw.")
            )
        return reason


class SearchForm(forms.Form):
    q = forms.CharField(max_length=MAX_SEARCH_LENGTH, required=False, strip=True)


class EventFilter(forms.Form):
    """Filters of events. ``who`` and ``whom`` take a phone number, an account id, or an opaque id.

    SECURITY: only the form, which is sent by POST, takes phone numbers and ids: a URL then contains no sequential id,
    and no phone number for the logs of proxies. ``lists``: the right to list; without it, account ids are not
    accepted in the form either, since the redirect would reveal the opaque id of any account.
    """

    first = DayField(required=False)
    last = DayField(required=False)
    event = forms.ChoiceField(required=False, choices=lambda: [("", _("All events")), *sorted_events()])
    who = forms.CharField(max_length=26, required=False)
    whom = forms.CharField(max_length=26, required=False)
    address = forms.CharField(max_length=45, required=False)
    target = forms.CharField(max_length=64, required=False)

    def __init__(self, submitted: Any, *, typed: bool, lists: bool) -> None:
        super().__init__(submitted)
        self.takes_phones, self.takes_numbers = typed, typed and lists

    def clean_address(self) -> str:
        text = self.cleaned_data["address"]
        address = parse_address(text) if text else None
        if text and address is None:
            raise forms.ValidationError(_("This is not an IP address."))
        return str(address) if address else ""

    def clean_who(self) -> str:
        return self._person("who")

    def clean_whom(self) -> str:
        return self._person("whom")

    def _person(self, name: str) -> str:
        """Return an account id in ASCII digits, or a phone number in E.164."""
        text = self.cleaned_data[name]
        if not text:
            return ""
        pk = opaque_ids.AccountId.reveal(text)
        if pk is not None:
            return str(pk)
        if self.takes_numbers and _is_number(text):
            return str(int(text))
        number = parse_phone(text) if self.takes_phones else None
        if number is None:
            raise forms.ValidationError(_("Enter a mobile number or an account ID."))
        return number

    def clean_target(self) -> str:
        text: str = self.cleaned_data["target"]
        number = opaque_ids.TargetId.reveal(text)
        if number is not None:
            return str(number)
        if not text.isdecimal():
            return text
        if not self.takes_numbers or len(text) > MAX_ID_DIGITS:
            raise forms.ValidationError(_("Enter the complete ID of a key."))
        return str(int(text))

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        first, last = values.get("first"), values.get("last")
        if first and last and last < first:
            self.add_error("last", _("The last day is before the first day."))
        return values


def _is_number(text: str) -> bool:
    """Return whether ``text`` is an account id and no phone number."""
    return text.isdecimal() and len(text) < 10 and not text.startswith(("0", "۰", "٠"))


def sorted_events() -> list[tuple[str, str]]:
    return sorted(((value, str(title)) for value, title in choices()), key=lambda pair: pair[1])


def start_of(day: date) -> datetime:
    """Return the start of ``day`` in Tehran."""
    return datetime.combine(day, time.min, TEHRAN)


def end_of(day: date) -> datetime:
    return start_of(day + timedelta(days=1)) if day < date.max else start_of(day)
