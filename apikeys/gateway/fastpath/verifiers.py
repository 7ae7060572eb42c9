"""Verify signatures of one credential with a key that is parsed once. Pure: no ORM, no Django."""

from __future__ import annotations

import binascii
import hashlib
from hmac import compare_digest
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from apikeys.verification import signature_check, signing
from apikeys.verification.records import CredentialRecord
from apikeys.verification.signing import Kind

NEVER = 1 << 62
_BLOCK_BYTES = 64  # block size of SHA-256 (FIPS 180-4)
_EMPTY_SHA256 = hashlib.sha256()
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_HMAC_HEX_LENGTH = signing.SIGNATURE_LENGTHS[Kind.HMAC][0]
#: Length of the longest base64 signature with every character percent-encoded.
_MAX_ENCODED_LENGTH = 3 * signing.SIGNATURE_LENGTHS[Kind.RSA][-1]
_PADDING = PKCS1v15()
#: The DigestInfo prefix of an RSA signature: SHA-256, 32 bytes (RFC 8017, 9.2, note 1).
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


class Verifier:
    """Verifier of one credential; ``credential_id`` is its id, ``retires_at_ms`` the end of its validity."""

    __slots__ = ("_key", "credential_id", "retires_at_ms")
    _key: Any
    kind: Kind

    def __init__(self, credential: CredentialRecord, key: object) -> None:
        self.credential_id = credential.id
        self.retires_at_ms = NEVER if credential.retires_at_ms is None else credential.retires_at_ms
        self._key = key

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        """Return whether ``signature``, as it stands in the query string, is that of ``payload``."""
        raise NotImplementedError

    def is_full_check(self, raw_signature: bytes) -> bool:
        """See `signature_check.is_full_check`."""
        return signature_check.is_full_check(self.kind, self._key, raw_signature)


class _HmacVerifier(Verifier):
    """HMAC-SHA256 (RFC 2104, 2) computed from the secret itself, which takes three cache lines of the processor.

    `hmac.digest` takes half a microsecond more. Precomputed states of the two hashes take 0.3 µs less while they are in
    the processor's cache; but they take fourteen lines, and with 10,000 keys none of them is cached: then they take
    1 µs more, and 0.7 KB a key.
    """

    __slots__ = ()
    kind = Kind.HMAC

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        if len(signature) != _HMAC_HEX_LENGTH:
            return False
        inner, outer = _EMPTY_SHA256.copy(), _EMPTY_SHA256.copy()
        inner.update(self._key.translate(_INNER) + payload)
        outer.update(self._key.translate(_OUTER) + inner.digest())
        try:
            return compare_digest(outer.digest(), binascii.unhexlify(signature))
        except ValueError:
            return False


class _Ed25519Verifier(Verifier):
    __slots__ = ()
    kind = Kind.ED25519

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        try:
            raw = _decode_signature(signature)
            if len(raw) != signing.ED25519_BYTES:
                return False
            self._key.verify(raw, payload)
        except (InvalidSignature, ValueError):
            return False
        return True


class _RsaVerifier(Verifier):
    """RSASSA-PKCS1-v1_5 (RFC 8017, 8.2.2); 1.5 µs of 39 faster than the library's `verify`."""

    __slots__ = ("_modulus",)
    kind = Kind.RSA

    def __init__(self, credential: CredentialRecord, key: RSAPublicKey) -> None:
        super().__init__(credential, key)
        self._modulus = key.public_numbers().n.to_bytes(signing.signature_bytes(key))

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        try:
            raw = _decode_signature(signature)
            if len(raw) != len(self._modulus) or raw >= self._modulus:
                return False
            # SECURITY: hash in any case, as for an unknown key: a long payload takes 30 µs, which would reveal that the
            # key exists.
            expected = _DIGEST_INFO + hashlib.sha256(payload).digest()
            recovered = self._key.recover_data_from_signature(raw, _PADDING, None)
        except (InvalidSignature, ValueError):
            return False
        # SECURITY: compare everything behind the padding: if other bytes are accepted before or after the digest,
        # signatures can be forged without the private key (Bleichenbacher, CRYPTO 2006).
        return bool(recovered == expected)


def make_verifier(credential: CredentialRecord) -> Verifier | None:
    """Return the verifier of a credential, or None if the credential cannot be used: `decide` rejects it."""
    if credential.kind is Kind.HMAC:
        return _HmacVerifier(credential, _hmac_block(credential.material)) if credential.material else None
    try:
        key = signing.public_key(credential.material)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if credential.kind is Kind.ED25519 and isinstance(key, Ed25519PublicKey):
        return _Ed25519Verifier(credential, key)
    if credential.kind is Kind.RSA and isinstance(key, RSAPublicKey) and key.key_size in signing.RSA_BITS:
        return _RsaVerifier(credential, key)
    return None


def pad_work(payload: bytes, signature: bytes, verifiers: tuple[Verifier, ...]) -> None:
    """Pad the work after all ``verifiers`` rejected a signature to the amount that any key takes, known or unknown.

    SECURITY: as `verification.decide` does, or the time would reveal which keys exist.
    """
    # As `verifies` reads them: an HMAC as it was sent, other signatures decoded.
    raw = (
        b""
        if len(signature) == _HMAC_HEX_LENGTH
        else signature_check.raw_signature(_percent_decode(signature)) or None
    )
    if raw is not None:
        signature_check.pad_work(
            payload, raw, sum(make_verifier.is_full_check(raw) for make_verifier in verifiers)
        )


def _hmac_block(secret: bytes) -> bytes:
    """Return the secret padded to a block (RFC 2104); the same object for the portal's secrets of 64 characters."""
    if len(secret) > _BLOCK_BYTES:
        secret = hashlib.sha256(secret).digest()
    return secret.ljust(_BLOCK_BYTES, b"\0")


def _decode_signature(signature: bytes) -> bytes:
    """Return the bytes of a percent-encoded base64 text. Raise `ValueError` if it is not the canonical spelling."""
    text = _percent_decode(signature)
    raw = binascii.a2b_base64(text, strict_mode=True)
    # Strict mode checks characters and padding only: a padded last group may still have another spelling.
    if text[-1:] == b"=" and binascii.b2a_base64(raw[-(len(raw) % 3 or 3) :], newline=False) != text[-4:]:
        raise binascii.Error("another spelling")
    return raw


def _percent_decode(signature: bytes) -> bytes:
    """Percent-decode a base64 text once. Return text that is no base64 for unusual spellings: `decide` handles these.

    An unencoded "+" and an encoded space are both "+", as in `signing.parse`.

    SECURITY: takes a few µs for any length: `unquote_to_bytes` takes 1 ms for 3,000 encoded letters.
    """
    if len(signature) > _MAX_ENCODED_LENGTH:
        return b""
    # The characters of base64 besides letters and digits.
    signature = signature.replace(b"%2B", b"+").replace(b"%2F", b"/").replace(b"%3D", b"=")
    if b"%" in signature:
        signature = signature.replace(b"%2b", b"+").replace(b"%2f", b"/").replace(b"%3d", b"=")
        signature = signature.replace(b"%20", b"+")
    return signature
