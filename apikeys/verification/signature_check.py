"""Constant-work padding: verify a rejected signature against dummy keys, so that response times do not show which keys
exist. Pure.

The amount of work depends on the form of the signature, which its sender knows, and never on the key. For 64 hex digits
an HMAC is computed, also if the key is an Ed25519 key or does not exist; for the base64 of 64 bytes an Ed25519
signature is verified (90 µs more), whatever the key is.
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
from apikeys.verification.signing import ED25519_BYTES, RSA_BYTES, Kind, is_in_range

#: Maximum number of live credentials of a key (two during a rotation), and the number of checks for each rejected
#: signature.
MAX_LIVE_CREDENTIALS = 2
#: Dummy keys. The private key is discarded at once.
_SECRET = secrets.token_hex(32).encode()
_ED25519 = Ed25519PrivateKey.generate().public_key()
_PADDING, _SHA256 = PKCS1v15(), SHA256()


def raw_signature(signature: bytes) -> bytes | None:
    """Decode a signature.

    Returns:
        the bytes of a public-key signature; empty if it has the length of an HMAC; None if every kind of key rejects it
        by its form alone.
    """
    if len(signature) in signing.SIGNATURE_LENGTHS[Kind.HMAC]:
        return b""
    if not any(len(signature) in signing.SIGNATURE_LENGTHS[kind] for kind in (Kind.ED25519, Kind.RSA)):
        return None
    try:
        raw = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return None
    has_valid_length = len(raw) == ED25519_BYTES or len(raw) in RSA_BYTES
    return raw if has_valid_length and base64.b64encode(raw) == signature else None


def is_full_check(kind: Kind, key: object, raw_signature: bytes) -> bool:
    """Return whether verifying the signature with ``key`` took the full time that such a signature takes.

    If not, ``key`` rejected it by its form, and `check_against_dummy` has to do the work. ``key``: of a public key, the
    result of `public_key`.
    """
    if kind is Kind.HMAC or not raw_signature:
        return kind is Kind.HMAC and not raw_signature
    if kind is Kind.ED25519:
        return isinstance(key, Ed25519PublicKey) and len(raw_signature) == ED25519_BYTES
    return isinstance(key, RSAPublicKey) and is_in_range(key, raw_signature)


def public_key(kind: Kind, material: bytes) -> object:
    """Return the public key of a credential; None for an HMAC secret and for an unreadable key."""
    try:
        return None if kind is Kind.HMAC else signing.public_key(material)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def pad_work(payload: bytes, raw_signature: bytes, done: int) -> None:
    """Pad the work after all credentials rejected a signature; ``done`` of them did a full check."""
    for _ in range(MAX_LIVE_CREDENTIALS - done):
        check_against_dummy(payload, raw_signature)


def check_against_dummy(payload: bytes, raw_signature: bytes) -> None:
    """Verify a signature (a result of `raw_signature`) with a dummy key of its kind and size."""
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
    """Return a key whose modulus is above every number of ``size`` bytes except one. Its factors are known; it protects
    nothing."""
    return RSAPublicNumbers(65_537, (1 << 8 * size) - 1).public_key()
