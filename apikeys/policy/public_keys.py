"""Parse pasted public keys and reject weak ones with a reason. Pure: no ORM, no Django.

Accepts Ed25519 (RFC 8032) and RSA of 3072 to 4096 bits, as SubjectPublicKeyInfo in PEM (RFC 7468).
"""

import base64
import enum
import hashlib
import re
import textwrap
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from apikeys.verification.signing import RSA_BITS, Kind

MAX_LENGTH = 4000  # an RSA key of 4096 bits has 800 characters in PEM
BEGIN, DASHES = "-----BEGIN ", "-----"
_LABEL = re.compile(r"[A-Z0-9 ]+")
#: Number of characters that are searched for a private key; at most MAX_LENGTH are ever stored.
MAX_SEARCHED_LENGTH = 16 * MAX_LENGTH
#: Encodings of the points of small order: with such a "key" one signature is valid for every message.
SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
)
#: The exponent of nearly all RSA keys. SECURITY: an exponent of 3072 bits would cost each gateway 2 ms per signature,
#: and with one of 32 bits the time of a rejection would show that the key exists.
EXPONENT = 65_537
#: Private keys in PEM armour, PuTTY files, JWKs, and bare base64 (the first bytes of PKCS#8 and PKCS#1).
PRIVATE = re.compile(
    r"PRIVATE[\s-]*(?:KEY|LINES)|\"D\"\s*:|MC[0-9A-Z]CAQAWBQYDK2VW|IBADANBGKQHKIG9W0BAQEFAASC|MII[0-9A-Z+/]{2,4}IBAAKCA"
)


class PublicKeyProblem(enum.Enum):
    EMPTY = "empty"
    PRIVATE = "private"  # a private key was pasted: it must be considered disclosed
    CERTIFICATE = "certificate"
    NOT_PEM = "not pem"
    UNREADABLE = "unreadable"
    ALGORITHM = "algorithm"  # neither Ed25519 nor RSA
    RSA_SIZE = "rsa size"
    RSA_EXPONENT = "rsa exponent"
    WEAK_POINT = "weak point"


class PublicKeyError(ValueError):
    """A pasted key is not acceptable; ``problem`` is the reason. The message never contains the key."""

    def __init__(self, problem: PublicKeyProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem


@dataclass(frozen=True)
class PublicKey:
    """A public key. ``encoded``: SubjectPublicKeyInfo as DER in base64, as stored in `Credential.public_key`."""

    kind: Kind
    encoded: str

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.encoded)

    @property
    def pem(self) -> str:
        lines = "\n".join(textwrap.wrap(self.encoded, 64))
        return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"


def fingerprint(encoded: str) -> str:
    """Return the fingerprint in the format of OpenSSH: ``SHA256:`` and the unpadded base64 of SHA-256 over the DER."""
    digest = hashlib.sha256(base64.b64decode(encoded)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def holds_private(text: str) -> bool:
    """Return whether ``text`` looks like a private key in any of the formats of PRIVATE."""
    return PRIVATE.search(text[:MAX_SEARCHED_LENGTH].upper()) is not None


def parse(text: str) -> PublicKey:
    """Parse the public key in ``text``. Raises `PublicKeyError`."""
    if not text.strip():
        raise PublicKeyError(PublicKeyProblem.EMPTY)
    # SECURITY: checked first: a person who pastes a private key must be told not to use it, whatever else is wrong.
    if holds_private(text):
        raise PublicKeyError(PublicKeyProblem.PRIVATE)
    der = _der(text)
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise PublicKeyError(PublicKeyProblem.UNREADABLE) from None
    if isinstance(key, RSAPublicKey):
        if key.key_size not in RSA_BITS:
            raise PublicKeyError(PublicKeyProblem.RSA_SIZE)
        if key.public_numbers().e != EXPONENT:
            raise PublicKeyError(PublicKeyProblem.RSA_EXPONENT)
        kind = Kind.RSA
    elif isinstance(key, Ed25519PublicKey):
        if key.public_bytes(Encoding.Raw, PublicFormat.Raw) in SMALL_ORDER:
            raise PublicKeyError(PublicKeyProblem.WEAK_POINT)
        kind = Kind.ED25519
    else:
        raise PublicKeyError(PublicKeyProblem.ALGORITHM)
    # Encode the key again: trailing bytes and non-canonical encodings are not stored.
    canonical = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(kind, base64.b64encode(canonical).decode())


def _der(text: str) -> bytes:
    label, encoded = _first_pem_block(text) if len(text) <= MAX_LENGTH else ("", "")
    if "CERTIFICATE" in label:
        raise PublicKeyError(PublicKeyProblem.CERTIFICATE)
    if label != "PUBLIC KEY":
        raise PublicKeyError(PublicKeyProblem.NOT_PEM)
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        raise PublicKeyError(PublicKeyProblem.UNREADABLE) from None


def _first_pem_block(text: str) -> tuple[str, str]:
    """Return label and content of the first complete PEM block; both "" if there is none."""
    start = text.find(BEGIN)
    while start >= 0:
        label, dashes, rest = text[start + len(BEGIN) :].partition(DASHES)
        if dashes and _LABEL.fullmatch(label):
            encoded, end, _after = rest.partition(f"-----END {label}{DASHES}")
            if end:
                return label, encoded
        start = text.find(BEGIN, start + 1)
    return "", ""
