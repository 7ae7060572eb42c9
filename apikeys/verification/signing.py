"""What a signed request says, what of it is signed, and how that is checked. Pure: no ORM, no Django.

Everything here works on the bytes that came over the wire. Names and values are decoded only to be looked
at; the signed payload is never decoded, sorted or encoded again ("What is signed" in the contract of a
signed request; binance/binance-spot-api-docs, rest-api.md).
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
#: Of signatures (RFC 8032, 5.1.6; RFC 8017, 8.2.1).
ED25519_BYTES = 64
RSA_BYTES = range(RSA_BITS[0] // 8, RSA_BITS[-1] // 8 + 1)

# Below this a timestamp counts milliseconds (it would be the year 5138), from it on microseconds (1973).
_MICROSECONDS_FROM = 10**14

# At most 20 digits, as Binance has it; `[0-9]`, because `\d` and int() take Persian digits and "1_000".
_TIMESTAMP = re.compile(rb"[0-9]{1,20}")
_RECV_WINDOW = re.compile(rb"([0-9]{1,20})(?:\.([0-9]{1,3}))?")
_HEX_SHA256 = re.compile(rb"[0-9A-Fa-f]{64}")

# RFC 3986, 3.4: query = *( pchar / "/" / "?" ), in which "%" only ever begins an encoded byte.
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


#: Of signatures as they are written: hex digits, or base64.
LENGTHS = {
    Kind.HMAC: range(64, 65),
    Kind.ED25519: range(88, 89),
    Kind.RSA: range(4 * -(-RSA_BYTES[0] // 3), 4 * -(-RSA_BYTES[-1] // 3) + 1),
}


class Refusal(enum.Enum):
    """Why a request cannot be read. Each has a namesake in `verification.Outcome`."""

    PARAMETER_MISSING = "parameter_missing"
    PARAMETER_DUPLICATE = "parameter_duplicate"
    RECV_WINDOW = "recv_window"


class ContractError(Exception):
    """A request breaks the contract; `arguments` fill the placeholders of the refusal's message."""

    def __init__(self, refusal: Refusal, *arguments: str | int) -> None:
        super().__init__(refusal.value, *arguments)
        self.refusal = refusal
        self.arguments = arguments


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What the decision needs of a request.

    Attributes:
        payload: the bytes that were signed.
        signature: the signature's text, percent-decoded once; a space in it is a "+" of base64 that the client did not
            encode.
        timestamp_us: microseconds since 1970, whichever unit the client used.
        recv_window_us: microseconds.
        well_formed: no byte lies outside RFC 3986's query characters. If not, no signature is valid.
    """

    payload: bytes
    signature: bytes
    timestamp_us: int
    recv_window_us: int
    well_formed: bool


class _Piece(NamedTuple):
    """What stands between two `&`: as received, and its halves, of which only the name is decoded."""

    raw: bytes
    name: bytes
    raw_value: bytes


def parse(query: bytes, body: bytes) -> SignedRequest:
    """Read the raw query string (without ``?``) and the raw body.

    A body is taken by its bytes, whatever type it claims: clients send form bodies with DELETE, and empty
    ones as JSON.

    Raises:
        ContractError: for checks 4 to 6 of the contract, in that order.
    """
    places = (_split(query), _split(body))
    # The query string's value counts, and the first within it (a second is refused below in any case).
    found: dict[bytes, bytes] = {}
    for piece in (*places[0], *places[1]):
        if piece.name in (b"timestamp", b"recvWindow", b"signature"):
            found.setdefault(piece.name, _decode(piece.raw_value))
    timestamp = _timestamp_us(found.get(b"timestamp"))
    signature = found.get(b"signature")
    if not signature:
        raise ContractError(Refusal.PARAMETER_MISSING, "signature")
    recv_window = _recv_window_us(found.get(b"recvWindow"))
    _refuse_duplicates(places)
    if recv_window > MAX_RECV_WINDOW_US:
        raise ContractError(Refusal.RECV_WINDOW)
    return SignedRequest(
        payload=_without_signature(places[0]) + _without_signature(places[1]),
        # Base64 has no space: a form decoder made it of a "+" that node-binance-api and others send as it is.
        signature=signature.replace(b" ", b"+"),
        timestamp_us=timestamp,
        recv_window_us=recv_window,
        well_formed=_is_query(query) and _is_query(body),
    )


def verify(kind: Kind, material: bytes, payload: bytes, signature: bytes) -> bool:
    """Check a signature. Whatever is wrong with any argument, the answer is ``False``, never an exception.

    Args:
        kind: how `material` is to be used.
        material: HMAC: the secret's ASCII bytes. Else: the public key, DER (SubjectPublicKeyInfo, RFC 5280).
        payload: the signed bytes.
        signature: HMAC: 64 hex digits in either case. Else: base64 (RFC 4648, 4), padded and canonical.
    """
    # SECURITY: what is of no length that fits is refused before anything else: the time would tell what the key is.
    if len(signature) not in LENGTHS.get(kind, ()):
        return False
    if kind is Kind.HMAC:
        return _verify_hmac(material, payload, signature)
    return _verify_public_key(kind, material, payload, signature)


def _verify_hmac(secret: bytes, payload: bytes, signature: bytes) -> bool:
    expected = hmac.digest(secret, payload, "sha256").hex().encode()
    # Bytes: compare_digest raises on a str that is not ASCII.
    same = hmac.compare_digest(expected, signature.lower())
    # SECURITY: anybody can compute an HMAC under an empty secret.
    return same and bool(secret) and _HEX_SHA256.fullmatch(signature) is not None


def _verify_public_key(kind: Kind, material: bytes, payload: bytes, signature: bytes) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
        # SECURITY: one spelling per signature, or a replay could pass for another request.
        if base64.b64encode(raw) != signature:
            return False
        key = public_key(material)
        if kind is Kind.ED25519 and isinstance(key, Ed25519PublicKey) and len(raw) == ED25519_BYTES:
            key.verify(raw, payload)
            return True
        if kind is Kind.RSA and isinstance(key, RSAPublicKey) and is_number_of(key, raw):
            key.verify(raw, payload, PKCS1v15(), SHA256())
            return key.key_size in RSA_BITS
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, binascii.Error):
        return False
    return False


def is_number_of(key: RSAPublicKey, raw: bytes) -> bool:
    """Whether it is one that ``key`` could have signed with (RFC 8017, 8.2.2, step 1, and 5.2.2, step 1).

    SECURITY: everything else is refused here, at a glance: see `decoys.is_work_of`.
    """
    return len(raw) == bytes_of(key) and int.from_bytes(raw) < key.public_numbers().n


def bytes_of(key: RSAPublicKey) -> int:
    """Of its signatures (RFC 8017, 8.2.1)."""
    return (key.key_size + 7) // 8


# Reading a key's DER costs as much as half an Ed25519 verification. Public keys only: nothing secret is kept.
@lru_cache(maxsize=4096)
def public_key(material: bytes) -> PublicKeyTypes:
    """The key of a DER text (SubjectPublicKeyInfo). Raises `ValueError` and `UnsupportedAlgorithm`."""
    return load_der_public_key(material)


def _split(raw: bytes) -> list[_Piece]:
    pieces = []
    for piece in raw.split(b"&"):
        name, _, value = piece.partition(b"=")
        # SECURITY: names are compared decoded, or "%73ignature" would be a signature to one reader and
        # signed data to another.
        pieces.append(_Piece(piece, _decode(name), value))
    return pieces


def _without_signature(pieces: list[_Piece]) -> bytes:
    """Put a place together again as it was, without the signature and the one ``&`` that goes with it."""
    return b"&".join(piece.raw for piece in pieces if piece.name != b"signature")


def _decode(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" "))


def _is_query(raw: bytes) -> bool:
    return not raw.translate(None, _QUERY_BYTES) and _STRAY_PERCENT.search(raw) is None


def _timestamp_us(value: bytes | None) -> int:
    if value is None or _TIMESTAMP.fullmatch(value) is None:
        raise ContractError(Refusal.PARAMETER_MISSING, "timestamp")
    number = int(value)
    return number if number >= _MICROSECONDS_FROM else number * 1000


def _recv_window_us(value: bytes | None) -> int:
    if value is None:
        return DEFAULT_RECV_WINDOW_US
    match = _RECV_WINDOW.fullmatch(value)
    if match is None:
        raise ContractError(Refusal.PARAMETER_MISSING, "recvWindow")
    return int(match[1]) * 1000 + int((match[2] or b"").ljust(3, b"0"))


def _refuse_duplicates(places: Iterable[list[_Piece]]) -> None:
    """Raise if a place has a name twice, or the two places together have two signatures."""
    received = expected = signatures = 0
    for pieces in places:
        names = [piece.name for piece in pieces if piece.raw]  # "a=1&&b=2" has two parameters
        received += len(names)
        expected += len(set(names))
        signatures += b"signature" in names
    expected -= max(signatures - 1, 0)
    if received != expected:
        raise ContractError(Refusal.PARAMETER_DUPLICATE, expected, received)
