"""Public keys that customers paste: parsing, rejection with a reason, and detection of private keys."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

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
    assert len(text) < 12 or text not in str(caught.value)
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


def openssh(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


def pkcs1(bits: int = 3072) -> str:
    return str(rsa_of(bits).public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode())


PAIR = new_ed25519()
#: Spellings of the same key.
SPELLINGS: dict[str, Callable[[str, Any], str]] = {
    "written line breaks": lambda pem, _key: pem.replace("\n", "\\n"),
    "written breaks of Windows": lambda pem, _key: pem.replace("\n", "\\r\\n"),
    "line breaks written twice": lambda pem, _key: f'"{pem}"'.replace("\n", "\\\\n"),
    "in JSON": lambda pem, _key: json.dumps({"key": pem}),
    "base64 alone": lambda pem, _key: "".join(pem.split("\n")[1:-2]),
    "base64 in lines": lambda pem, _key: "\r\n ".join(pem.split("\n")[1:-2]),
    "base64 in quotation marks": lambda pem, _key: f'"{"".join(pem.split(chr(10))[1:-2])}",',
    "OpenSSH": lambda _pem, key: openssh(key),
    "OpenSSH with a comment": lambda _pem, key: f"{openssh(key)} me@laptop\n",
    "OpenSSH with options": lambda _pem, key: f'from="203.0.113.9",no-pty {openssh(key)} me',
    "marks of right-to-left text": lambda pem, _key: f"\u200f{pem[:40]}\u200e{pem[40:]}\u2069",
}


@pytest.mark.parametrize("key", [PAIR, rsa_of(3072), rsa_of(4096)], ids=["Ed25519", "RSA 3072", "RSA 4096"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_key_is_read_in_the_forms_in_which_people_have_it(spelling: str, key: Any) -> None:
    pem = public_pem(key)
    text = SPELLINGS[spelling](pem, key)
    assert text != pem
    assert parse(text) == parse(pem)


@pytest.mark.parametrize("bits", [3072, 4096])
def test_rsa_public_key_of_openssl_is_the_same_key(bits: int) -> None:
    assert "BEGIN RSA PUBLIC KEY" in pkcs1(bits)
    for text in (pkcs1(bits), pkcs1(bits).replace("\n", "\\n"), "".join(pkcs1(bits).split("\n")[1:-2])):
        assert parse(text) == parse(public_pem(rsa_of(bits)))


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_an_empty_text_is_reported_as_empty(text: str) -> None:
    assert problem(text) is PublicKeyProblem.EMPTY


@pytest.mark.parametrize("bits", [2048, 4104])
def test_rsa_of_other_sizes_is_refused_with_its_size(bits: int) -> None:
    for text in (public_pem(rsa_of(bits)), openssh(rsa_of(bits)), pkcs1(bits)):
        with pytest.raises(PublicKeyError) as caught:
            parse(text)
        assert (caught.value.problem, caught.value.bits) == (PublicKeyProblem.RSA_SIZE, bits)


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


def test_other_algorithms_are_refused_by_name() -> None:
    others: list[tuple[Any, PublicKeyProblem]] = [
        (ec.generate_private_key(ec.SECP256R1()), PublicKeyProblem.ECDSA),
        (ec.generate_private_key(ec.SECP256K1()), PublicKeyProblem.ECDSA),
        (ed448.Ed448PrivateKey.generate(), PublicKeyProblem.ALGORITHM),
        (x25519.X25519PrivateKey.generate(), PublicKeyProblem.ALGORITHM),
        (dsa.generate_private_key(2048), PublicKeyProblem.DSA),
    ]
    for other, expected in others:
        pem = public_pem(other)
        assert problem(pem) is expected
        assert problem("".join(pem.split("\n")[1:-2])) is expected
    assert problem(openssh(ec.generate_private_key(ec.SECP384R1()))) is PublicKeyProblem.ECDSA
    assert problem("ssh-dss AAAAB3NzaC1kc3MAAACBAPY8 me") is PublicKeyProblem.DSA
    hardware = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t me"
    assert problem(hardware) is PublicKeyProblem.ALGORITHM
    certified = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAx me"
    assert problem(certified) is PublicKeyProblem.CERTIFICATE


def certificate() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bot")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, PAIR.public_key(), 1, now, now + timedelta(days=1)).sign(
        PAIR, None
    )
    return made.public_bytes(Encoding.PEM).decode()


def request() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bot")])
    return x509.CertificateSigningRequestBuilder(name).sign(PAIR, None).public_bytes(Encoding.PEM).decode()


SSH2 = '---- BEGIN SSH2 PUBLIC KEY ----\nComment: "me"\nAAAAC3NzaC1lZDI1NTE5AAAAIA==\n---- END SSH2 PUBLIC KEY ----'


PASTED: list[tuple[str, PublicKeyProblem]] = [
    (certificate(), PublicKeyProblem.CERTIFICATE),
    ("".join(certificate().split("\n")[1:-2]), PublicKeyProblem.CERTIFICATE),
    (certificate().replace("CERTIFICATE", "PUBLIC KEY"), PublicKeyProblem.CERTIFICATE),
    (request(), PublicKeyProblem.CERTIFICATE_REQUEST),
    (armoured(b"0" * 40, "PGP PUBLIC KEY BLOCK"), PublicKeyProblem.PGP),
    (SSH2, PublicKeyProblem.SSH2),
    ('{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}', PublicKeyProblem.JWK),
    ("{'kty': 'RSA', 'n': '0vx7', 'e': 'AQAB'}", PublicKeyProblem.JWK),
    *((name, PublicKeyProblem.FILE) for name in (
        "public.pem", "~/.ssh/id_ed25519.pub", "/home/me/keys/id_rsa", "./public.pem", "..\\keys\\bot.pub",
        "C:\\Users\\me\\public.pem", "C:\\new\\reza.pem", "\\\\server\\keys\\bot",
        "file:///home/me/public.pem", '"my key.pem"', "bot.KEY",
    )),
    ("SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDyZQ==", PublicKeyProblem.FINGERPRINT),
    ("MD5:" + ":".join(["ab"] * 16), PublicKeyProblem.FINGERPRINT),
    ("ab" * 32, PublicKeyProblem.RAW),
    ("0x" + "AB" * 32, PublicKeyProblem.RAW),
    (base64.b64encode(b"\xfe" * 32).decode(), PublicKeyProblem.RAW),
    (base64.urlsafe_b64encode(b"\xfe" * 32).decode().rstrip("="), PublicKeyProblem.RAW),
    ("my key", PublicKeyProblem.NOT_PEM),
    ("K" * 64, PublicKeyProblem.NOT_PEM),
    ("ssh-ed25519", PublicKeyProblem.NOT_PEM),
    (armoured(b"0" * 40, "DH PARAMETERS"), PublicKeyProblem.NOT_PEM),
    ("ssh-rsa " + openssh(PAIR).split()[1], PublicKeyProblem.UNREADABLE),
    (openssh(PAIR)[:-8], PublicKeyProblem.UNREADABLE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), PASTED, ids=[f"{n} {problem.value}" for n, (_text, problem) in enumerate(PASTED)]
)
def test_what_was_pasted_instead_of_a_key_is_named(text: str, expected: PublicKeyProblem) -> None:
    assert problem(text) is expected
    assert problem(f"\ufeff {text} \n") is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (armoured(b"0" * 40, "CERTIFICATE"), PublicKeyProblem.CERTIFICATE),
        (armoured(b"0" * 40, "RSA PUBLIC KEY"), PublicKeyProblem.UNREADABLE),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", PublicKeyProblem.UNREADABLE),
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
EC: Any = ec.generate_private_key(ec.SECP256R1())
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
    "written line breaks": private_pem(ED).replace("\n", "\\n"),
    # Of a kind that is known by its armour alone.
    "invisible marks": armoured(b"0" * 40, "PRIVATE KEY").replace("PRIVATE", "PRI\u200fVATE"),
    "beside a public key": f"{openssh(ED)}\n{private_pem(ED)}",
    "bare for ssh": "".join(private_pem(ED, PrivateFormat.OpenSSH).split("\n")[1:-2]),
    "ECDSA": private_pem(EC),
    "bare ECDSA": "".join(private_pem(EC).split("\n")[1:-2]),
    "bare ECDSA of old": "".join(private_pem(EC, PrivateFormat.TraditionalOpenSSL).split("\n")[1:-2]),
    "PGP": armoured(b"0" * 40, "PGP PRIVATE KEY BLOCK"),
    "JWK of Python": "{'kty': 'OKP', 'd': 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A'}",
    "JWK": '{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}',
}


@pytest.mark.parametrize("form", PRIVATES)
def test_private_key_is_seen_as_one_in_any_wrapping(form: str) -> None:
    assert problem(PRIVATES[form]) is PublicKeyProblem.PRIVATE


def test_public_keys_are_not_taken_for_private_ones() -> None:
    pems = [public_pem(new_ed25519()) for _n in range(200)]
    pems += [openssh(new_ed25519()) for _n in range(200)]
    for bits in (3072, 4096):
        pems += [public_pem(rsa_of(bits)), pkcs1(bits), openssh(rsa_of(bits))]
    for pem in pems:
        assert not public_keys.holds_private(pem)


def test_fingerprint_is_the_hash_of_the_der_as_openssl_shows_it() -> None:
    der = ED.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    expected = base64.b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
    assert parse(public_pem(ED)).fingerprint == f"SHA256:{expected}"
    assert len(expected) == 43
