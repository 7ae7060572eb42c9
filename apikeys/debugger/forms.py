"""The form of the request debugger."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apikeys.debugger import request_parser
from apikeys.models import ApiKey
from apikeys.policy.choices import Permission
from hitobit_portal.http.client_ip import parse_address
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.fields import ascii_digits

MAX_SHORT_LENGTH = 100


class DebuggerForm(forms.Form):
    """The pasted ``request`` and ``body``, and optional details that the portal cannot know.

    Secrets in ``data`` must have been masked: it is shown again.
    """

    # Django's message for an invalid choice repeats the input.
    _wrong = {"invalid_choice": gettext_lazy("This option does not exist.")}

    key = forms.ChoiceField(label=gettext_lazy("API key"), required=False, error_messages=_wrong)
    request = forms.CharField(label=gettext_lazy("Signed request"), strip=False)
    body = forms.CharField(label=gettext_lazy("Body"), required=False, strip=False)
    sent = forms.CharField(label=gettext_lazy("Sent at"), required=False, max_length=MAX_SHORT_LENGTH)
    address = forms.CharField(label="IP", required=False, max_length=MAX_SHORT_LENGTH)
    permission = forms.ChoiceField(
        label=gettext_lazy("Required permission"), required=False, error_messages=_wrong
    )

    def __init__(
        self, data: Any = None, *, keys: Sequence[ApiKey], initial: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(data, initial=dict(initial or {}))
        self._ids = {str(key.pk): key.key_id for key in keys}
        self.parsed_request: request_parser.ParsedRequest | None = None
        # SECURITY: only the customer's own keys are choices; other keys are rejected like keys that do not exist.
        self.fields["key"].choices = [  # type: ignore[attr-defined]
            ("", _("As the request says")),
            *((str(key.pk), key.label) for key in keys),
        ]
        self.fields["permission"].choices = [("", _("By method and path")), *Permission.choices]  # type: ignore[attr-defined]

    @property
    def is_too_long(self) -> bool:
        return (
            request_parser.byte_size(self.data.get("request", ""), self.data.get("body", ""))
            > request_parser.MAX_BYTES
        )

    @property
    def chosen_id(self) -> str:
        """Return the public id of the chosen key; "" if none was chosen."""
        return self._ids.get(self.cleaned_data["key"], "")

    def clean_sent(self) -> int | None:
        text = self.cleaned_data["sent"]
        if not text.strip():
            return None
        time_ms = request_parser.parse_time_ms(text)
        if time_ms is None:
            text = _("Enter a time such as %(example)s or milliseconds since 1970.")
            raise ValidationError(fill(text, example="2026-11-22T13:38:51"))
        return time_ms

    def clean_address(self) -> str:
        text = ascii_digits(self.cleaned_data["address"]).strip()
        if text and parse_address(text) is None:
            raise ValidationError(_("This is not an IP address."))
        return text

    def clean(self) -> dict[str, Any]:
        """Parse the request even if another field is invalid, so that all errors are shown at once."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if "request" in data:
            try:
                self.parsed_request = request_parser.parse(data["request"], data.get("body", ""))
            except request_parser.TooLongError:
                self.add_error("request", _("This is too long. At most 16 KB can be checked."))
            except request_parser.UnreadableError:
                message = _("This is neither a curl command nor the text of an HTTP request nor a URL.")
                self.add_error("request", message)
        return data
