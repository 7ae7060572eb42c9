"""Encryption of secrets at rest, and keyed digests of codes.

A sealed value is ``v1:<key id>:<base64url(nonce || ciphertext || tag)>``: AES-256-GCM (NIST SP 800-38D) with a random
96-bit nonce. The id of the master key is stored with the ciphertext, so that master keys (`settings.MASTER_KEYS`) can
be added and rotated. The additional data names the row that owns the value.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

VERSION = "v1"
NONCE_BYTES = 12
TAG_BYTES = 16
NUMBER_BYTES = 8
HIDDEN_LENGTH = 26


class SealError(Exception):
    """A sealed value cannot be decrypted: damaged, moved to another row, or its master key is missing."""


def _derive(key: bytes, use: str) -> bytes:
    """Derive a 32-byte key for one use (HKDF, RFC 5869), so that no master key is used by two algorithms."""
    return HKDF(
        algorithm=hashes.SHA256(), length=32, salt=None, info=f"hitobit-portal/{use}".encode()
    ).derive(key)


@lru_cache(maxsize=256)
def _keyed(key: bytes, use: str) -> hmac.HMAC:
    """Return an HMAC that no text was added to yet, to be copied: a verification of the audit trail needs millions."""
    return hmac.new(_derive(key, use), digestmod=hashlib.sha256)


def current_key_id() -> str:
    return next(iter(settings.MASTER_KEYS))


def seal(secret: bytes, owner: str) -> str:
    """Encrypt ``secret`` for the row ``owner``, e.g. ``"apikeys.credential:42"``, with the current master key."""
    key_id = current_key_id()
    nonce = secrets.token_bytes(NONCE_BYTES)
    box = AESGCM(_derive(settings.MASTER_KEYS[key_id], "seal")).encrypt(
        nonce, secret, _associated(key_id, owner)
    )
    return f"{VERSION}:{key_id}:{base64.urlsafe_b64encode(nonce + box).decode()}"


def unseal(sealed: str, owner: str) -> bytes:
    """Decrypt a value of `seal`. Raises `SealError`, whose message never contains the value."""
    try:
        version, key_id, encoded = sealed.split(":")
        box = base64.urlsafe_b64decode(encoded)
    except (ValueError, binascii.Error):
        raise SealError("a sealed value is malformed") from None
    if version != VERSION:
        raise SealError("a sealed value has an unknown version")
    if key_id not in settings.MASTER_KEYS:
        raise SealError(f"the master key {key_id!r} is not in PORTAL_MASTER_KEYS")
    # SECURITY: the additional data keeps an attacker with database access from moving a ciphertext to their own row.
    try:
        return AESGCM(_derive(settings.MASTER_KEYS[key_id], "seal")).decrypt(
            box[:NONCE_BYTES], box[NONCE_BYTES:], _associated(key_id, owner)
        )
    except (InvalidTag, ValueError):
        raise SealError(f"a sealed value does not open for {owner}") from None


def _associated(key_id: str, owner: str) -> bytes:
    return f"{VERSION}|{key_id}|{owner}".encode()


def digest(use: str, *parts: str) -> str:
    """``<key id>:<hex>``: HMAC-SHA256 of the parts under a key derived for ``use``.

    A 6-digit code has 20 bits, so a plain hash of it is reversed in milliseconds. A database dump has no keys.
    """
    return _digest(current_key_id(), use, parts)


def digest_by(key_id: str, use: str, *parts: str) -> str:
    """`digest` with the master key ``key_id``. Raises `KeyError` if it is missing."""
    return _digest(key_id, use, parts)


def matches(stored: str, use: str, *parts: str) -> bool:
    """Return whether ``stored`` is the digest of the parts, by any master key. Constant time."""
    key_id = stored.partition(":")[0]
    if key_id not in settings.MASTER_KEYS:
        return False
    return hmac.compare_digest(stored.encode(), _digest(key_id, use, parts).encode())


def tag(use: str, *parts: str) -> str:
    """Return 22 URL-safe characters: the first 128 bits of the HMAC of the parts, by the current master key.

    For links in messages: 128 bits cannot be guessed, and are short enough for an SMS.
    """
    return _tag(current_key_id(), use, parts)


def tag_matches(text: str, use: str, *parts: str) -> bool:
    """Return whether ``text`` is the tag of the parts by any master key. Constant time."""
    matching = [
        hmac.compare_digest(text.encode(), _tag(key, use, parts).encode()) for key in settings.MASTER_KEYS
    ]
    return any(matching)


def hide_number(use: str, number: int) -> str:
    """Encrypt a number from 0 to 2**64 - 1 as 26 lower-case letters and digits, with the current master key.

    The same number always gives the same text. Encode-then-encipher (Bellare and Rogaway, 2000): eight zero bytes and
    the number are one block of AES-256. A forged text decrypts to eight zero bytes with probability 2**-64, so no MAC
    is needed.
    """
    block = bytes(NUMBER_BYTES) + number.to_bytes(NUMBER_BYTES, "big")
    encryptor = _block_cipher(current_key_id(), use).encryptor()
    return base64.b32encode(encryptor.update(block)).decode().rstrip("=").lower()


def reveal_number(use: str, text: str) -> int | None:
    """Decrypt a text of `hide_number`, by any master key. None for any other text."""
    if len(text) != HIDDEN_LENGTH or not text.isascii() or text != text.lower():
        return None
    try:
        block = base64.b32decode(text.upper() + "======")
    except binascii.Error:
        return None
    for key_id in settings.MASTER_KEYS:
        opened = _block_cipher(key_id, use).decryptor().update(block)
        number = int.from_bytes(opened[NUMBER_BYTES:], "big")
        # The last letter has two unused bits: only one of its four spellings is accepted.
        if not any(opened[:NUMBER_BYTES]) and base64.b32encode(block).decode().rstrip("=").lower() == text:
            return number
    return None


def _block_cipher(key_id: str, use: str) -> Cipher[modes.ECB]:
    # ECB is safe here: the message is exactly one block.
    return Cipher(algorithms.AES256(_derive(settings.MASTER_KEYS[key_id], use)), modes.ECB())  # nosec B305


def _tag(key_id: str, use: str, parts: tuple[str, ...]) -> str:
    raw = bytes.fromhex(_digest(key_id, use, parts).rpartition(":")[2])
    return base64.urlsafe_b64encode(raw[:TAG_BYTES]).decode().rstrip("=")


def _digest(key_id: str, use: str, parts: tuple[str, ...]) -> str:
    # Length prefixes make ("ab", "c") and ("a", "bc") differ.
    mac = _keyed(settings.MASTER_KEYS[key_id], use).copy()
    for part in parts:
        raw = part.encode()
        mac.update(len(raw).to_bytes(4, "big") + raw)
    return f"{key_id}:{mac.hexdigest()}"
