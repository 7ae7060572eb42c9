"""Rejecting a signature takes the same work for every key and for an unknown key."""

import base64
import dataclasses
import hashlib
import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apikeys.gateway.fastpath import verifiers
from apikeys.gateway.fastpath.prepared_key import PreparedKey
from apikeys.gateway.fastpath.query import parse
from apikeys.verification import signature_check
from apikeys.verification.decision import Outcome, decide
from apikeys.verification.records import DUMMY_KEY, CredentialRecord
from apikeys.verification.signature_check import MAX_LIVE_CREDENTIALS
from apikeys.verification.signing import Kind
from tests.apikeys.gateway.test_fast_path import KEY, NOW, RECORD
from tests.support.key_pairs import rsa_of

SMALL, LARGE = rsa_of(3072).public_key(), rsa_of(4096).public_key()
POINT = ed25519.Ed25519PrivateKey.generate().public_key()


def der(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


HMAC = CredentialRecord(1, Kind.HMAC, b"s" * 64)
ED25519 = CredentialRecord(2, Kind.ED25519, der(POINT))
RSA_3072, RSA_4096 = (CredentialRecord(3, Kind.RSA, der(key)) for key in (SMALL, LARGE))
UNREADABLE = CredentialRecord(4, Kind.RSA, b"no key")
KEYS = {
    "none": None,
    "HMAC": RECORD,
    "two of HMAC": dataclasses.replace(RECORD, credentials=(HMAC, dataclasses.replace(HMAC, id=5))),
    "Ed25519": dataclasses.replace(RECORD, credentials=(ED25519,)),
    "RSA of 3072 bits": dataclasses.replace(RECORD, credentials=(RSA_3072,)),
    "RSA of 4096 bits": dataclasses.replace(RECORD, credentials=(RSA_4096,)),
    "from Ed25519 to RSA": dataclasses.replace(RECORD, credentials=(ED25519, RSA_3072)),
    "unreadable": dataclasses.replace(RECORD, credentials=(UNREADABLE,)),
    "without a credential": dataclasses.replace(RECORD, credentials=()),
    "paused": dataclasses.replace(RECORD, active=False, credentials=(ED25519,)),
}
#: Signatures that anybody can send, and the length in bytes that their form claims (0: an HMAC); None: rejected by the
#: form alone, for every kind of key.
FORMS = {
    "an HMAC": (secrets.token_hex(32).encode(), 0),
    "Ed25519's": (base64.b64encode(bytes(64)), 64),
    "3072 bits'": (base64.b64encode(bytes(384)), 384),
    "4096 bits'": (base64.b64encode(bytes(512)), 512),
    "above every modulus": (base64.b64encode(b"\xff" * 384), 384),
    "64 letters": (b"z" * 64, 0),
    "no kind's": (base64.b64encode(bytes(100)), None),
    "no base64": (b"!" * 88, None),
    "another spelling": (base64.b64encode(bytes(64))[:-3] + b"B==", None),
    "long": (b"z" * 20_000, None),
    "long and encoded": (b"%41" * 2_600, None),
    "an HMAC that is encoded": (b"%61" * 64, 0),
    "as long as an HMAC, with a space": (b"z" * 63 + b" ", 0),
    "an HMAC's length when it is decoded": (b"z" * 63 + b"+", 0),
}


def sent(signature: bytes) -> bytes:
    return signature.replace(b"+", b"%2B").replace(b" ", b"+")


class CheckCounter:
    """Record the length of each signature that is fully checked, with real keys and with dummy keys."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.checks: list[int] = []
        check, is_full_check = signature_check.check_against_dummy, signature_check.is_full_check

        def counting_check(payload: bytes, raw: bytes) -> None:
            self.checks.append(len(raw))
            check(payload, raw)

        def counting_is_full_check(kind: Kind, key: object, raw: bytes) -> bool:
            if is_full_check(kind, key, raw):
                self.checks.append(len(raw))
                return True
            return False

        patch.setattr(signature_check, "check_against_dummy", counting_check)
        patch.setattr(signature_check, "is_full_check", counting_is_full_check)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", KEYS)
def test_the_work_of_the_decision_follows_the_signature_and_not_the_key(
    name: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature, size = FORMS[form]
    counter = CheckCounter(monkeypatch)
    quoted = sent(signature).replace(b"/", b"%2F").replace(b"=", b"%3D")
    answer = decide(
        KEYS[name], api_key=KEY, query=b"timestamp=%d&signature=%s" % (NOW, quoted), body=b"", client_ip="192.0.2.1",
        permission="read", now_ms=NOW,
    )  # fmt: skip
    assert not answer.allowed
    assert counter.checks == ([] if size is None else [size] * MAX_LIVE_CREDENTIALS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", KEYS)
def test_so_does_the_work_of_the_fast_path(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signature, size = FORMS[form]
    if size == 0 and len(sent(signature)) != 64:
        size = None  # the decision decodes it
    request = parse(b"timestamp=%d&signature=%s" % (NOW, sent(signature)), NOW)
    assert request is not None
    counter = CheckCounter(monkeypatch)
    assert PreparedKey(KEYS[name] or DUMMY_KEY).find_verifier(request, NOW) is None
    assert counter.checks == ([] if size is None else [size] * MAX_LIVE_CREDENTIALS)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("form", ["3072 bits'", "4096 bits'"])
def test_a_rejected_rsa_signature_has_its_payload_hashed_whichever_key_it_was_sent_to(
    name: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a payload of 64 KB would take 30 µs more for a key that does not exist."""
    hashed: list[bytes] = []

    def check(payload: bytes, raw: bytes) -> None:
        hashed.append(payload)

    class Counted:
        @staticmethod
        def sha256(data: bytes) -> Any:
            hashed.append(data)
            return hashlib.sha256(data)

    request = parse(b"timestamp=%d&signature=%s" % (NOW, sent(FORMS[form][0])), NOW)
    assert request is not None
    key = PreparedKey(KEYS[name] or DUMMY_KEY)
    monkeypatch.setattr(signature_check, "check_against_dummy", check)
    monkeypatch.setattr(verifiers, "hashlib", Counted)
    assert key.find_verifier(request, NOW) is None
    assert hashed == [request[0]] * MAX_LIVE_CREDENTIALS


@pytest.mark.parametrize(
    ("kind", "key", "size", "whole"),
    [
        (Kind.HMAC, None, 0, True),
        (Kind.HMAC, None, 64, False),
        (Kind.ED25519, POINT, 64, True),
        (Kind.ED25519, POINT, 0, False),
        (Kind.ED25519, SMALL, 64, False),
        (Kind.ED25519, None, 64, False),
        (Kind.RSA, SMALL, 384, True),
        (Kind.RSA, SMALL, 512, False),
        (Kind.RSA, LARGE, 384, False),
        (Kind.RSA, POINT, 384, False),
    ],
)
def test_a_signature_that_a_key_rejects_by_its_form_is_no_full_check(
    kind: Kind, key: object, size: int, whole: bool
) -> None:
    assert signature_check.is_full_check(kind, key, bytes(size)) is whole


def test_a_number_that_is_not_below_the_modulus_is_rejected_without_a_full_check() -> None:
    modulus = SMALL.public_numbers().n
    assert signature_check.is_full_check(Kind.RSA, SMALL, (modulus - 1).to_bytes(384))
    assert not signature_check.is_full_check(Kind.RSA, SMALL, modulus.to_bytes(384))


@pytest.mark.parametrize("size", [0, 64, *range(384, 513, 16), 385])
def test_no_signature_makes_a_check_of_nothing_fail(size: int) -> None:
    for filling in (b"\0", b"\x7f", b"\xff"):
        signature_check.check_against_dummy(b"payload", filling * size)


def test_a_right_signature_costs_no_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = CheckCounter(monkeypatch)
    payload = f"timestamp={NOW}".encode()
    private = ed25519.Ed25519PrivateKey.generate()
    record = dataclasses.replace(
        RECORD, credentials=(HMAC, CredentialRecord(2, Kind.ED25519, der(private.public_key())))
    )
    signature = base64.b64encode(private.sign(payload)).replace(b"+", b"%2B")
    query = payload + b"&signature=" + signature
    answer = decide(
        record, api_key=KEY, query=query, body=b"", client_ip="192.0.2.1", permission="read", now_ms=NOW
    )
    request = parse(query, NOW)
    assert request is not None
    assert PreparedKey(record).find_verifier(request, NOW) is not None
    assert answer.outcome is Outcome.ALLOWED
    assert counter.checks == []
