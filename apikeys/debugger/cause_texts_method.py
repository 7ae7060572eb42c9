"""The words for how a client signed: with which secret, by which algorithm, and how it wrote the signature."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apikeys.debugger.causes import Cause

METHOD: dict[Cause, tuple[str | Promise, str | Promise]] = {
    Cause.SECRET_NEWLINE: (
        _("The secret has a line break at its end"),
        _("It comes from the file that the secret is read from. Trim the secret after reading it."),
    ),
    Cause.SECRET_SPACE: (_("The secret has a space beside it"), _("Trim the secret after reading it.")),
    Cause.SECRET_QUOTED: (
        _("The secret has quotes around it"),
        _("They come from the configuration. Use the 64 characters within them."),
    ),
    Cause.SECRET_DECODED: (
        _("The secret was decoded"),
        _("Use its 64 characters as they are: no Base64, no hex."),
    ),
    Cause.SECRET_ENCODED: (
        _("The secret was encoded or hashed"),
        _("Use its 64 characters as they are, as ASCII bytes."),
    ),
    Cause.SECRET_CASE: (_("The secret's letters are changed"), _("Upper and lower case count.")),
    Cause.SECRET_CUT: (
        _("The secret is not whole"),
        _("Characters were lost when it was copied; it has 64. If you no longer have it, replace it."),
    ),
    Cause.SECRET_EMPTY: (
        _("The secret is empty"),
        _("Your program did not find it. Look at the name of the variable or file that holds it."),
    ),
    Cause.KEY_AS_SECRET: (
        _("The API key was used as the secret"),
        _("Sign with the secret, which was shown once when the key was made."),
    ),
    Cause.OTHER_KEY: (
        _("It was signed with the secret of another key"),
        _("The secret belongs to your key “%(name)s”. Use key and secret of one pair."),
    ),
    Cause.CREDENTIAL_ENDED: (
        _("It was signed with the old secret"),
        _("What the key signs with was replaced, and this one has ended. Use the new one."),
    ),
    Cause.ALGORITHM: (
        _("It was signed with another hash function"),
        _("%(name)s was used instead of SHA-256."),
    ),
    Cause.PLAIN_HASH: (
        _("It is a plain hash, no HMAC"),
        _("Use HMAC-SHA256 with the secret as its key, not a hash of secret and text."),
    ),
    Cause.RSA_PSS: (
        _("RSA was used with PSS"),
        _("Sign with RSASSA-PKCS1-v1_5 and SHA-256."),
    ),
    Cause.SIGNATURE_BASE64: (
        _("The signature is written in Base64"),
        _("With HMAC it is 64 hex digits."),
    ),
    Cause.SIGNATURE_HEX: (_("The signature is written in hex"), _("With this kind of key it is Base64.")),
    Cause.SIGNATURE_BASE64URL: (
        _("The signature is written in URL-safe Base64"),
        _("HMAC: send 64 hex digits. Ed25519 and RSA: use + and / and percent-encode them."),
    ),
    Cause.SIGNATURE_PADDING: (
        _("The signature lacks the = at its end"),
        _("Send Base64 with its padding, percent-encoded as %%3D."),
    ),
    Cause.SIGNATURE_WRAPPED: (
        _("The signature has line breaks in it"),
        _("Write the Base64 text in one line (openssl base64 -A)."),
    ),
    Cause.SIGNATURE_DECORATED: (
        _("The signature has other characters around it"),
        _("Send its 64 hex digits alone, without 0x, quotes or spaces."),
    ),
    Cause.SIGNATURE_TWICE: (
        _("The signature was encoded twice"),
        _("Encode the bytes of the signature one time: HMAC as hex, Ed25519 and RSA as Base64."),
    ),
    Cause.SIGNATURE_SHAPE: (
        _("This can't be a signature of this key"),
        _(
            "It has %(n)s characters. HMAC: 64 hex digits. Ed25519: 88 characters of Base64. RSA: 512 or more."
        ),
    ),
    Cause.KIND_MISMATCH: (
        _("The signature is of another kind than the key"),
        _("Sign in the way that the key was made for: its page says HMAC, Ed25519 or RSA."),
    ),
    Cause.SIGNATURE_UNKNOWN: (
        _("The signature does not fit, and none of the usual mistakes explains it"),
        _("Most likely the secret is another one. Compare your text byte by byte with the one below."),
    ),
}
