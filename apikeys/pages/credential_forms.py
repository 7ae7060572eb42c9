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
            raise ValidationError(public_key_problem_text(error.problem, error.bits)) from None
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


#: Commands of OpenSSL and OpenSSH, which public_key_problem_text fills in. The first one makes a new pair.
COMMANDS = {
    "new": "openssl genpkey -algorithm ed25519 -out private.pem",
    "new_rsa": "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:4096 -out private.pem",
    "public": "openssl pkey -in private.pem -pubout",
    "certificate": "openssl x509 -in certificate.pem -noout -pubkey",
    "request": "openssl req -in request.pem -noout -pubkey",
    "ssh2": "ssh-keygen -i -f public.pub",
    "jwk": 'crypto.createPublicKey({key, format: "jwk"}).export({type: "spki", format: "pem"})',
    "cat": "cat public.pem",
}


def public_key_problem_text(problem: PublicKeyProblem, bits: int = 0) -> str:
    """What was pasted instead of a key that can be taken, and what to run. ``bits``: of `PublicKeyProblem.RSA_SIZE`."""
    text = {
        PublicKeyProblem.EMPTY: _("Paste the public key."),
        PublicKeyProblem.PRIVATE: _(
            "Stop: this is a PRIVATE key. It has left your machine, so do not use it any more, for anything. Nothing "
            "was kept here. Make a new pair (%(new)s) and paste its public key (%(public)s)."
        ),
        PublicKeyProblem.CERTIFICATE: _("This is a certificate. Paste its public key alone: %(certificate)s"),
        PublicKeyProblem.CERTIFICATE_REQUEST: _(
            "This is a certificate request. Paste its public key alone: %(request)s"
        ),
        PublicKeyProblem.PGP: _(
            "This is a PGP key, which cannot sign requests. Make a new pair (%(new)s) and paste its public key "
            "(%(public)s)."
        ),
        PublicKeyProblem.SSH2: _("This is a public key in SSH2 format. Paste what this prints: %(ssh2)s"),
        PublicKeyProblem.JWK: _("This is a key in JSON (JWK). Paste it as PEM. In Node.js: %(jwk)s"),
        PublicKeyProblem.FILE: _("This is the name of a file. Paste what is in the file: %(cat)s"),
        PublicKeyProblem.FINGERPRINT: _("This is a fingerprint. Paste the public key itself: %(public)s"),
        PublicKeyProblem.RAW: _(
            "This is a number of 32 bytes, which may be a secret or a private key. If it is one, do not use it any "
            "more. Paste a public key as PEM: %(public)s"
        ),
        PublicKeyProblem.NOT_PEM: _(
            "This is not a public key. Paste PEM, from “-----BEGIN PUBLIC KEY-----” to “-----END PUBLIC KEY-----”, or "
            "a line that begins with ssh-ed25519 or ssh-rsa. This prints it: %(public)s"
        ),
        PublicKeyProblem.UNREADABLE: _(
            "This key can't be read. Copy it again, from its first to its last character. This prints it: %(public)s"
        ),
        PublicKeyProblem.ECDSA: _(
            "This is an ECDSA key, which is not taken. Make an Ed25519 pair (%(new)s) and paste its public key "
            "(%(public)s)."
        ),
        PublicKeyProblem.DSA: _(
            "This is a DSA key, which is not taken. Make an Ed25519 pair (%(new)s) and paste its public key "
            "(%(public)s)."
        ),
        PublicKeyProblem.ALGORITHM: _(
            "This kind of key is not taken. Use Ed25519 (%(new)s) or RSA of 3072 to 4096 bits (%(new_rsa)s)."
        ),
        PublicKeyProblem.RSA_SIZE: _(
            "This RSA key has %(bits)s bits; it needs 3072 to 4096. Make a new one (%(new_rsa)s) or use Ed25519 "
            "(%(new)s)."
        ),
        PublicKeyProblem.RSA_EXPONENT: _(
            "This RSA key has an unusual exponent. Make a new key with 65537: %(new_rsa)s"
        ),
        PublicKeyProblem.WEAK_POINT: _(
            "This key protects nothing: one signature fits every message. Make a new pair: %(new)s"
        ),
    }[problem]
    return text % {**COMMANDS, "bits": digits(bits)}


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
