"""The form of the request debugger."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.audit.detail_texts import isolated
from apikeys.debugger import request_parser
from apikeys.models import ApiKey
from apikeys.policy.choices import Permission
from hitobit_portal.http.client_ip import parse_address
from hitobit_portal.i18n.fields import ascii_digits

LONGEST_SHORT = 100


class DebuggerForm(forms.Form):
    """``request`` and ``body`` as pasted; the rest is what the portal can't know by itself, all of it optional.

    ``data`` has to be free of secrets already: it is shown again.
    """

    # Django's own words for a wrong choice would repeat what was sent.
    _wrong = {"invalid_choice": gettext_lazy("This choice does not exist.")}

    key = forms.ChoiceField(label=gettext_lazy("API key"), required=False, error_messages=_wrong)
    request = forms.CharField(label=gettext_lazy("Signed request"), strip=False)
    body = forms.CharField(label=gettext_lazy("Body"), required=False, strip=False)
    sent = forms.CharField(label=gettext_lazy("Sent at"), required=False, max_length=LONGEST_SHORT)
    address = forms.CharField(label="IP", required=False, max_length=LONGEST_SHORT)
    permission = forms.ChoiceField(
        label=gettext_lazy("Needed permission"), required=False, error_messages=_wrong
    )

    def __init__(self, data: Any = None, *, keys: Sequence[ApiKey], chosen: str = "") -> None:
        super().__init__(data, initial={"key": chosen})
        self._ids = {str(key.pk): key.key_id for key in keys}
        self.pasted: request_parser.Pasted | None = None
        # SECURITY: only the customer's own keys are choices; any other value is refused like one that does not exist.
        self.fields["key"].choices = [  # type: ignore[attr-defined]
            ("", _("As the request says")),
            *((str(key.pk), key.label) for key in keys),
        ]
        self.fields["permission"].choices = [("", _("By method and address")), *Permission.choices]  # type: ignore[attr-defined]

    @property
    def is_too_long(self) -> bool:
        return (
            request_parser.size(self.data.get("request", ""), self.data.get("body", ""))
            > request_parser.LONGEST
        )

    @property
    def chosen_id(self) -> str:
        """The public id of the chosen key, "" if none was."""
        return self._ids.get(self.cleaned_data["key"], "")

    def clean_sent(self) -> int | None:
        text = self.cleaned_data["sent"]
        if not text.strip():
            return None
        moment = request_parser.moment_ms(text)
        if moment is None:
            words = {"example": isolated("2026-11-22T13:38:51")}
            raise ValidationError(_("Write a time such as %(example)s or milliseconds since 1970.") % words)
        return moment

    def clean_address(self) -> str:
        text = ascii_digits(self.cleaned_data["address"]).strip()
        if text and parse_address(text) is None:
            raise ValidationError(_("This is not an IP address."))
        return text

    def clean(self) -> dict[str, Any]:
        """Reads the request, also when another field is wrong, so that all errors are told at once."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if "request" in data:
            try:
                self.pasted = request_parser.read(data["request"], data.get("body", ""))
            except request_parser.TooLongError:
                self.add_error("request", _("This is too long. At most 16 KB can be looked at."))
            except request_parser.UnreadableError:
                words = _("This is neither a curl command nor the text of an HTTP request nor a URL.")
                self.add_error("request", words)
        return data
