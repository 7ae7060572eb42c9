from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeys.verification.signing import ContractError, ContractViolation, Kind, parse, verify
from tests.support.binance_client import BinanceClient

# The example key of the public documentation (binance/binance-spot-api-docs, rest-api.md).
DOC_SECRET = b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
DOC_TAIL = b"&side=BUY&type=LIMIT&timeInForce=GTC"
DOC_REST = b"quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
DOC_ASCII = b"symbol=LTCBTC" + DOC_TAIL + b"&" + DOC_REST
DOC_UNICODE = quote("symbol=１２３４５６", safe="=").encode() + DOC_TAIL + b"&" + DOC_REST
SIG_ASCII = b"c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
SIG_MIXED = b"0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"
SIG_UNICODE = b"e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"

SIG = b"signature=ab"
STAMP = b"timestamp=1499827319559"


def violation(query: bytes, body: bytes = b"") -> tuple[ContractViolation, tuple[str | int, ...]]:
    with pytest.raises(ContractError) as caught:
        parse(query, body)
    return caught.value.violation, caught.value.arguments


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (DOC_ASCII + b"&signature=" + SIG_ASCII, b""),
        (b"", DOC_ASCII + b"&signature=" + SIG_ASCII),
        (DOC_ASCII, b"signature=" + SIG_ASCII),
        (b"signature=" + SIG_ASCII + b"&" + DOC_ASCII, b""),
        (b"signature=" + SIG_ASCII, DOC_ASCII),
        (b"symbol=LTCBTC" + DOC_TAIL, DOC_REST + b"&signature=" + SIG_MIXED),
        (b"symbol=LTCBTC" + DOC_TAIL + b"&signature=" + SIG_MIXED, DOC_REST),
        (DOC_UNICODE + b"&signature=" + SIG_UNICODE, b""),
        (b"", DOC_UNICODE + b"&signature=" + SIG_UNICODE),
    ],
)
def test_published_example_holds(query: bytes, body: bytes) -> None:
    request = parse(query, body)
    assert request.well_formed
    assert verify(Kind.HMAC, DOC_SECRET, request.payload, request.signature)
    assert request.timestamp_us == 1499827319559_000
    assert request.recv_window_us == 5_000_000


@pytest.mark.parametrize(
    ("query", "body", "payload"),
    [
        (b"a=1&timestamp=1&signature=ab", b"", b"a=1&timestamp=1"),
        (b"a=1&signature=ab&timestamp=1", b"", b"a=1&timestamp=1"),
        (b"signature=ab&a=1&timestamp=1", b"", b"a=1&timestamp=1"),
        (b"timestamp=1", b"signature=ab", b"timestamp=1"),
        (b"timestamp=1", b"a=1&signature=ab", b"timestamp=1a=1"),
        (b"timestamp=1", b"signature=ab&a=1", b"timestamp=1a=1"),
        (b"signature=ab", b"timestamp=1", b"timestamp=1"),
        (b"&timestamp=1&signature=ab", b"", b"&timestamp=1"),
        (b"a=1&&b=2&timestamp=1&signature=ab", b"", b"a=1&&b=2&timestamp=1"),
        (b"timestamp=1&&signature=ab", b"", b"timestamp=1&"),
        (b"timestamp=1&signature=ab&", b"", b"timestamp=1&"),
        (b"timestamp=1&%73ignature=ab&flag", b"", b"timestamp=1&flag"),
        (b"timestamp=1&signature=ab&a=+%20%2b&b==", b"", b"timestamp=1&a=+%20%2b&b=="),
        (b"timestamp=1&Signature=no&signature=ab", b"", b"timestamp=1&Signature=no"),
    ],
)
def test_payload_is_the_received_bytes_without_the_signature(
    query: bytes, body: bytes, payload: bytes
) -> None:
    request = parse(query, body)
    assert request.payload == payload
    assert request.signature == b"ab"


def test_signature_is_decoded_exactly_once() -> None:
    assert parse(STAMP + b"&signature=a%2Bb%2F%3D%253D", b"").signature == b"a+b/=%3D"


def test_space_in_a_signature_is_the_plus_that_its_client_did_not_encode() -> None:
    for sent in (b"a+b%20c%2Bd", b"a%20b+c%2bd"):
        for query, body in ((STAMP + b"&note=a+b%20c&signature=" + sent, b""), (STAMP, b"signature=" + sent)):
            assert parse(query, body).signature == b"a+b+c+d"
    # What is signed stays as it was received.
    assert parse(STAMP + b"&note=a+b%20c&signature=x", b"").payload == STAMP + b"&note=a+b%20c"


def test_value_keeps_what_follows_its_first_equals_sign() -> None:
    assert parse(STAMP + b"&signature=YWI==", b"").signature == b"YWI=="


def test_encoded_names_are_recognised() -> None:
    request = parse(b"time%73tamp=1499827319559&%72ecvWindow=7&%73ignature=ab", b"")
    assert (request.timestamp_us, request.recv_window_us) == (1499827319559_000, 7000)


def test_query_wins_over_body() -> None:
    request = parse(b"timestamp=1499827319559&recvWindow=7&signature=ab", b"timestamp=x&recvWindow=99999")
    assert (request.timestamp_us, request.recv_window_us) == (1499827319559_000, 7000)
    assert request.payload.endswith(b"recvWindow=7timestamp=x&recvWindow=99999")


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        (b"1499827319559", 1499827319559_000),
        (b"1499827319559123", 1499827319559_123),
        (b"99999999999999", 99999999999999_000),
        (b"100000000000000", 100000000000000),
        (b"0", 0),
        (b"0001499827319559", 1499827319559_000),
        (b"%31499827319559", 1499827319559_000),
        (b"9" * 20, int("9" * 20)),
    ],
)
def test_timestamp_counts_milliseconds_or_microseconds_by_size(text: bytes, microseconds: int) -> None:
    assert parse(b"timestamp=" + text + b"&" + SIG, b"").timestamp_us == microseconds


MALFORMED_NUMBERS = [
    b"",
    b"-1",
    b"+12",
    b"%2B12",
    b"%2012",
    b"12%20",
    b"12%0A",
    b"12%00",
    b"1_000",
    b"1,000",
    b"1e3",
    b"0x10",
    b"nan",
    b"inf",
    b"null",
    b"9" * 21,
    b"9" * 5000,
    b"%DB%B1%DB%B2",
    b"%D9%A1%D9%A2",
    b"%EF%BC%91",
    b"%B2",
    b"12%",
    b"%2512",
    b"%5B1%5D",
]


@pytest.mark.parametrize("text", [*MALFORMED_NUMBERS, b"1499827319559.0"])
def test_malformed_timestamp_is_named(text: bytes) -> None:
    expected = (ContractViolation.PARAMETER_MISSING, ("timestamp",))
    assert violation(b"timestamp=" + text + b"&" + SIG) == expected
    assert violation(SIG, b"timestamp=" + text) == expected


@pytest.mark.parametrize("text", [*MALFORMED_NUMBERS, b"5000.", b".5", b"1.2345", b"1.2.3", b"1.%DB%B1"])
def test_malformed_recv_window_is_named(text: bytes) -> None:
    expected = (ContractViolation.PARAMETER_MISSING, ("recvWindow",))
    assert violation(STAMP + b"&recvWindow=" + text + b"&" + SIG) == expected


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        (b"0", 0),
        (b"1", 1000),
        (b"0.001", 1),
        (b"6000.346", 6000346),
        (b"6000.3", 6000300),
        (b"05000", 5_000_000),
        (b"60000", 60_000_000),
        (b"60000.000", 60_000_000),
    ],
)
def test_recv_window_takes_three_decimals(text: bytes, microseconds: int) -> None:
    assert parse(STAMP + b"&recvWindow=" + text + b"&" + SIG, b"").recv_window_us == microseconds


def test_recv_window_is_five_seconds_by_default() -> None:
    assert parse(STAMP + b"&" + SIG, b"").recv_window_us == 5_000_000


@pytest.mark.parametrize("text", [b"60000.001", b"60001", b"99999999999999999999"])
def test_recv_window_above_a_minute_is_out_of_range(text: bytes) -> None:
    assert violation(STAMP + b"&recvWindow=" + text + b"&" + SIG) == (ContractViolation.RECV_WINDOW, ())


@pytest.mark.parametrize(
    ("query", "body", "name"),
    [
        (b"", b"", "timestamp"),
        (SIG, b"", "timestamp"),
        (b"timestamp&" + SIG, b"", "timestamp"),
        (b"TIMESTAMP=1&" + SIG, b"", "timestamp"),
        (b"?" + STAMP + b"&" + SIG, b"", "timestamp"),
        (STAMP, b"", "signature"),
        (STAMP + b"&signature=", b"", "signature"),
        (STAMP + b"&signature", b"", "signature"),
        (STAMP + b"&signature=", b"signature=ab", "signature"),
        (STAMP, b'{"signature":"ab"}', "signature"),
        (b"timestamp=&" + SIG, STAMP, "timestamp"),
    ],
)
def test_missing_parameter_is_named(query: bytes, body: bytes, name: str) -> None:
    assert violation(query, body) == (ContractViolation.PARAMETER_MISSING, (name,))


@pytest.mark.parametrize(
    ("query", "body", "expected", "received"),
    [
        (STAMP + b"&" + STAMP + b"&" + SIG, b"", 2, 3),
        (STAMP + b"&timestamp=&" + SIG, b"", 2, 3),
        (STAMP + b"&a=1&a=1&" + SIG, b"", 3, 4),
        (STAMP + b"&a=1&%61=2&a&" + SIG, b"", 3, 5),
        (STAMP + b"&a+b=1&a%20b=2&" + SIG, b"", 3, 4),
        (STAMP + b"&=1&=2&" + SIG, b"", 3, 4),
        (STAMP + b"&" + SIG, b"a=1&a=2", 3, 4),
        (STAMP + b"&" + SIG + b"&" + SIG, b"", 2, 3),
        (STAMP + b"&" + SIG + b"&%73ignature=cd", b"", 2, 3),
        (STAMP + b"&" + SIG, SIG, 2, 3),
        (STAMP + b"&" + SIG, b"signature=", 2, 3),
        (STAMP + b"&" + SIG + b"&" + SIG, SIG + b"&" + SIG, 2, 5),
    ],
)
def test_duplicate_is_rejected_with_its_counts(
    query: bytes, body: bytes, expected: int, received: int
) -> None:
    assert violation(query, body) == (ContractViolation.PARAMETER_DUPLICATE, (expected, received))


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (STAMP + b"&a=1&A=1&" + SIG, b""),
        (STAMP + b"&a=1&" + SIG, b"a=1"),
        (STAMP + b"&" + SIG, STAMP),
        (b"&&" + STAMP + b"&&" + SIG + b"&&", b"&&"),
        (STAMP + b"&a%2520b=1&a%20b=2&" + SIG, b""),
    ],
)
def test_same_name_in_both_places_and_empty_pieces_are_no_duplicates(query: bytes, body: bytes) -> None:
    parse(query, body)


@pytest.mark.parametrize(
    ("piece", "well_formed"),
    [
        (b"a=-._~!$'()*,;:@/?+%20%ff%FF", True),
        ("a=ب".encode(), False),
        (b"a=\xff", False),
        (b"a=\x00", False),
        (b"a=\n", False),
        (b"a= b", False),
        (b'a="b"', False),
        (b"a=[b]", False),
        (b"a={b}", False),
        (b"a=b#c", False),
        (b"a=b|c", False),
        (b"a=b\\c", False),
        (b"a=b^c", False),
        (b"a=b`c", False),
        (b"a=<b>", False),
        (b"a=100%", False),
        (b"a=%2", False),
        (b"a=%zz", False),
    ],
)
def test_bytes_outside_of_a_query_are_noticed_in_both_places(piece: bytes, well_formed: bool) -> None:
    assert parse(STAMP + b"&" + SIG + b"&" + piece, b"").well_formed is well_formed
    assert parse(STAMP + b"&" + SIG, piece).well_formed is well_formed


def test_hmac_is_taken_in_either_case() -> None:
    mixed = SIG_ASCII[:32] + SIG_ASCII[32:].upper()
    for signature in (SIG_ASCII, SIG_ASCII.upper(), mixed):
        assert verify(Kind.HMAC, DOC_SECRET, DOC_ASCII, signature)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        SIG_ASCII[:-1],
        SIG_ASCII + b"0",
        SIG_ASCII + b"\n",
        b" " + SIG_ASCII,
        b"0x" + SIG_ASCII,
        b"0" + SIG_ASCII[1:],
        SIG_ASCII[:-1] + "۱".encode(),
        "١".encode() * 64,
        b"\xff" * 64,
        base64.b64encode(bytes.fromhex(SIG_ASCII.decode())),
    ],
)
def test_other_hmac_is_rejected(signature: bytes) -> None:
    assert not verify(Kind.HMAC, DOC_SECRET, DOC_ASCII, signature)


def test_other_payload_or_secret_is_rejected() -> None:
    assert not verify(Kind.HMAC, DOC_SECRET, DOC_ASCII + b"&", SIG_ASCII)
    assert not verify(Kind.HMAC, DOC_SECRET.lower(), DOC_ASCII, SIG_ASCII)


def test_empty_secret_signs_nothing() -> None:
    assert not verify(Kind.HMAC, b"", b"a=1", hmac.new(b"", b"a=1", hashlib.sha256).hexdigest().encode())


# RFC 8032, 7.1, tests 1, 2, 3 and SHA(abc): public key, message, signature.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


def der(key: ed25519.Ed25519PublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_ed25519_vectors_of_rfc_8032_hold(public: str, message: str, signature: str) -> None:
    material = der(ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)))
    payload, text = bytes.fromhex(message), base64.b64encode(bytes.fromhex(signature))
    assert verify(Kind.ED25519, material, payload, text)
    assert not verify(Kind.ED25519, material, payload + b"x", text)


def test_percent_encoded_ed25519_signature_is_read_from_a_query() -> None:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    # 64 different payloads: some signatures contain "+" and "/", which must be encoded.
    for number in range(64):
        payload = b"a=%d&" % number + STAMP
        encoded = quote_plus(base64.b64encode(private.sign(payload))).encode()
        request = parse(payload + b"&signature=" + encoded, b"")
        assert verify(Kind.ED25519, der(private.public_key()), request.payload, request.signature)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: b"",
        lambda s: s.rstrip(b"="),
        lambda s: s + b"=",
        lambda s: s + b"\n",
        lambda s: b" " + s,
        lambda s: s[:-4],
        lambda s: s + s,
        lambda s: s.swapcase(),
        lambda s: s[:10] + b"*" + s[11:],
        lambda s: base64.urlsafe_b64encode(base64.b64decode(s) + b"\xff\xff"),
        lambda s: base64.b64decode(s),
        lambda s: base64.b64decode(s).hex().encode(),
        lambda s: "۱".encode() * 44,
        # The same 64 bytes spelt with non-zero padding bits: their last digit is one of A, Q, g, w.
        lambda s: s[:-3] + bytes([s[-3] + 1]) + b"==",
    ],
)
def test_damaged_ed25519_signature_is_rejected(damage: Callable[[bytes], bytes]) -> None:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    good = base64.b64encode(private.sign(b"payload"))
    assert verify(Kind.ED25519, der(private.public_key()), b"payload", good)
    assert not verify(Kind.ED25519, der(private.public_key()), b"payload", damage(good))


@pytest.mark.parametrize(("bits", "allowed"), [(2048, False), (3064, False), (3072, True), (4104, False)])
def test_rsa_key_of_3072_to_4096_bits_is_needed(bits: int, allowed: bool) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    signature = base64.b64encode(private.sign(b"payload", padding.PKCS1v15(), SHA256()))
    material = der(private.public_key())
    assert verify(Kind.RSA, material, b"payload", signature) is allowed
    assert not verify(Kind.RSA, material, b"payloae", signature)
    assert not verify(Kind.RSA, material, b"payload", signature[:-4])
    assert not verify(Kind.ED25519, material, b"payload", signature)
    pss = private.sign(b"payload", padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
    assert not verify(Kind.RSA, material, b"payload", base64.b64encode(pss))


@settings(deadline=None)
@given(st.sampled_from(Kind), st.binary(max_size=99), st.binary(max_size=99), st.binary(max_size=99))
def test_random_bytes_are_never_valid_and_never_an_exception(
    kind: Kind, material: bytes, payload: bytes, signature: bytes
) -> None:
    assert verify(kind, material, payload, signature) is False


@settings(deadline=None)
@given(st.binary(), st.binary())
def test_random_bytes_are_read_or_rejected(query: bytes, body: bytes) -> None:
    try:
        parse(query, body)
    except ContractError as error:
        assert error.violation in ContractViolation


# Names that the client's own parameters do not use; surrogates cannot be encoded.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in ("timestamp", "recvWindow", "signature")
)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def calls(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """All variants of a correct client: any order, query or body, ``+`` or ``%20``, Unicode, either case."""
    pairs = list(draw(st.dictionaries(NAMES, VALUES, max_size=5)).items())
    pairs += [("timestamp", "1499827319559"), ("recvWindow", draw(st.sampled_from(["5000", "1.25"])))]
    pairs = draw(st.permutations(pairs))
    cut = draw(st.integers(0, len(pairs)))
    sign_in = draw(st.sampled_from(["query", "body"]))
    signed = pairs[:cut] if sign_in == "query" else pairs[cut:]
    call = BinanceClient("k" * 64, DOC_SECRET.decode()).call(
        "DELETE",
        "/api/v3/order",
        pairs[:cut],
        pairs[cut:],
        quote_via=draw(st.sampled_from([quote, quote_plus])),
        sign_in=sign_in,
        position=draw(st.integers(0, len(signed))),
        upper=draw(st.booleans()),
    )
    return call.query, call.body


@settings(deadline=None)
@given(calls())
def test_whatever_a_right_client_sends_is_verified(call: tuple[bytes, bytes]) -> None:
    request = parse(*call)
    assert request.well_formed
    assert verify(Kind.HMAC, DOC_SECRET, request.payload, request.signature)


@settings(deadline=None)
@given(calls(), st.data())
def test_one_changed_byte_is_noticed(call: tuple[bytes, bytes], data: st.DataObject) -> None:
    received = bytearray(call[0] + call[1])
    place = data.draw(st.integers(0, len(received) - 1))
    before = bytes(received)
    received[place] ^= data.draw(st.integers(1, 255))
    if bytes(received).lower() == before.lower() and b"signature" in before[:place]:
        return  # the signature's hex digits may be in either case
    try:
        request = parse(bytes(received[: len(call[0])]), bytes(received[len(call[0]) :]))
    except ContractError:
        return
    assert not (request.well_formed and verify(Kind.HMAC, DOC_SECRET, request.payload, request.signature))
