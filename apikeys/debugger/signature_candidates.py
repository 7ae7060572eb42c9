"""Generate signature candidates: ways of signing with another secret, algorithm or encoding than the correct one. Pure.

SECURITY: an attacker with a session but no secret only learns whether a signature matches. Every material below has at
least 190 bits of the secret, or none of it, so that nobody can learn it piece by piece by pasting signatures; and no
signature is compared in part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from apikeys.debugger.causes import Cause, DetectedCause, detected
from apikeys.verification import signing
from apikeys.verification.records import CredentialRecord
from apikeys.verification.signing import Kind

#: Cost of one check in addition to the length of the payload, in bytes hashed (see `budget`).
HMAC_COST, HASH_COST, ED25519_COST, RSA_COST = 1_500, 2_500, 160_000, 100_000
_PUBLIC_KEY_COST = {Kind.ED25519: ED25519_COST, Kind.RSA: RSA_COST}
_ALGORITHMS = {16: ("md5",), 20: ("sha1",), 28: ("sha224",), 32: ("sha256", "sha3_256"), 48: ("sha384",)}
#: Maximum length of a hash value in bytes.
MAX_HASH_BYTES = 64
_BY_LENGTH = {**_ALGORITHMS, 64: ("sha512", "sha3_512")}
_PAD_INNER, _PAD_OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))  # RFC 2104, 2
_RSA_HASHES: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha512": hashes.SHA512()}  # nosec B303


@dataclass(frozen=True, slots=True)
class SignatureCandidate:
    """A way of signing that can be checked against payloads.

    Attributes:
        causes: empty for the correct way.
        cost: cost of one check in addition to hashing the payload.
        passes: how many times a check hashes the payload.
    """

    causes: tuple[DetectedCause, ...]
    cost: int
    verifies: Callable[[bytes], bool] = field(repr=False)
    passes: int = 1


def candidates_of(
    credential: CredentialRecord, signature: bytes, *extra: DetectedCause, key_id: str = ""
) -> list[SignatureCandidate]:
    """Return all candidates, correct ones first. ``extra``: causes that concern the credential itself."""
    if credential.kind is Kind.HMAC:
        candidates = list(_hmac_candidates(credential.material, signature, key_id))
    else:
        candidates = list(_public_key_candidates(credential.kind, credential.material, signature))
    return [replace(candidate, causes=(*extra, *candidate.causes)) for candidate in candidates]


def correct_candidate(
    credential: CredentialRecord, signature: bytes, *extra: DetectedCause
) -> SignatureCandidate | None:
    """Return the correct way of signing for a credential that should not have been used (``extra``: why).

    ``None`` if the signature does not have its form.
    """
    if len(signature) not in signing.SIGNATURE_LENGTHS[credential.kind]:
        return None
    if credential.kind is Kind.HMAC:
        if re.fullmatch(rb"[0-9A-Fa-f]{64}", signature) is None:
            return None
        check = _hmac_check(credential.material, "sha256", bytes.fromhex(signature.decode()))
        return SignatureCandidate(extra, HMAC_COST, check)

    def verifies(payload: bytes) -> bool:
        return signing.verify(credential.kind, credential.material, payload, signature)

    return SignatureCandidate(extra, _PUBLIC_KEY_COST[credential.kind], verifies)


def _hmac_candidates(secret: bytes, signature: bytes, key_id: str) -> Iterator[SignatureCandidate]:
    materials = [((), secret), *(((cause,), other) for cause, other in _materials(secret, key_id))]
    for written, raw in _hmac_spellings(signature):
        for algorithm in _BY_LENGTH.get(len(raw), ()):
            how = () if algorithm == "sha256" else (detected(Cause.ALGORITHM, name=algorithm.upper()),)
            for wrong, material in materials:
                causes = (*wrong, *how, *written)
                if len(causes) <= 2:
                    yield SignatureCandidate(causes, HMAC_COST, _hmac_check(material, algorithm, raw))
            if len(written) + len(how) <= 1:
                causes = (detected(Cause.PLAIN_HASH), *how, *written)
                yield SignatureCandidate(causes, HASH_COST, _hash_check(secret, algorithm, raw), passes=3)


def _hmac_check(material: bytes, algorithm: str, raw: bytes) -> Callable[[bytes], bool]:
    """Return a check of an HMAC (RFC 2104) that hashes the key's blocks once instead of for each payload.

    A check takes a third of the time of `hmac.digest`, so that three times as many fit into the budget.
    """
    inner = hashlib.new(algorithm)
    key = material if len(material) <= inner.block_size else hashlib.new(algorithm, material).digest()
    key = key.ljust(inner.block_size, b"\0")
    outer = hashlib.new(algorithm, key.translate(_PAD_OUTER))
    inner.update(key.translate(_PAD_INNER))

    def verifies(payload: bytes) -> bool:
        first, second = inner.copy(), outer.copy()
        first.update(payload)
        second.update(first.digest())
        return hmac.compare_digest(second.digest(), raw)

    return verifies


def _hash_check(secret: bytes, algorithm: str, raw: bytes) -> Callable[[bytes], bool]:
    def verifies(payload: bytes) -> bool:
        texts = (payload, secret + payload, payload + secret)
        return any(hmac.compare_digest(hashlib.new(algorithm, text).digest(), raw) for text in texts)

    return verifies


def _materials(secret: bytes, key_id: str) -> Iterator[tuple[DetectedCause, bytes]]:
    for ending in (b"\n", b"\r\n"):
        yield detected(Cause.SECRET_NEWLINE), secret + ending
    yield detected(Cause.SECRET_SPACE), secret + b" "
    yield detected(Cause.SECRET_SPACE), b" " + secret
    for mark in (b'"', b"'"):
        yield detected(Cause.SECRET_QUOTED), mark + secret + mark
    for decode in (base64.b64decode, bytes.fromhex):
        try:
            decoded = decode(secret.decode("ascii"))
        except (ValueError, binascii.Error):
            continue
        yield detected(Cause.SECRET_DECODED), decoded
    yield detected(Cause.SECRET_ENCODED), secret.hex().encode()
    yield detected(Cause.SECRET_ENCODED), base64.b64encode(secret)
    yield detected(Cause.SECRET_CASE), secret.lower()
    yield detected(Cause.SECRET_CASE), secret.upper()
    yield detected(Cause.SECRET_ENCODED), hashlib.sha256(secret).digest()
    yield detected(Cause.SECRET_ENCODED), hashlib.sha256(secret).hexdigest().encode()
    for cut in (secret[:-1], secret[1:], secret[:32]):
        yield detected(Cause.SECRET_CUT), cut
    if key_id:
        yield detected(Cause.KEY_AS_SECRET), key_id.encode("utf-8", "replace")
    yield detected(Cause.SECRET_EMPTY), b""


def _hmac_spellings(signature: bytes) -> Iterator[tuple[tuple[DetectedCause, ...], bytes]]:
    """Yield the bytes that the signature may encode, with the causes of wrong encodings."""
    bare = signature.strip(b" \t\r\n\"'<>[]{}").removeprefix(b"0x")
    wrong = () if bare == signature else (detected(Cause.SIGNATURE_DECORATED),)
    if (raw := _from_hex(bare, 1, 2 * MAX_HASH_BYTES)) is not None:
        yield wrong, raw
        if (twice := _from_hex(raw, 16, MAX_HASH_BYTES)) is not None:
            yield (detected(Cause.SIGNATURE_TWICE),), twice
    for cause, decoded in _base64_spellings(bare):
        if (twice := _from_hex(decoded, 16, MAX_HASH_BYTES)) is not None:
            yield (detected(Cause.SIGNATURE_TWICE),), twice
        shown = Cause.SIGNATURE_BASE64 if cause is None else cause
        yield (detected(shown),), decoded


def _from_hex(text: bytes, least: int, most: int) -> bytes | None:
    """Decode ``least`` to ``most`` bytes from hex digits only (`bytes.fromhex` also accepts spaces)."""
    if (
        len(text) % 2
        or not 2 * least <= len(text) <= 2 * most
        or re.fullmatch(rb"[0-9A-Fa-f]+", text) is None
    ):
        return None
    return bytes.fromhex(text.decode())


def _base64_spellings(text: bytes) -> Iterator[tuple[Cause | None, bytes]]:
    """Yield base64 decodings: the correct one (cause None), and those of common mistakes."""
    compact = b"".join(text.split())
    standard = compact.translate(bytes.maketrans(b"-_", b"+/"))
    for cause, spelled in (
        (None, text),
        (Cause.SIGNATURE_WRAPPED, compact),
        (Cause.SIGNATURE_BASE64URL, standard.rstrip(b"=") + b"=" * (-len(standard.rstrip(b"=")) % 4)),
        (Cause.SIGNATURE_TWICE, unquote_to_bytes(text)),
    ):
        try:
            raw = base64.b64decode(spelled, validate=True)
        except (ValueError, binascii.Error):
            continue
        if cause is Cause.SIGNATURE_BASE64URL and not re.search(rb"[-_]", text):
            cause = Cause.SIGNATURE_PADDING
        yield cause, raw


def _public_key_candidates(kind: Kind, material: bytes, signature: bytes) -> Iterator[SignatureCandidate]:
    spellings: dict[bytes, tuple[DetectedCause, ...]] = {}
    for cause, raw in _base64_spellings(signature):
        spellings.setdefault(raw, () if cause is None else (detected(cause),))
    if (from_hex := _from_hex(signature, signing.ED25519_BYTES, signing.RSA_BYTES[-1])) is not None:
        spellings.setdefault(from_hex, (detected(Cause.SIGNATURE_HEX),))
    cost = _PUBLIC_KEY_COST[kind]
    for raw, written in spellings.items():
        if not _may_be_of(kind, material, raw):
            continue
        yield SignatureCandidate(written, cost, _public_key_check(kind, material, raw))
        if kind is Kind.RSA:
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
            yield SignatureCandidate((detected(Cause.RSA_PSS), *written), cost, _rsa(material, raw, pss))
            for name, algorithm in _RSA_HASHES.items():
                how = (detected(Cause.ALGORITHM, name=name.upper()), *written)
                check = _rsa(material, raw, padding.PKCS1v15(), algorithm)
                yield SignatureCandidate(how, cost, check)


def _may_be_of(kind: Kind, material: bytes, raw: bytes) -> bool:
    """Return whether a signature has the length of the key's signatures."""
    if kind is Kind.ED25519:
        return len(raw) == signing.ED25519_BYTES
    try:
        key = signing.public_key(material)
    except (UnsupportedAlgorithm, ValueError):
        return False
    return isinstance(key, RSAPublicKey) and signing.is_in_range(key, raw)


def _public_key_check(kind: Kind, material: bytes, raw: bytes) -> Callable[[bytes], bool]:
    return lambda payload: signing.verify(kind, material, payload, base64.b64encode(raw))


def _rsa(
    material: bytes,
    raw: bytes,
    filling: padding.PSS | padding.PKCS1v15,
    algorithm: hashes.HashAlgorithm | None = None,
) -> Callable[[bytes], bool]:
    def verifies(payload: bytes) -> bool:
        try:
            key = signing.public_key(material)
            if isinstance(key, RSAPublicKey):
                key.verify(raw, payload, filling, algorithm or hashes.SHA256())
                return True
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            return False
        return False

    return verifies
