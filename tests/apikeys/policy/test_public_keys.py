"""Public keys that customers paste: what is read, what is refused and why, and that a private key is seen as one."""

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
from apikeys.policy.public_keys import SMALL_ORDER, Problem, PublicKeyError, parse
from apikeys.verification.signing import Kind
from tests.support.key_pairs import new_ed25519, private_pem, public_pem, rsa_of

SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")
PEM = public_pem(new_ed25519())


def armoured(der: bytes, label: str = "PUBLIC KEY") -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


def problem(text: str) -> Problem:
    with pytest.raises(PublicKeyError) as refused:
        parse(text)
    assert len(text) < 12 or text not in str(refused.value)
    return refused.value.problem


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
def test_nothing_is_told_as_nothing(text: str) -> None:
    assert problem(text) is Problem.EMPTY


@pytest.mark.parametrize("bits", [2048, 4104])
def test_rsa_of_other_sizes_is_refused_with_its_size(bits: int) -> None:
    for text in (public_pem(rsa_of(bits)), openssh(rsa_of(bits)), pkcs1(bits)):
        with pytest.raises(PublicKeyError) as refused:
            parse(text)
        assert (refused.value.problem, refused.value.bits) == (Problem.RSA_SIZE, bits)


@pytest.mark.parametrize("exponent", [3, 65_539, (1 << 32) + 1, (1 << 3000) + 1])
def test_rsa_with_an_unusual_exponent_is_refused(exponent: int) -> None:
    """SECURITY: a small one is weak; a large one makes each check of a signature take milliseconds."""
    public = rsa.RSAPublicNumbers(exponent, rsa_of(3072).public_key().public_numbers().n).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert problem(pem) is Problem.RSA_EXPONENT


@pytest.mark.parametrize("point", sorted(SMALL_ORDER))
def test_points_of_small_order_are_refused(point: bytes) -> None:
    assert problem(armoured(SPKI_ED25519 + point)) in (Problem.WEAK_POINT, Problem.UNREADABLE)


def test_other_algorithms_are_refused_by_name() -> None:
    others: list[tuple[Any, Problem]] = [
        (ec.generate_private_key(ec.SECP256R1()), Problem.ECDSA),
        (ec.generate_private_key(ec.SECP256K1()), Problem.ECDSA),
        (ed448.Ed448PrivateKey.generate(), Problem.ALGORITHM),
        (x25519.X25519PrivateKey.generate(), Problem.ALGORITHM),
        (dsa.generate_private_key(2048), Problem.DSA),
    ]
    for other, expected in others:
        pem = public_pem(other)
        assert problem(pem) is expected
        assert problem("".join(pem.split("\n")[1:-2])) is expected
    assert problem(openssh(ec.generate_private_key(ec.SECP384R1()))) is Problem.ECDSA
    assert problem("ssh-dss AAAAB3NzaC1kc3MAAACBAPY8 me") is Problem.DSA
    hardware = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t me"
    assert problem(hardware) is Problem.ALGORITHM
    certified = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAx me"
    assert problem(certified) is Problem.CERTIFICATE


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (certificate(), Problem.CERTIFICATE),
        ("".join(certificate().split("\n")[1:-2]), Problem.CERTIFICATE),
        (certificate().replace("CERTIFICATE", "PUBLIC KEY"), Problem.CERTIFICATE),
        (request(), Problem.CERTIFICATE_REQUEST),
        (armoured(b"0" * 40, "PGP PUBLIC KEY BLOCK"), Problem.PGP),
        (SSH2, Problem.SSH2),
        ('{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}', Problem.JWK),
        ("{'kty': 'RSA', 'n': '0vx7', 'e': 'AQAB'}", Problem.JWK),
        *((name, Problem.FILE) for name in (
            "public.pem", "~/.ssh/id_ed25519.pub", "/home/me/keys/id_rsa", "./public.pem", "..\\keys\\bot.pub",
            "C:\\Users\\me\\public.pem", "C:\\new\\reza.pem", "\\\\server\\keys\\bot",
            "file:///home/me/public.pem", '"my key.pem"', "bot.KEY",
        )),
        ("SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDyZQ==", Problem.FINGERPRINT),
        ("MD5:" + ":".join(["ab"] * 16), Problem.FINGERPRINT),
        ("ab" * 32, Problem.RAW),
        ("0x" + "AB" * 32, Problem.RAW),
        (base64.b64encode(b"\xfe" * 32).decode(), Problem.RAW),
        (base64.urlsafe_b64encode(b"\xfe" * 32).decode().rstrip("="), Problem.RAW),
        ("my key", Problem.NOT_PEM),
        ("K" * 64, Problem.NOT_PEM),
        ("ssh-ed25519", Problem.NOT_PEM),
        (armoured(b"0" * 40, "DH PARAMETERS"), Problem.NOT_PEM),
        ("ssh-rsa " + openssh(PAIR).split()[1], Problem.UNREADABLE),
        (openssh(PAIR)[:-8], Problem.UNREADABLE),
    ],
)  # fmt: skip
def test_what_was_pasted_instead_of_a_key_is_named(text: str, expected: Problem) -> None:
    assert problem(text) is expected
    assert problem(f"\ufeff {text} \n") is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (armoured(b"0" * 40, "CERTIFICATE"), Problem.CERTIFICATE),
        (armoured(b"0" * 40, "RSA PUBLIC KEY"), Problem.UNREADABLE),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", Problem.UNREADABLE),
        (PEM.replace("END", "BEGIN"), Problem.NOT_PEM),
        (PEM + "x" * 4000, Problem.NOT_PEM),
        (armoured(b"0" * 40), Problem.UNREADABLE),
        (PEM.replace("MCow", "M!ow"), Problem.UNREADABLE),
        (PEM[:60] + PEM[61:], Problem.UNREADABLE),
    ],
)
def test_what_is_no_public_key_is_refused_with_its_reason(text: str, expected: Problem) -> None:
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
    assert problem(PRIVATES[form]) is Problem.PRIVATE


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
