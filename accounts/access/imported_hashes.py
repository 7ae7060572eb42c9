"""Password hashes that an exchange brings with its customers: which are taken, and what a login does with them.

The right password replaces such a hash by argon2id (Django's `check_password`, the first of `PASSWORD_HASHERS`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from typing import Any

import bcrypt
from django.contrib.auth.hashers import (
    BasePasswordHasher,
    BCryptPasswordHasher,
    BCryptSHA256PasswordHasher,
    PBKDF2PasswordHasher,
    PBKDF2SHA1PasswordHasher,
    ScryptPasswordHasher,
    check_password,
    identify_hasher,
    make_password,
    mask_hash,
)
from django.utils.crypto import constant_time_compare

from accounts.models import ImportedHashKind, User
from hitobit_portal.security.passwords import BoundedHasher, slots

#: Different kinds of imported hashes at a time: a failed login does the work of each.
MAX_KINDS = 4
#: SECURITY: one login must not take a worker for minutes, or its memory. Twice what Django uses for PBKDF2; for
#: scrypt, what OpenSSL allows without a setting.
MAX_ITERATIONS = 2_000_000
MAX_BCRYPT_ROUNDS = 14
MAX_ARGON2_KIB, MAX_ARGON2_PASSES, MAX_ARGON2_LANES = 262_144, 16, 16
MAX_SCRYPT_BYTES = 32 * 1024 * 1024
BCRYPT_BYTES = 72
MAX_LENGTH: int = User._meta.get_field("password").max_length or 0

_BASE64 = "[A-Za-z0-9+/]"
_PBKDF2 = re.compile(rf"(pbkdf2_sha256|pbkdf2_sha1)\$([1-9][0-9]{{0,8}})\$[!-#%-~]+\$({_BASE64}+={{0,2}})")
_SCRYPT = re.compile(
    rf"scrypt\$([1-9][0-9]{{0,8}})\$[!-#%-~]+\$([1-9][0-9]{{0,2}})\$([1-9][0-9]{{0,2}})\$({_BASE64}{{86}}==)"
)
_BCRYPT = re.compile(r"(bcrypt|bcrypt_sha256)\$\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(
    rf"argon2\$argon2(?:id|i|d)\$v=19\$m=([1-9][0-9]{{0,9}}),t=([1-9][0-9]{{0,5}}),p=([1-9][0-9]{{0,3}})"
    rf"\${_BASE64}{{11,}}\${_BASE64}{{22,}}"
)
_BCRYPT_BASE64 = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_DIGEST_BYTES = {"pbkdf2_sha256": 32, "pbkdf2_sha1": 20}
#: KeyDerivationPrf of ASP.NET Core, and the marker of format 3.
_PRFS = {0: "sha1", 1: "sha256", 2: "sha512"}
_MARKER, _HEADER_BYTES = 1, 13


class HashRefused(Exception):
    """The hash is not taken; ``str()`` says why and contains nothing of it."""


class Pbkdf2Hasher(BoundedHasher, PBKDF2PasswordHasher):
    """Django's, bounded."""


class Pbkdf2Sha1Hasher(BoundedHasher, PBKDF2SHA1PasswordHasher):
    """Django's, bounded."""


class ScryptHasher(BoundedHasher, ScryptPasswordHasher):
    """Django's, bounded."""


class BCryptSha256Hasher(BoundedHasher, BCryptSHA256PasswordHasher):
    """Django's, bounded."""


class AspNetIdentityHasher(BasePasswordHasher):
    """Format 3 of ASP.NET Core Identity, stored as ``aspnet_identity_v3$<base64>``.

    The bytes are: 1, then three big-endian 32-bit numbers (pseudo-random function, iterations, length of the salt), the
    salt, and the rest is the key of PBKDF2.
    """

    algorithm = "aspnet_identity_v3"
    iterations = 100_000

    def encode(self, password: str, salt: str, prf: int = 2, iterations: int = 0, length: int = 32) -> str:
        return self._encode(password, salt.encode(), prf, iterations or self.iterations, length)

    def _encode(self, password: str, salt: bytes, prf: int, iterations: int, length: int) -> str:
        numbers = b"".join(number.to_bytes(4, "big") for number in (prf, iterations, len(salt)))
        with slots():
            key = hashlib.pbkdf2_hmac(_PRFS[prf], password.encode(), salt, iterations, length)
        return f"{self.algorithm}${base64.b64encode(bytes((_MARKER,)) + numbers + salt + key).decode()}"

    def decode(self, encoded: str) -> dict[str, Any]:
        raw = base64.b64decode(encoded.partition("$")[2], validate=True)
        prf, iterations, size = (int.from_bytes(raw[at : at + 4], "big") for at in (1, 5, 9))
        salt, key = raw[_HEADER_BYTES : _HEADER_BYTES + size], raw[_HEADER_BYTES + size :]
        if raw[0] != _MARKER or prf not in _PRFS or len(salt) != size:
            raise ValueError("not format 3")
        return {
            "algorithm": self.algorithm,
            "prf": prf,
            "iterations": iterations,
            "salt": salt,
            "hash": key,
        }

    def verify(self, password: str, encoded: str) -> bool:
        parts = self.decode(encoded)
        again = self._encode(password, parts["salt"], parts["prf"], parts["iterations"], len(parts["hash"]))
        return constant_time_compare(encoded, again)

    def safe_summary(self, encoded: str) -> dict[Any, Any]:
        parts = self.decode(encoded)
        return {
            "algorithm": self.algorithm,
            "prf": _PRFS[parts["prf"]],
            "iterations": parts["iterations"],
            "hash": mask_hash(parts["hash"].hex()),
        }

    def must_update(self, encoded: str) -> bool:
        return True

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Nothing: `spend_same_work` makes up for the difference."""


class BCryptHasher(BCryptPasswordHasher):
    """Django's, also for passwords of more than 72 bytes: bcrypt ignores the rest, and its library refuses them now."""

    def encode(self, password: str, salt: Any) -> str:
        with slots():
            data = bcrypt.hashpw(password.encode()[:BCRYPT_BYTES], salt)
        return f"{self.algorithm}${data.decode('ascii')}"


def read(text: str) -> tuple[str, str]:
    """Return the hash as Django stores it, and its kind (`kind_of`). Raise `HashRefused`."""
    encoded = text if "$" in text else f"{AspNetIdentityHasher.algorithm}${text}"
    kind = kind_of(encoded)
    if not kind:
        raise HashRefused("the format of the hash is not known")
    if len(encoded) > MAX_LENGTH:
        raise HashRefused(f"the hash has more than {MAX_LENGTH} characters")
    if not _is_affordable(encoded):
        raise HashRefused("the hash takes too much work to verify")
    return _with_plain_salt(encoded) if _BCRYPT.fullmatch(encoded) else encoded, kind


def _with_plain_salt(encoded: str) -> str:
    """Return a bcrypt hash whose salt ends with unused bits of zero, as the library wants it.

    Other programs leave them as they are. They change nothing, but the library raises an error, which would be that of
    every failed login if the hash is the first of its kind.
    """
    at = len(encoded) - 32  # the last character of the salt; four of its bits are unused
    return encoded[:at] + _BCRYPT_BASE64[_BCRYPT_BASE64.index(encoded[at]) & 0x30] + encoded[at + 1 :]


def kind_of(encoded: str) -> str:
    """Return what determines the work of verifying a hash: algorithm and parameters; "" for an unknown format."""
    if match := _PBKDF2.fullmatch(encoded):
        size = len(_decoded(match[3]) or b"")
        return f"{match[1]}${match[2]}" if size == _DIGEST_BYTES[match[1]] else ""
    if match := _SCRYPT.fullmatch(encoded):
        return f"scrypt${match[1]}${match[2]}${match[3]}"
    if match := _BCRYPT.fullmatch(encoded):
        return f"{match[1]}${match[2]}"
    if _ARGON2.fullmatch(encoded):
        head, salt, key = encoded.rsplit("$", 2)
        return head if _decoded(_padded(salt)) and _decoded(_padded(key)) else ""
    algorithm, _dollar, rest = encoded.partition("$")
    if algorithm != AspNetIdentityHasher.algorithm or not (raw := _decoded(rest)) or len(raw) < _HEADER_BYTES:
        return ""
    try:
        parts = AspNetIdentityHasher().decode(encoded)
    except ValueError:
        return ""
    # The same bounds as ASP.NET's: salt and key of at least 128 bits.
    if len(parts["salt"]) < 16 or len(parts["hash"]) < 16 or not parts["iterations"]:
        return ""
    return f"{algorithm}${parts['prf']}${parts['iterations']}${len(parts['hash'])}"


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


def _decoded(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # One spelling: base64 of another length, or with other unused bits, is compared as text and never matches.
    return raw if base64.b64encode(raw).decode() == text else None


def _is_affordable(encoded: str) -> bool:
    kind = kind_of(encoded).split("$")
    if kind[0] in _DIGEST_BYTES:
        return int(kind[1]) <= MAX_ITERATIONS
    if kind[0] == AspNetIdentityHasher.algorithm:
        return int(kind[2]) <= MAX_ITERATIONS
    if kind[0].startswith("bcrypt"):
        return 4 <= int(kind[1]) <= MAX_BCRYPT_ROUNDS
    if kind[0] == "scrypt":
        n, r, p = map(int, kind[1:])
        # RFC 7914, 2: OpenSSL raises an error for other figures.
        is_valid = n & (n - 1) == 0 and 1 < n < 2 ** (16 * r)
        return is_valid and 128 * r * (n + p + 2) <= MAX_SCRYPT_BYTES and p <= 16
    memory, passes, lanes = map(int, _ARGON2.fullmatch(encoded).groups())  # type: ignore[union-attr]
    return 8 * lanes <= memory <= MAX_ARGON2_KIB and passes <= MAX_ARGON2_PASSES and lanes <= MAX_ARGON2_LANES


def stand_in(encoded: str) -> str:
    """Return a hash of the same kind that no password has: what is computed from the password is random.

    SECURITY: all of it. A part of a customer's hash is enough to try passwords on, and this one stays when theirs was
    replaced or deleted.
    """
    head, _dollar, tail = encoded.rpartition("$")
    if encoded.startswith(AspNetIdentityHasher.algorithm):
        size = len(AspNetIdentityHasher().decode(encoded)["hash"])
        return f"{head}${_base64(base64.b64decode(tail)[:-size] + secrets.token_bytes(size))}"
    if _BCRYPT.fullmatch(encoded):
        # 22 characters of salt, then 184 bits: 30 characters, and one with two unused bits.
        random = "".join(secrets.choice(_BCRYPT_BASE64) for _n in range(30))
        return f"{head}${tail[:22]}{random}{_BCRYPT_BASE64[0]}"
    digest = _base64(secrets.token_bytes(len(tail.rstrip("=")) * 3 // 4))
    return f"{head}${digest if tail.endswith('=') else digest.rstrip('=')}"


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def spend_same_work(password: str, encoded: str) -> None:
    """After a failed login: the work that verifying ``encoded`` was not.

    SECURITY: otherwise the time of a wrong password tells accounts whose hash was imported from numbers without an
    account. ``encoded``: the account's hash, "" without an account or a usable password, which took one argon2id.
    """
    done = kind_of(encoded)
    kinds = dict(ImportedHashKind.objects.order_by("pk").values_list("kind", "stand_in"))
    if not kinds:
        return
    if done in kinds:
        make_password(password)
    for kind, hashed in kinds.items():
        if kind != done and _is_installed(hashed):
            check_password(password, hashed)


def _is_installed(encoded: str) -> bool:
    try:
        identify_hasher(encoded)
    except ValueError:
        return False
    return True
