"""Checks of signatures for which there is no key, so that the time of an answer does not tell which keys exist. Pure.

The work follows what the signature looks like, which its sender knows, and not the key, which may not be there: who
sends 64 hex digits to a key of Ed25519, or to no key, waits for an HMAC; who sends the base64 of 64 bytes, for an
Ed25519 verification (90 µs more), whatever they sent it to.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from apikeys.verification import signing
from apikeys.verification.signing import ED25519_BYTES, RSA_BYTES, Kind, is_number_of

#: Credentials of a key that live at a time, while it is rotated: of every refused signature so many checks are made.
MOST_CREDENTIALS = 2
#: Nobody has what belongs to these, not even this process.
_SECRET = secrets.token_hex(32).encode()
_ED25519 = Ed25519PrivateKey.generate().public_key()
_PADDING, _SHA256 = PKCS1v15(), SHA256()


def raw(signature: bytes) -> bytes | None:
    """The bytes of a public key's signature; empty for what an HMAC could look like; None for what is refused at a
    glance, whatever the key is."""
    if len(signature) in signing.LENGTHS[Kind.HMAC]:
        return b""
    if not any(len(signature) in signing.LENGTHS[kind] for kind in (Kind.ED25519, Kind.RSA)):
        return None
    try:
        found = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return None
    is_one = len(found) == ED25519_BYTES or len(found) in RSA_BYTES
    return found if is_one and base64.b64encode(found) == signature else None


def is_work_of(kind: Kind, key: object, raw_signature: bytes) -> bool:
    """Whether checking the signature with ``key`` (of a public key: as `public_key` gives it) is all the work that such
    a signature makes; if not, ``key`` refused it at a glance, and `check` has to do it."""
    if kind is Kind.HMAC or not raw_signature:
        return kind is Kind.HMAC and not raw_signature
    if kind is Kind.ED25519:
        return isinstance(key, Ed25519PublicKey) and len(raw_signature) == ED25519_BYTES
    return isinstance(key, RSAPublicKey) and is_number_of(key, raw_signature)


def public_key(kind: Kind, material: bytes) -> object:
    """What a credential's signatures are checked with; None for a secret, and for what can't be read."""
    try:
        return None if kind is Kind.HMAC else signing.public_key(material)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def make_up(payload: bytes, raw_signature: bytes, done: int) -> None:
    """After all credentials refused a signature, for ``done`` of which it was work: makes up for the rest."""
    for _ in range(MOST_CREDENTIALS - done):
        check(payload, raw_signature)


def check(payload: bytes, raw_signature: bytes) -> None:
    """Checks a signature that `raw` read against a key of its kind and size that nobody has."""
    if not raw_signature:
        hmac.compare_digest(hmac.digest(_SECRET, payload, "sha256"), b"")
        return
    try:
        if len(raw_signature) == ED25519_BYTES:
            _ED25519.verify(raw_signature, payload)
        else:
            _rsa(len(raw_signature)).verify(raw_signature, payload, _PADDING, _SHA256)
    except InvalidSignature:
        return


@lru_cache(maxsize=len(RSA_BYTES))
def _rsa(size: int) -> RSAPublicKey:
    """A modulus above every number of ``size`` bytes but one. It has well-known factors, and opens nothing."""
    return RSAPublicNumbers(65_537, (1 << 8 * size) - 1).public_key()
