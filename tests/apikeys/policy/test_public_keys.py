"""Public keys that customers paste: parsing, rejection with a reason, and detection of private keys."""

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat

from apikeys.policy import public_keys
from apikeys.policy.public_keys import SMALL_ORDER, PublicKeyError, PublicKeyProblem, parse
from apikeys.verification.signing import Kind
from tests.support.key_pairs import new_ed25519, private_pem, public_pem, rsa_of

SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")
PEM = public_pem(new_ed25519())


def armoured(der: bytes, label: str = "PUBLIC KEY") -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


def problem(text: str) -> PublicKeyProblem:
    with pytest.raises(PublicKeyError) as caught:
        parse(text)
    assert len(text) < 9 or text not in str(caught.value)
    return caught.value.problem


def test_ed25519_is_read_and_kept_as_der() -> None:
    key = parse(PEM)
    assert key.kind is Kind.ED25519
    assert armoured(base64.b64decode(key.encoded)).split() == PEM.split()


@pytest.mark.parametrize("bits", [3072, 4096])
def test_rsa_of_3072_to_4096_bits_is_read(bits: int) -> None:
    assert parse(public_pem(rsa_of(bits))).kind is Kind.RSA


@pytest.mark.parametrize(
    "text",
    [
        PEM.replace("\n", "\r\n"),
        f"\n\n  {PEM}  \n",
        PEM.replace("\n", "\n  "),
        f"here it is:\n{PEM}thanks",
        PEM.replace("\n", " "),
        PEM.rstrip(),
    ],
)
def test_how_it_was_pasted_does_not_matter(text: str) -> None:
    assert parse(text) == parse(PEM)


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_an_empty_text_is_reported_as_empty(text: str) -> None:
    assert problem(text) is PublicKeyProblem.EMPTY


@pytest.mark.parametrize("bits", [2048, 4104])
def test_rsa_of_other_sizes_is_rejected(bits: int) -> None:
    assert problem(public_pem(rsa_of(bits))) is PublicKeyProblem.RSA_SIZE


@pytest.mark.parametrize("exponent", [3, 65_539, (1 << 32) + 1, (1 << 3000) + 1])
def test_rsa_with_an_unusual_exponent_is_rejected(exponent: int) -> None:
    """SECURITY: a small exponent is weak; a large one makes each verification take milliseconds."""
    public = rsa.RSAPublicNumbers(exponent, rsa_of(3072).public_key().public_numbers().n).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert problem(pem) is PublicKeyProblem.RSA_EXPONENT


@pytest.mark.parametrize("point", sorted(SMALL_ORDER))
def test_points_of_small_order_are_rejected(point: bytes) -> None:
    assert problem(armoured(SPKI_ED25519 + point)) in (
        PublicKeyProblem.WEAK_POINT,
        PublicKeyProblem.UNREADABLE,
    )


def test_other_algorithms_are_rejected() -> None:
    others: list[Any] = [
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        ed448.Ed448PrivateKey.generate().public_key(),
        dsa.generate_private_key(2048).public_key(),
    ]
    for other in others:
        pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        assert problem(pem) is PublicKeyProblem.ALGORITHM


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (armoured(b"0" * 40, "CERTIFICATE"), PublicKeyProblem.CERTIFICATE),
        (armoured(b"0" * 40, "RSA PUBLIC KEY"), PublicKeyProblem.NOT_PEM),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", PublicKeyProblem.NOT_PEM),
        (PEM.replace("END", "BEGIN"), PublicKeyProblem.NOT_PEM),
        (PEM + "x" * 4000, PublicKeyProblem.NOT_PEM),
        (armoured(b"0" * 40), PublicKeyProblem.UNREADABLE),
        (PEM.replace("MCow", "M!ow"), PublicKeyProblem.UNREADABLE),
        (PEM[:60] + PEM[61:], PublicKeyProblem.UNREADABLE),
    ],
)
def test_what_is_no_public_key_is_rejected_with_its_reason(text: str, expected: PublicKeyProblem) -> None:
    assert problem(text) is expected


RSA, ED = rsa_of(3072), new_ed25519()
PRIVATES = {
    "Ed25519": private_pem(ED),
    "Ed25519 for ssh": private_pem(ED, PrivateFormat.OpenSSH),
    "RSA": private_pem(RSA),
    "RSA of old": private_pem(RSA, PrivateFormat.TraditionalOpenSSL),
    "both halves": public_pem(ED) + private_pem(ED),
    "bare Ed25519": private_pem(ED).split("\n")[1],
    "bare RSA": "".join(private_pem(RSA).split("\n")[1:-2]),
    "bare RSA of old": "".join(private_pem(RSA, PrivateFormat.TraditionalOpenSSL).split("\n")[1:-2]),
    "far behind": " " * 5000 + private_pem(ED),
    "lower case": private_pem(ED).lower(),
    "PuTTY": "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAA",
    "JWK": '{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}',
}


@pytest.mark.parametrize("form", PRIVATES)
def test_private_key_is_seen_as_one_in_any_wrapping(form: str) -> None:
    assert problem(PRIVATES[form]) is PublicKeyProblem.PRIVATE


def test_public_keys_are_not_taken_for_private_ones() -> None:
    pems = [public_pem(new_ed25519()) for _n in range(200)]
    for pem in (*pems, public_pem(rsa_of(3072)), public_pem(rsa_of(4096))):
        assert not public_keys.holds_private(pem)


def test_fingerprint_is_the_hash_of_the_der_as_openssl_shows_it() -> None:
    der = ED.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    expected = base64.b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
    assert parse(public_pem(ED)).fingerprint == f"SHA256:{expected}"
    assert len(expected) == 43
