"""Parse pasted public keys and reject weak ones with a reason. Pure: no ORM, no Django.

Ed25519 (RFC 8032) and RSA of 3072 to 4096 bits, in the forms in which people have them: SubjectPublicKeyInfo or an RSA
public key in PEM (RFC 7468; RFC 8017, A.1.1), with line breaks written as the two characters ``\\n`` too; the base64 of
SubjectPublicKeyInfo alone; and a line of OpenSSH (RFC 4253, 6.6; RFC 8709).
"""

import base64
import contextlib
import enum
import hashlib
import itertools
import re
import textwrap
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_ssh_public_key,
)
from cryptography.x509 import load_der_x509_certificate

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
#: Private keys by their armour, as PuTTY's files and JWKs, and as bare base64 (the first bytes of PKCS#8 of Ed25519,
#: RSA and ECDSA, of PKCS#1, of SEC 1, and of OpenSSH's format).
PRIVATE = re.compile(
    r"PRIVATE[\s-]*(?:KEY|LINES)|[\"']D[\"']\s*:|MC[0-9A-Z]CAQAWBQYDK2VW|IBADANBGKQHKIG9W0BAQEFAASC"
    r"|MII[0-9A-Z+/]{2,4}IBAAKCA|AGEAMB[A-Z]GBYQGSM49AGEG|MHCCAQEEI|B3BLBNNZAC1RZXKTDJE"
)
#: Line breaks as JSON and environment files write them, and as JSON within JSON does.
_WRITTEN_BREAK = re.compile(r"\\\\?[rn]")
#: Marks of right-to-left text and other invisible characters, which chats add to what is copied from them.
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
#: DER in base64: a SEQUENCE of 32 bytes or more (ITU-T X.690, 8.1.3).
_BARE_DER = re.compile(r"M[C-I][A-Za-z0-9+/]{50,}={0,2}")
#: The words of a line of OpenSSH; others may stand before them (options) and behind them (a comment).
_SSH_ALGORITHM = re.compile(r"(?:ssh|ecdsa|sk)-[a-z0-9@.-]+")
_SSH_KEY = re.compile(r"AAAA[A-Za-z0-9+/]+={0,2}")
_FILE = re.compile(
    r"(?:file:)?(?:~?/|\.{1,2}[/\\]|[A-Za-z]:[/\\]|\\\\)[^\n]{1,300}|[^\n/\\]{1,200}\.(?:pem|pub|key|der|cer|crt|txt)",
    re.I,
)


class PublicKeyProblem(enum.Enum):
    EMPTY = "empty"
    PRIVATE = "private"  # a private key was pasted: it must be considered disclosed
    CERTIFICATE = "certificate"
    CERTIFICATE_REQUEST = "certificate request"
    PGP = "pgp"
    SSH2 = "ssh2"  # RFC 4716, as PuTTY exports it
    JWK = "jwk"
    FILE = "file"  # the name of a file instead of its content
    FINGERPRINT = "fingerprint"
    RAW = "raw"  # 32 bytes, which a private key has, too
    NOT_PEM = "not pem"
    UNREADABLE = "unreadable"
    ECDSA = "ecdsa"
    DSA = "dsa"
    ALGORITHM = "algorithm"  # none of those above, and neither Ed25519 nor RSA
    RSA_SIZE = "rsa size"
    RSA_EXPONENT = "rsa exponent"
    WEAK_POINT = "weak point"


class PublicKeyError(ValueError):
    """A pasted key was refused; ``problem`` says why. The text never holds the key.

    ``bits``: the size of an RSA key, for `PublicKeyProblem.RSA_SIZE`.
    """

    def __init__(self, problem: PublicKeyProblem, bits: int = 0) -> None:
        super().__init__(problem.value)
        self.problem = problem
        self.bits = bits


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
    """Whether ``text`` looks like a private key, in whatever wrapping."""
    searched = text[:MAX_SEARCHED_LENGTH]
    return any(PRIVATE.search(one.upper()) is not None for one in (searched, _plain(searched)))


def parse(text: str) -> PublicKey:
    """The key in ``text``. Raises `PublicKeyError`."""
    # SECURITY: said first and whatever else is wrong: who pastes a private key has to hear that it must not be used.
    if holds_private(text):
        raise PublicKeyError(PublicKeyProblem.PRIVATE)
    typed, text = text, _plain(text).strip()
    if not text:
        raise PublicKeyError(PublicKeyProblem.EMPTY)
    if len(text) > MAX_LENGTH:
        raise PublicKeyError(PublicKeyProblem.NOT_PEM)
    try:
        key = _load(text)
    except PublicKeyError as error:
        # As it was typed: "C:\\new" is no line break.
        if error.problem is PublicKeyProblem.NOT_PEM and _FILE.fullmatch(
            _INVISIBLE.sub("", typed).strip(" \t\r\n\"'")
        ):
            raise PublicKeyError(PublicKeyProblem.FILE) from None
        raise
    if isinstance(key, RSAPublicKey):
        if key.key_size not in RSA_BITS:
            raise PublicKeyError(PublicKeyProblem.RSA_SIZE, key.key_size)
        if key.public_numbers().e != EXPONENT:
            raise PublicKeyError(PublicKeyProblem.RSA_EXPONENT)
        kind = Kind.RSA
    elif isinstance(key, Ed25519PublicKey):
        if key.public_bytes(Encoding.Raw, PublicFormat.Raw) in SMALL_ORDER:
            raise PublicKeyError(PublicKeyProblem.WEAK_POINT)
        kind = Kind.ED25519
    elif isinstance(key, EllipticCurvePublicKey):
        raise PublicKeyError(PublicKeyProblem.ECDSA)
    else:
        raise PublicKeyError(
            PublicKeyProblem.DSA if isinstance(key, DSAPublicKey) else PublicKeyProblem.ALGORITHM
        )
    # Written anew: what follows the key in its DER, or odd encodings of it, are not kept.
    clean = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(kind, base64.b64encode(clean).decode())


def _plain(text: str) -> str:
    return _INVISIBLE.sub("", _WRITTEN_BREAK.sub("\n", text))


def _load(text: str) -> PublicKeyTypes:
    """The key in ``text``, which may still be one that is refused."""
    label, encoded = _first_pem_block(text)
    if label in ("PUBLIC KEY", "RSA PUBLIC KEY"):
        return _from_base64(encoded)
    if label:
        raise PublicKeyError(_problem_of_label(label))
    for algorithm, encoded in itertools.pairwise(text.split()):
        if _SSH_ALGORITHM.fullmatch(algorithm) and _SSH_KEY.fullmatch(encoded):
            return _from_ssh(algorithm, encoded)
    compact = "".join(text.split()).strip("\"'`,;")
    if _BARE_DER.fullmatch(compact):
        return _from_base64(compact)
    raise PublicKeyError(_problem_of_text(text, compact))


def _from_base64(encoded: str) -> PublicKeyTypes:
    problem, der = PublicKeyProblem.UNREADABLE, b""
    try:
        der = base64.b64decode("".join(encoded.split()), validate=True)
        return load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        with contextlib.suppress(ValueError, UnsupportedAlgorithm):
            load_der_x509_certificate(der)
            problem = PublicKeyProblem.CERTIFICATE
    raise PublicKeyError(problem)


def _from_ssh(algorithm: str, encoded: str) -> PublicKeyTypes:
    if "-cert-" in algorithm:
        raise PublicKeyError(PublicKeyProblem.CERTIFICATE)
    if algorithm.startswith(("ecdsa-", "sk-ecdsa-")):
        raise PublicKeyError(PublicKeyProblem.ECDSA)
    if algorithm == "ssh-dss":
        raise PublicKeyError(PublicKeyProblem.DSA)
    if algorithm not in ("ssh-ed25519", "ssh-rsa"):
        raise PublicKeyError(PublicKeyProblem.ALGORITHM)
    try:
        key = load_ssh_public_key(f"{algorithm} {encoded}".encode())
    except (ValueError, UnsupportedAlgorithm):
        raise PublicKeyError(PublicKeyProblem.UNREADABLE) from None
    if not isinstance(key, RSAPublicKey | Ed25519PublicKey):
        raise PublicKeyError(PublicKeyProblem.ALGORITHM)
    return key


def _problem_of_label(label: str) -> PublicKeyProblem:
    """Why a block of PEM with this label is refused."""
    if "CERTIFICATE REQUEST" in label:
        return PublicKeyProblem.CERTIFICATE_REQUEST
    if "CERTIFICATE" in label or label in ("PKCS7", "CMS"):
        return PublicKeyProblem.CERTIFICATE
    if label.startswith("PGP"):
        return PublicKeyProblem.PGP
    if label.startswith("SSH2"):
        return PublicKeyProblem.SSH2
    if label.startswith(("EC ", "ECDSA ")):
        return PublicKeyProblem.ECDSA
    return PublicKeyProblem.DSA if label.startswith("DSA ") else PublicKeyProblem.NOT_PEM


def _problem_of_text(text: str, compact: str) -> PublicKeyProblem:
    """Why a text without a block of PEM, a line of OpenSSH and a key in base64 is refused."""
    if "BEGIN SSH2" in text:
        return PublicKeyProblem.SSH2
    if re.search(r"[\"']kty[\"']\s*:", text):
        return PublicKeyProblem.JWK
    if re.match(r"(?:SHA256:|(?:MD5:)?[0-9a-f]{2}(?::[0-9a-f]{2}){15})", text):
        return PublicKeyProblem.FINGERPRINT
    if re.fullmatch(r"(?:0x)?[0-9A-Fa-f]{64}|[A-Za-z0-9+/_-]{43}=?", compact):
        return PublicKeyProblem.RAW
    return PublicKeyProblem.NOT_PEM


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
