"""Parse a signed request, extract its signed payload, and verify its signature. Pure: no ORM, no Django.

Everything here works on the bytes as received. Names and values are decoded only for comparison; the signed payload is
never decoded, sorted or re-encoded ("What is signed" in the signing contract; binance/binance-spot-api-docs,
rest-api.md).
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

DEFAULT_RECV_WINDOW_US = 5_000_000
MAX_RECV_WINDOW_US = 60_000_000
RSA_BITS = range(3072, 4096 + 1)
#: Length of a signature in bytes (RFC 8032, 5.1.6; RFC 8017, 8.2.1).
ED25519_BYTES = 64
RSA_BYTES = range(RSA_BITS[0] // 8, RSA_BITS[-1] // 8 + 1)

# A timestamp below this is in milliseconds (as such it would be in the year 5138), others in microseconds (from 1973).
_MICROSECONDS_FROM = 10**14

# At most 20 digits, as at Binance. `[0-9]`, because `\d` and int() accept Persian digits and "1_000".
_TIMESTAMP = re.compile(rb"[0-9]{1,20}")
_RECV_WINDOW = re.compile(rb"([0-9]{1,20})(?:\.([0-9]{1,3}))?")
_HEX_SHA256 = re.compile(rb"[0-9A-Fa-f]{64}")

# RFC 3986, 3.4: query = *( pchar / "/" / "?" ), where "%" is only valid as the start of an encoded byte.
_QUERY_BYTES = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"  # ALPHA, DIGIT
    b"-._~"  # the rest of unreserved
    b"!$&'()*+,;="  # sub-delims
    b":@/?%"
)
_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Kind(enum.Enum):
    """How a credential proves possession of its key."""

    HMAC = "hmac"
    ED25519 = "ed25519"
    RSA = "rsa"


#: Length of a signature's text in characters: hex digits, or base64.
SIGNATURE_LENGTHS = {
    Kind.HMAC: range(64, 65),
    Kind.ED25519: range(88, 89),
    Kind.RSA: range(4 * -(-RSA_BYTES[0] // 3), 4 * -(-RSA_BYTES[-1] // 3) + 1),
}


class ContractViolation(enum.Enum):
    """Why a request cannot be parsed. Each member has the name of a member of `outcomes.Outcome`."""

    PARAMETER_MISSING = "parameter_missing"
    PARAMETER_DUPLICATE = "parameter_duplicate"
    RECV_WINDOW = "recv_window"


class ContractError(Exception):
    """A request violates the contract; `arguments` fill the placeholders of the outcome's message.

    `parameter`: the name that is missing, repeated or out of range; a repeated one is spelt as received, as latin-1.
    """

    def __init__(self, violation: ContractViolation, *arguments: str | int, parameter: str) -> None:
        super().__init__(violation.value, *arguments)
        self.violation = violation
        self.arguments = arguments
        self.parameter = parameter

    @classmethod
    def missing(cls, parameter: str) -> ContractError:
        return cls(ContractViolation.PARAMETER_MISSING, parameter, parameter=parameter)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The parts of a request that the decision needs.

    Attributes:
        payload: the bytes that were signed.
        signature: the signature's text, percent-decoded once; a space in it is a "+" of base64 that the client did not
            encode.
        timestamp_us: microseconds since 1970, whichever unit the client used.
        recv_window_us: microseconds.
        well_formed: all bytes are query characters of RFC 3986. If not, no signature is valid.
    """

    payload: bytes
    signature: bytes
    timestamp_us: int
    recv_window_us: int
    well_formed: bool


class _Piece(NamedTuple):
    """The bytes between two `&`: as received, and its two halves, of which only the name is decoded."""

    raw: bytes
    name: bytes
    raw_value: bytes


def parse(query: bytes, body: bytes) -> SignedRequest:
    """Parse the raw query string (without ``?``) and the raw body.

    The content type of the body is ignored: clients send form bodies with DELETE, and empty bodies as JSON.

    Raises:
        ContractError: for checks 4 to 6 of the contract, in that order.
    """
    places = (_split(query), _split(body))
    # The query string takes precedence over the body. A second value within one of them is rejected below.
    values: dict[bytes, bytes] = {}
    for piece in (*places[0], *places[1]):
        if piece.name in (b"timestamp", b"recvWindow", b"signature"):
            values.setdefault(piece.name, _decode(piece.raw_value))
    timestamp = _timestamp_us(values.get(b"timestamp"))
    signature = values.get(b"signature")
    if not signature:
        raise ContractError.missing("signature")
    recv_window = _recv_window_us(values.get(b"recvWindow"))
    _reject_duplicates(places)
    if recv_window > MAX_RECV_WINDOW_US:
        raise ContractError(ContractViolation.RECV_WINDOW, parameter="recvWindow")
    return SignedRequest(
        payload=_without_signature(places[0]) + _without_signature(places[1]),
        # Base64 has no space: a form decoder made it of a "+" that node-binance-api and others send as it is.
        signature=signature.replace(b" ", b"+"),
        timestamp_us=timestamp,
        recv_window_us=recv_window,
        well_formed=_is_query(query) and _is_query(body),
    )


def verify(kind: Kind, material: bytes, payload: bytes, signature: bytes) -> bool:
    """Verify a signature. Invalid arguments of any kind return ``False``; no exception is raised.

    Args:
        kind: the kind of `material`.
        material: HMAC: the secret's ASCII bytes. Else: the public key, DER (SubjectPublicKeyInfo, RFC 5280).
        payload: the signed bytes.
        signature: HMAC: 64 hex digits in either case. Else: base64 (RFC 4648, 4), padded and canonical.
    """
    # SECURITY: a signature of the wrong length is rejected first. Otherwise the time would show the kind of the key.
    if len(signature) not in SIGNATURE_LENGTHS.get(kind, ()):
        return False
    if kind is Kind.HMAC:
        return _verify_hmac(material, payload, signature)
    return _verify_public_key(kind, material, payload, signature)


def _verify_hmac(secret: bytes, payload: bytes, signature: bytes) -> bool:
    expected = hmac.digest(secret, payload, "sha256").hex().encode()
    # As bytes: compare_digest raises TypeError for a str that is not ASCII.
    same = hmac.compare_digest(expected, signature.lower())
    # SECURITY: anybody can compute an HMAC under an empty secret.
    return same and bool(secret) and _HEX_SHA256.fullmatch(signature) is not None


def _verify_public_key(kind: Kind, material: bytes, payload: bytes, signature: bytes) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
        # SECURITY: accept only one encoding of a signature; otherwise a replayed request could look like another one.
        if base64.b64encode(raw) != signature:
            return False
        key = public_key(material)
        if kind is Kind.ED25519 and isinstance(key, Ed25519PublicKey) and len(raw) == ED25519_BYTES:
            key.verify(raw, payload)
            return True
        if kind is Kind.RSA and isinstance(key, RSAPublicKey) and is_in_range(key, raw):
            key.verify(raw, payload, PKCS1v15(), SHA256())
            return key.key_size in RSA_BITS
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, binascii.Error):
        return False
    return False


def is_in_range(key: RSAPublicKey, raw: bytes) -> bool:
    """Return whether ``raw`` has the length and range of a signature of ``key`` (RFC 8017, 8.2.2 step 1 and 5.2.2
    step 1).

    SECURITY: other signatures are rejected without an RSA operation; `signature_check.is_full_check` accounts for it.
    """
    return len(raw) == signature_bytes(key) and int.from_bytes(raw) < key.public_numbers().n


def signature_bytes(key: RSAPublicKey) -> int:
    """Return the length of the key's signatures in bytes (RFC 8017, 8.2.1)."""
    return (key.key_size + 7) // 8


# Parsing a key's DER costs as much as half an Ed25519 verification. The cache has public keys only, no secrets.
@lru_cache(maxsize=4096)
def public_key(material: bytes) -> PublicKeyTypes:
    """Parse a DER public key (SubjectPublicKeyInfo). Raises `ValueError` and `UnsupportedAlgorithm`."""
    return load_der_public_key(material)


def _split(raw: bytes) -> list[_Piece]:
    pieces = []
    for piece in raw.split(b"&"):
        name, _, value = piece.partition(b"=")
        # SECURITY: compare decoded names. Otherwise one parser would read "%73ignature" as the signature and another as
        # signed data.
        pieces.append(_Piece(piece, _decode(name), value))
    return pieces


def _without_signature(pieces: list[_Piece]) -> bytes:
    """Join the pieces as received, without the signature and the one ``&`` that belongs to it."""
    return b"&".join(piece.raw for piece in pieces if piece.name != b"signature")


def _decode(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" "))


def _is_query(raw: bytes) -> bool:
    return not raw.translate(None, _QUERY_BYTES) and _STRAY_PERCENT.search(raw) is None


def _timestamp_us(value: bytes | None) -> int:
    if value is None or _TIMESTAMP.fullmatch(value) is None:
        raise ContractError.missing("timestamp")
    number = int(value)
    return number if number >= _MICROSECONDS_FROM else number * 1000


def _recv_window_us(value: bytes | None) -> int:
    if value is None:
        return DEFAULT_RECV_WINDOW_US
    match = _RECV_WINDOW.fullmatch(value)
    if match is None:
        raise ContractError.missing("recvWindow")
    return int(match[1]) * 1000 + int((match[2] or b"").ljust(3, b"0"))


def _reject_duplicates(places: Iterable[list[_Piece]]) -> None:
    """Raise if the query or the body has a name twice, or both have a signature."""
    received = expected = signatures = 0
    for pieces in places:
        names = [piece.name for piece in pieces if piece.raw]  # "a=1&&b=2" has two parameters
        received += len(names)
        expected += len(set(names))
        signatures += b"signature" in names
    expected -= max(signatures - 1, 0)
    if received != expected:
        name = _first_repeated(places).decode("latin-1")
        raise ContractError(ContractViolation.PARAMETER_DUPLICATE, expected, received, parameter=name)


def _first_repeated(places: Iterable[list[_Piece]]) -> bytes:
    """Return the first name that a place has twice; if there is none, both have a signature."""
    for pieces in places:
        seen = set()
        for piece in pieces:
            if piece.raw and piece.name in seen:
                return piece.name
            if piece.raw:
                seen.add(piece.name)
    return b"signature"
