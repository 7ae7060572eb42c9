"""Public keys that customers paste: read, and refused with the reason when they are weak. Pure: no ORM, no Django.

Ed25519 (RFC 8032) and RSA of 3072 to 4096 bits, as SubjectPublicKeyInfo in PEM (RFC 7468).
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

LONGEST = 4000  # 4096 bits of RSA are 800 characters of PEM
BEGIN, DASHES = "-----BEGIN ", "-----"
_LABEL = re.compile(r"[A-Z0-9 ]+")
#: A private key within so many characters is looked for; no more than LONGEST of them are ever kept.
LONGEST_SEARCHED = 16 * LONGEST
#: The encodings of the points of small order: under such a "key" one signature fits every message.
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
#: Nearly everybody's. SECURITY: one of 3072 bits would cost each gateway 2 ms a signature, and with one of 32 bits the
#: time of a refusal would tell that the key exists.
EXPONENT = 65_537
#: Private keys by their armour, as PuTTY's files and JWKs, and as bare base64 (the first bytes of PKCS#8 and PKCS#1).
PRIVATE = re.compile(
    r"PRIVATE[\s-]*(?:KEY|LINES)|\"D\"\s*:|MC[0-9A-Z]CAQAWBQYDK2VW|IBADANBGKQHKIG9W0BAQEFAASC|MII[0-9A-Z+/]{2,4}IBAAKCA"
)


class Problem(enum.Enum):
    EMPTY = "empty"
    PRIVATE = "private"  # a private key was pasted: it is no secret any more
    CERTIFICATE = "certificate"
    NOT_PEM = "not pem"
    UNREADABLE = "unreadable"
    ALGORITHM = "algorithm"  # neither Ed25519 nor RSA
    RSA_SIZE = "rsa size"
    RSA_EXPONENT = "rsa exponent"
    WEAK_POINT = "weak point"


class PublicKeyError(ValueError):
    """A pasted key was refused; ``problem`` says why. The text never holds the key."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.value)
        self.problem = problem


@dataclass(frozen=True)
class PublicKey:
    """``encoded``: the DER of SubjectPublicKeyInfo in base64, as `Credential.public_key` holds it."""

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
    """``SHA256:`` and 43 characters, in the manner of ssh: the base64 of SHA-256 over the DER, without padding."""
    digest = hashlib.sha256(base64.b64decode(encoded)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def holds_private(text: str) -> bool:
    """Whether ``text`` looks like a private key, in whatever wrapping."""
    return PRIVATE.search(text[:LONGEST_SEARCHED].upper()) is not None


def parse(text: str) -> PublicKey:
    """The key in ``text``. Raises `PublicKeyError`."""
    if not text.strip():
        raise PublicKeyError(Problem.EMPTY)
    # SECURITY: said first and whatever else is wrong: who pastes a private key has to hear that it must not be used.
    if holds_private(text):
        raise PublicKeyError(Problem.PRIVATE)
    der = _der(text)
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise PublicKeyError(Problem.UNREADABLE) from None
    if isinstance(key, RSAPublicKey):
        if key.key_size not in RSA_BITS:
            raise PublicKeyError(Problem.RSA_SIZE)
        if key.public_numbers().e != EXPONENT:
            raise PublicKeyError(Problem.RSA_EXPONENT)
        kind = Kind.RSA
    elif isinstance(key, Ed25519PublicKey):
        if key.public_bytes(Encoding.Raw, PublicFormat.Raw) in SMALL_ORDER:
            raise PublicKeyError(Problem.WEAK_POINT)
        kind = Kind.ED25519
    else:
        raise PublicKeyError(Problem.ALGORITHM)
    # Written anew: what follows the key in its DER, or odd encodings of it, are not kept.
    clean = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(kind, base64.b64encode(clean).decode())


def _der(text: str) -> bytes:
    label, encoded = _armoured(text) if len(text) <= LONGEST else ("", "")
    if "CERTIFICATE" in label:
        raise PublicKeyError(Problem.CERTIFICATE)
    if label != "PUBLIC KEY":
        raise PublicKeyError(Problem.NOT_PEM)
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        raise PublicKeyError(Problem.UNREADABLE) from None


def _armoured(text: str) -> tuple[str, str]:
    """Label and content of the first block that has an end; both "" if there is none."""
    start = text.find(BEGIN)
    while start >= 0:
        label, dashes, rest = text[start + len(BEGIN) :].partition(DASHES)
        if dashes and _LABEL.fullmatch(label):
            encoded, end, _after = rest.partition(f"-----END {label}{DASHES}")
            if end:
                return label, encoded
        start = text.find(BEGIN, start + 1)
    return "", ""
