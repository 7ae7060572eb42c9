"""Secrets at rest: sealed to their row, by a ring of keys that can turn; codes as keyed digests."""

import base64
import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hitobit_portal.security import crypto

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
OWNER = "apikeys.credential:1"
SECRET = b"a secret of some length"


@pytest.fixture(autouse=True)
def _ring(settings: Any) -> None:
    settings.MASTER_KEYS = {"old": OLD}


def derived(key: bytes, use: str) -> bytes:
    """HKDF-SHA256 with an empty salt and 32 bytes of output (RFC 5869), without the library that the portal uses."""
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, f"hitobit-portal/{use}".encode() + b"\x01", hashlib.sha256).digest()


def test_sealed_secret_opens_for_its_owner() -> None:
    assert crypto.unseal(crypto.seal(SECRET, OWNER), OWNER) == SECRET


def test_sealed_value_is_the_documented_format() -> None:
    """Written by hand from the documented format: values on disk outlive this version of the module."""
    nonce = b"\x07" * 12
    box = AESGCM(derived(OLD, "seal")).encrypt(nonce, SECRET, f"v1|old|{OWNER}".encode())
    assert crypto.unseal(f"v1:old:{base64.urlsafe_b64encode(nonce + box).decode()}", OWNER) == SECRET


def test_same_secret_is_never_sealed_the_same_way() -> None:
    sealed = {crypto.seal(SECRET, OWNER) for _n in range(50)}
    nonces = {base64.urlsafe_b64decode(value.split(":")[2])[:12] for value in sealed}
    assert len(sealed) == len(nonces) == 50


def test_sealed_value_does_not_show_the_secret() -> None:
    raw = base64.urlsafe_b64decode(crypto.seal(SECRET, OWNER).split(":")[2])
    assert SECRET not in raw
    assert len(raw) == 12 + len(SECRET) + 16


def test_ciphertext_moved_to_another_row_does_not_open() -> None:
    sealed = crypto.seal(SECRET, OWNER)
    with pytest.raises(crypto.SealError):
        crypto.unseal(sealed, "apikeys.credential:2")


def test_no_changed_bit_goes_unnoticed() -> None:
    version, key_id, encoded = crypto.seal(SECRET, OWNER).split(":")
    raw = base64.urlsafe_b64decode(encoded)
    for position in range(len(raw)):
        damaged = bytes([*raw[:position], raw[position] ^ 1, *raw[position + 1 :]])
        with pytest.raises(crypto.SealError):
            crypto.unseal(f"{version}:{key_id}:{base64.urlsafe_b64encode(damaged).decode()}", OWNER)


@pytest.mark.parametrize(
    "value", ["", "v1", "v1:old", "v1:old:", "v1:old:AAAA", "v1:old:=", "v1:old:é", "a:b:c:d"]
)
def test_malformed_value_is_a_seal_error(value: str) -> None:
    with pytest.raises(crypto.SealError):
        crypto.unseal(value, OWNER)


def test_unknown_version_is_refused_by_name() -> None:
    sealed = crypto.seal(SECRET, OWNER)
    with pytest.raises(crypto.SealError, match="version"):
        crypto.unseal("v2" + sealed[2:], OWNER)


def test_new_master_key_seals_and_the_old_one_still_opens(settings: Any) -> None:
    before = crypto.seal(SECRET, OWNER)
    settings.MASTER_KEYS = {"new": NEW, "old": OLD}
    assert crypto.unseal(before, OWNER) == SECRET
    assert crypto.seal(SECRET, OWNER).startswith("v1:new:")


def test_without_its_master_key_a_value_stays_closed_and_the_error_names_the_key(settings: Any) -> None:
    before = crypto.seal(SECRET, OWNER)
    settings.MASTER_KEYS = {"new": NEW}
    with pytest.raises(crypto.SealError, match="'old'"):
        crypto.unseal(before, OWNER)


def test_key_id_cannot_be_exchanged_for_another_one_of_the_ring(settings: Any) -> None:
    settings.MASTER_KEYS = {"old": OLD, "twin": OLD}
    sealed = crypto.seal(SECRET, OWNER)
    with pytest.raises(crypto.SealError):
        crypto.unseal(sealed.replace("v1:old:", "v1:twin:"), OWNER)


def test_digest_is_the_documented_hmac() -> None:
    message = b"\x00\x00\x00\x01" + b"1" + b"\x00\x00\x00\x06" + b"123456"
    expected = hmac.new(derived(OLD, "sms-code"), message, hashlib.sha256).hexdigest()
    assert crypto.digest("sms-code", "1", "123456") == f"old:{expected}"


def test_digest_matches_its_parts_only() -> None:
    stored = crypto.digest("sms-code", "7", "ab", "123456")
    assert crypto.matches(stored, "sms-code", "7", "ab", "123456")
    assert not crypto.matches(stored, "sms-code", "7", "ab", "123457")
    assert not crypto.matches(stored, "sms-code", "7a", "b", "123456")  # boundaries count
    assert not crypto.matches(stored, "sms-code", "7", "ab123456")
    assert not crypto.matches(stored, "recovery-code", "7", "ab", "123456")


def test_digest_of_an_old_master_key_still_matches(settings: Any) -> None:
    stored = crypto.digest("sms-code", "123456")
    settings.MASTER_KEYS = {"new": NEW, "old": OLD}
    assert crypto.matches(stored, "sms-code", "123456")
    settings.MASTER_KEYS = {"new": NEW}
    assert not crypto.matches(stored, "sms-code", "123456")


@pytest.mark.parametrize("stored", ["", "old", "old:", "nobody:00", ":", "old:é"])
def test_damaged_digest_matches_nothing(stored: str) -> None:
    assert not crypto.matches(stored, "sms-code", "123456")


def test_digest_takes_text_outside_ascii() -> None:
    stored = crypto.digest("sms-code", "ربات")
    assert crypto.matches(stored, "sms-code", "ربات")
    assert not crypto.matches(stored, "sms-code", "۱۲۳۴۵۶")
