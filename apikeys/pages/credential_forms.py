"""Form fields for a key's credential: an HMAC secret, a key pair generated in the browser, or a pasted public key."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from apikeys.actions import rotation
from apikeys.policy import public_keys
from apikeys.policy.public_keys import PublicKey, PublicKeyError, PublicKeyProblem
from apikeys.verification.signing import Kind
from hitobit_portal.i18n.jalali import digits

HMAC, ED25519, PUBLIC = "hmac", "ed25519", "public"
KINDS = [
    (HMAC, gettext_lazy("A secret that Hitobit makes")),
    (ED25519, gettext_lazy("A pair of keys made in this browser")),
    (PUBLIC, gettext_lazy("A public key of my own")),
]
DAY_SECONDS, HOUR_SECONDS = 86_400, 3600
DEFAULT_GRACE = DAY_SECONDS


def kept_fields(public: PublicKey | None) -> dict[str, str]:
    """Return form values that restore this choice. A generated pair is restored as its public key."""
    return {"kind": PUBLIC, "public_key": public.pem} if public else {"kind": HMAC}


def from_draft(draft: Mapping[str, list[str]]) -> dict[str, str]:
    """Return initial values of a `CredentialForm` from a draft that was saved before a new login."""
    fields = {name: draft[name][0] for name in ("kind", "public_key", "grace") if draft.get(name)}
    if fields.get("kind") == ED25519 and "public_key" in fields:
        fields["kind"] = PUBLIC
    return fields


class CredentialForm(forms.Form):
    """Fields ``kind`` and ``public_key`` (PEM). After `is_valid`, ``public`` is the key, or None for a secret."""

    kind = forms.ChoiceField(
        choices=KINDS,
        required=False,
        error_messages={"invalid_choice": gettext_lazy("This choice does not exist.")},
    )
    public_key = forms.CharField(required=False, strip=False)
    public: PublicKey | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.holds_private = False
        if self.is_bound:
            typed = str(self.data.get("public_key", ""))
            # SECURITY: a private key is neither sent back nor stored, whatever kind is chosen.
            self.holds_private = public_keys.holds_private(typed)
            kept = "" if self.holds_private else typed[: public_keys.MAX_LENGTH + 1]
            self.data = {**dict(self.data.items()), "public_key": kept}

    def clean_kind(self) -> str:
        return self.cleaned_data["kind"] or HMAC

    def clean_public_key(self) -> str:
        if self.holds_private:
            raise ValidationError(public_key_problem_text(PublicKeyProblem.PRIVATE))
        kind = self.cleaned_data.get("kind", HMAC)
        if kind == HMAC:
            return ""
        text: str = self.cleaned_data["public_key"]
        if kind == ED25519 and not text.strip():
            raise ValidationError(_("Make the pair of keys first."))
        try:
            self.public = public_keys.parse(text)
        except PublicKeyError as error:
            raise ValidationError(public_key_problem_text(error.problem)) from None
        if kind == ED25519 and self.public.kind is not Kind.ED25519:
            raise ValidationError(_("This is not an Ed25519 key. Make the pair of keys again."))
        return text

    @property
    def chosen(self) -> str:
        """Return the kind that the page shows as chosen."""
        value = str(self["kind"].value() or HMAC)
        return value if value in dict(KINDS) else HMAC

    @property
    def is_open(self) -> bool:
        """Return whether the choice is expanded: another kind than the default is chosen, or there is an error."""
        return self.chosen != HMAC or bool(self["public_key"].errors or self["kind"].errors)


def public_key_problem_text(problem: PublicKeyProblem) -> str:
    """Return the error message for a pasted key."""
    return {
        PublicKeyProblem.EMPTY: _("Paste the public key."),
        PublicKeyProblem.PRIVATE: _(
            "Stop: this is a PRIVATE key. It has left your machine, so do not use it any more, for anything. Make a "
            "new pair and paste its public key. Nothing was kept here."
        ),
        PublicKeyProblem.CERTIFICATE: _("This is a certificate. Paste the public key alone."),
        PublicKeyProblem.NOT_PEM: _(
            "This is not a public key in PEM. It begins with “-----BEGIN PUBLIC KEY-----” and ends with “-----END "
            "PUBLIC KEY-----”."
        ),
        PublicKeyProblem.UNREADABLE: _(
            "This key can't be read. Copy it again, with its first and last line."
        ),
        PublicKeyProblem.ALGORITHM: _(
            "This kind of key is not taken. Use Ed25519, or RSA of 3072 to 4096 bits."
        ),
        PublicKeyProblem.RSA_SIZE: _("An RSA key needs 3072 to 4096 bits. Make a new one, or use Ed25519."),
        PublicKeyProblem.RSA_EXPONENT: _("This RSA key has an unusual exponent. Make a new key with 65537."),
        PublicKeyProblem.WEAK_POINT: _(
            "This key protects nothing: one signature fits every message. Make a new pair."
        ),
    }[problem]


def grace_text(seconds: int) -> str:
    """Return the text of a grace period: how long the old credential is valid after the first use of the new one."""
    if seconds == 0:
        return _("Ends at once")
    if seconds < 2 * DAY_SECONDS:
        hours = seconds // HOUR_SECONDS
        return ngettext("%(n)s hour", "%(n)s hours", hours) % {"n": digits(hours)}
    days = seconds // DAY_SECONDS
    return ngettext("%(n)s day", "%(n)s days", days) % {"n": digits(days)}


class RotateForm(CredentialForm):
    """The new credential, and ``grace``: seconds that the old one stays valid after the new one's first use."""

    grace = forms.TypedChoiceField(
        choices=[(seconds, "") for seconds in rotation.GRACE_PERIODS],
        coerce=int,
        error_messages={"invalid_choice": gettext_lazy("This choice does not exist.")},
    )

    @property
    def graces(self) -> list[tuple[int, str, bool]]:
        """(seconds, words, whether it is chosen)."""
        chosen = str(self["grace"].value() or (0 if self.is_bound else DEFAULT_GRACE))
        return [(seconds, grace_text(seconds), str(seconds) == chosen) for seconds in rotation.GRACE_PERIODS]
