"""The fast path allows no more than the decision, and allows what nearly all programs send."""

import dataclasses
import hashlib
import hmac
import urllib.parse
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeys.gateway.fastpath.prepared_key import PreparedKey
from apikeys.gateway.fastpath.query import parse
from apikeys.verification.decision import READ_GRACE_MS, decide
from apikeys.verification.networks import compile_networks
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind
from tests.support.examples import times as examples
from tests.support.key_pairs import rsa_of

NOW = 1_800_000_000_000
KEY, SECRET, OLD = "k" * 64, b"s" * 64, b"o" * 64
RECORD = KeyRecord(
    user="7",
    key=KEY,
    active=True,
    owner_active=True,
    expires_at_ms=None,
    permissions=frozenset({"read", "trade"}),
    restricted=False,
    networks=compile_networks([]),
    credentials=(CredentialRecord(1, Kind.HMAC, SECRET),),
)
LISTED, UNLISTED = "203.0.113.9", "198.51.100.1"
TRUSTED = dataclasses.replace(
    RECORD, restricted=True, networks=compile_networks(["203.0.113.0/24"]),
    permissions=frozenset({"read", "trade", "withdraw"}),
)  # fmt: skip


def hmac_of(query: str, secret: bytes = SECRET) -> str:
    return hmac.new(secret, query.encode(), hashlib.sha256).hexdigest()


def signed(query: str, secret: bytes = SECRET) -> str:
    return f"{query}&signature={hmac_of(query, secret)}"


def fast_path_result(
    record: KeyRecord, query: str, address: str = LISTED, permission: str = "read", now: int = NOW
) -> int:
    key = PreparedKey(record)
    request = parse(query.encode(), now)
    verifier = key.find_verifier(request, now) if request is not None else None
    return verifier.credential_id if verifier is not None and key.validity(address, permission, now) else 0


def decision_result(
    record: KeyRecord, query: str, address: str = LISTED, permission: str = "read", now: int = NOW
) -> int:
    decision = decide(
        record, api_key=record.key, query=query.encode(), body=b"", client_ip=address, permission=permission,
        now_ms=now,
    )  # fmt: skip
    return (decision.credential_id or 0) if decision.allowed else 0


def usually(*common: object, seldom: tuple[object, ...]) -> st.SearchStrategy[Any]:
    """One of ``common`` in twenty of twenty-one examples.

    Ten conditions that are drawn like coins leave one example in a thousand.
    """
    return st.sampled_from(common * (20 * len(seldom)) + seldom * len(common))


def weighed(*strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw from one of them; one given twice is drawn twice as often, unlike with `st.one_of`, which drops it."""
    return st.sampled_from(strategies).flatmap(lambda chosen: chosen)


odd_times = (
    str(NOW * 1000), str(NOW - 5001), str(NOW + 1000), str(NOW - 70_000), "", "0", "x", "0" + str(NOW), str(NOW)[:-1],
    "\u06f1" * 13, f"{NOW}.0", f"+{NOW}", f"%3{NOW}",
)  # fmt: skip
times = usually(str(NOW), str(NOW - 5000), str(NOW - 1), str(NOW + 999), seldom=odd_times)
windows = usually(
    *("5000", "60000", "05000"),
    seldom=("60001", "0", "", "5000.123", "5e3", "-1", "999999", "%35000"),
)
names = st.sampled_from(
    ["symbol", "side", "a", "timestamp", "recvWindow", "signature", "%73ignature", "sig+x", "", "ü"]
)
values = st.one_of(
    st.text(alphabet="aB0-._~+!$'()*,;:@/?", max_size=6),
    st.text(alphabet="aB0-._~%+=!$'()*,;:@/?#[]<\" é", max_size=6),
)
#: An unusual piece of a query string.
odd_pieces = st.one_of(
    st.sampled_from(odd_times).map(lambda value: f"timestamp={value}"),
    windows.map(lambda value: f"recvWindow={value}"),
    st.tuples(names, values).map("=".join),
    values,
)
ends = usually(None, NOW + 3, seldom=(NOW, NOW + 1, NOW - 1, NOW - READ_GRACE_MS))
begins = usually(None, NOW - 3, seldom=(NOW, NOW + 1, NOW - 1))
mine, old = (
    st.builds(CredentialRecord, st.just(number), st.just(Kind.HMAC), st.just(secret), ends)
    for number, secret in ((1, SECRET), (2, OLD))
)
nobodys = st.builds(CredentialRecord, st.just(3), st.just(Kind.HMAC), st.just(b""), ends)
credentials = weighed(
    *[st.tuples(mine)] * 3,
    *(st.tuples(mine, old), st.tuples(old, mine), st.tuples(nobodys, mine), st.tuples(old)),
)
#: Most of them allow requests; none of the conditions rejects more than a few.
records = st.builds(
    KeyRecord,
    user=st.just("7"),
    key=st.just(KEY),
    active=usually(True, seldom=(False,)),
    owner_active=usually(True, seldom=(False,)),
    owner_frozen=usually(False, seldom=(True,)),
    expires_at_ms=ends,
    trade_until_ms=ends,
    reads_until_ms=begins,
    permissions=usually(
        frozenset({"read", "trade", "withdraw"}),
        seldom=(frozenset({"read"}), frozenset({"trade"}), frozenset()),
    ),
    restricted=st.booleans(),
    networks=usually(TRUSTED.networks, seldom=(compile_networks([]),)),
    credentials=credentials,
)
good = st.sampled_from([TRUSTED, TRUSTED, TRUSTED, RECORD])
addresses = usually(LISTED, "::ffff:203.0.113.9", seldom=(UNLISTED, "", "2001:db8::1", "203.0.113.09", "x"))
permissions = usually("read", "trade", "withdraw", seldom=("", "admin"))
nothing: st.SearchStrategy[list[str]] = st.just([])
#: The pieces of a correct query string, every third time with an unusual one.
bodies = st.builds(
    lambda stamp, window, value, odd, place: [
        *(pieces := [f"symbol={value}", f"timestamp={stamp}", *window])[:place],
        *odd,
        *pieces[place:],
    ],
    times,
    weighed(nothing, windows.map(lambda value: [f"recvWindow={value}"])),
    weighed(st.just("BTCIRT"), st.just("BTCIRT"), values),
    weighed(nothing, nothing, odd_pieces.map(lambda piece: [piece])),
    st.integers(0, 3),
).map("&".join)
right = st.builds(
    lambda stamp, window: f"symbol=BTCIRT&timestamp={NOW - stamp}{window}",
    st.sampled_from([0, 1, 5000, -999]),
    st.sampled_from(["", "&recvWindow=5000", "&recvWindow=60000"]),
)
#: Most of the examples are usual requests.
queries = weighed(
    *[right.map(signed)] * 18,
    *[bodies.map(signed)] * 6,
    bodies.map(lambda body: signed(body, OLD)),
    bodies.map(lambda body: f"{body}&signature={hmac_of(body).upper()}"),
    st.tuples(bodies, odd_pieces).map(lambda pair: f"{signed(pair[0])}&{pair[1]}"),
    bodies,
)


def assert_shares(seen: list[tuple[int, int]], *, allowed: float = 0.3, fast: float = 0.25) -> None:
    """Fail if too few of the examples ``seen`` (results of the fast path and of the decision) were allowed.

    SECURITY: of 2,000 random examples the fast path allowed 4: such a test cannot fail.
    """
    assert sum(late != 0 for _fast, late in seen) >= allowed * len(seen), len(seen)
    assert sum(fast != 0 for fast, _late in seen) >= fast * len(seen), len(seen)


def test_fast_path_allows_no_more_than_the_decision() -> None:
    seen: list[tuple[int, int]] = []

    @settings(max_examples=examples(600))
    @given(weighed(good, good, records), queries, addresses, permissions)
    def one(record: KeyRecord, query: str, address: str, permission: str) -> None:
        seen.append(
            (
                fast_path_result(record, query, address, permission),
                decision_result(record, query, address, permission),
            )
        )
        fast, late = seen[-1]
        assert fast in (0, late)

    one()
    assert_shares(seen)


@pytest.mark.parametrize(
    "payload",
    [
        f"a=1&a=2&timestamp={NOW}",
        f"timestamp={NOW}&timestamp={NOW}",
        f"timestamp={NOW}&%74imestamp={NOW}",
        f"signature=1&timestamp={NOW}",
        f"timestamp={NOW}&%73ignature=1",
        f"timestamp={NOW}&recvWindow=60001&%72ecvWindow=1",
        f"a=1&timestamp={NOW}&a+b=1&a%20b=2",
        f'a="&timestamp={NOW}',
        f"a=%4&timestamp={NOW}",
        f"a=%4%311&timestamp={NOW}",
        f"timestamp={NOW - 6000}",
        f"timestamp={NOW - 60_001}&recvWindow=60001",
        f"timestamp={NOW + 1000}",
    ],
)
def test_fast_path_rejects_what_the_decision_rejects(payload: str) -> None:
    assert decision_result(RECORD, signed(payload)) == 0
    assert fast_path_result(RECORD, signed(payload)) == 0


@pytest.mark.parametrize("payload", [f"a&timestamp={NOW}", f"a=b=c&timestamp={NOW}", f"&timestamp={NOW}"])
def test_unusual_query_strings_are_left_to_the_decision(payload: str) -> None:
    assert decision_result(RECORD, signed(payload)) == 1
    assert fast_path_result(RECORD, signed(payload)) == 0


def test_usual_request_is_decided_on_the_fast_path_alone() -> None:
    query = signed(f"symbol=BTCIRT&price=1%2C5&recvWindow=5000&timestamp={NOW}")
    seen: list[tuple[int, int]] = []

    @settings(max_examples=examples(600))
    @given(records, permissions, addresses)
    def one(record: KeyRecord, permission: str, address: str) -> None:
        seen.append(
            (
                fast_path_result(record, query, address, permission),
                decision_result(record, query, address, permission),
            )
        )
        assert seen[-1][0] == seen[-1][1]

    one()
    assert_shares(seen)


@pytest.mark.parametrize(("kind", "bits"), [(Kind.ED25519, 0), (Kind.RSA, 3072), (Kind.RSA, 4096)])
def test_fast_path_accepts_the_canonical_spelling_of_public_key_signatures(kind: Kind, bits: int) -> None:
    payload = f"symbol=BTCIRT&timestamp={NOW}"
    if kind is Kind.ED25519:
        pair: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey = ed25519.Ed25519PrivateKey.generate()
        assert isinstance(pair, ed25519.Ed25519PrivateKey)
        raw = pair.sign(payload.encode())
    else:
        pair = rsa_of(bits)
        raw = pair.sign(payload.encode(), padding.PKCS1v15(), SHA256())
    der = pair.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = dataclasses.replace(RECORD, credentials=(CredentialRecord(1, kind, der),))
    text = b64encode(raw).decode()
    right = f"{payload}&signature={urllib.parse.quote(text, safe='')}"
    assert fast_path_result(record, right) == decision_result(record, right) == 1
    for wrong in (
        f"{payload}&signature={text[:-4]}",
        f"{payload}&signature=AAAA{right[-80:]}",
        signed(payload),
    ):
        assert fast_path_result(record, wrong) == decision_result(record, wrong) == 0
    encoded = right.removeprefix(f"{payload}&signature=")
    for space in ("+", "%20", "%2b"):
        query = f"{payload}&signature={encoded.replace('%2B', space)}"
        assert fast_path_result(record, query) == decision_result(record, query) == 1
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    body, padding_of = text.rstrip("="), "=" * text.count("=")
    for other in (
        text, text.replace("+", "%2B"), text.replace("/", "%2F"), text.replace("=", "%3D"), encoded.replace("%2B", "+"),
        encoded.replace("%2B", "+", 1), encoded.lower(), encoded.replace("%2F", "%2f"), encoded + "%3D", encoded + "=",
        encoded.removesuffix("%3D"), encoded[:40] + "%0A" + encoded[40:], encoded[:40] + "\n" + encoded[40:],
        encoded[:40] + "%20" + encoded[40:], encoded.replace("%2B", " "),
        "%" + encoded, "", *(body[:-1] + letter + padding_of for letter in last),
    ):  # fmt: skip
        query = f"{payload}&signature={other}"
        assert fast_path_result(record, query) in (0, decision_result(record, query)), other


#: The DigestInfo of SHA-256 in an RSA signature (RFC 8017, 9.2, note 1), and wrong ones.
SHA256_NAME = bytes.fromhex("3031300d060960864801650304020105000420")
WITHOUT_NULL = bytes.fromhex("302f300b0609608648016503040201" + "0420")
SHA1_NAME = bytes.fromhex("3021300906052b0e03021a05000414")


@pytest.mark.parametrize(
    ("encode_message", "passes"),
    [
        (lambda digest, size: b"\x00\x01".ljust(size - 52, b"\xff") + b"\0" + SHA256_NAME + digest, 1),
        (lambda digest, size: b"\x00\x01" + b"\xff" * 8 + b"\0" + (SHA256_NAME + digest).ljust(size - 11, b"\0"), 0),
        (lambda digest, size: b"\x00\x01" + b"\xff" * 8 + b"\0" + (SHA256_NAME + digest).rjust(size - 11, b"x"), 0),
        (lambda digest, size: b"\x00\x01".ljust(size - 33, b"\xff") + b"\0" + digest, 0),
        (lambda digest, size: b"\x00\x02".ljust(size - 52, b"\xff") + b"\0" + SHA256_NAME + digest, 0),
        (lambda digest, size: b"\x00\x01".ljust(size - 52, b"\xfe") + b"\0" + SHA256_NAME + digest, 0),
        (lambda digest, size: b"\x00\x01".ljust(size - 50, b"\xff") + b"\0" + WITHOUT_NULL + digest, 0),
        (lambda digest, size: b"\x00\x01".ljust(size - 36, b"\xff") + b"\0" + SHA1_NAME + digest[:20], 0),
        (lambda digest, size: b"\x00\x01".ljust(size - 52, b"\xff") + b"\0" + SHA256_NAME + digest[::-1], 0),
        (lambda digest, size: (SHA256_NAME + digest).rjust(size, b"\0"), 0),
        (lambda digest, size: bytes(size), 0),
    ],
    ids=["right", "garbage behind", "garbage before", "no name", "type 2", "other padding", "without NULL", "sha1",
         "another digest", "no padding", "nothing"],
)  # fmt: skip
def test_rsa_signature_needs_the_complete_encoded_message(
    encode_message: Callable[[bytes, int], bytes], passes: int
) -> None:
    """Each signature is made with the private key, so only its content can be wrong."""
    pair = rsa_of(3072)
    payload, numbers = f"symbol=BTCIRT&timestamp={NOW}", pair.private_numbers()
    message = encode_message(hashlib.sha256(payload.encode()).digest(), 384)
    assert len(message) == 384
    raw = pow(int.from_bytes(message), numbers.d, numbers.public_numbers.n).to_bytes(384)
    der = pair.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = dataclasses.replace(RECORD, credentials=(CredentialRecord(1, Kind.RSA, der),))
    query = f"{payload}&signature={urllib.parse.quote(b64encode(raw).decode(), safe='')}"
    assert fast_path_result(record, query) == decision_result(record, query) == passes


def test_new_credential_is_left_to_the_decision() -> None:
    fresh = dataclasses.replace(RECORD.credentials[0], is_new=True)
    record = dataclasses.replace(RECORD, credentials=(fresh,))
    query = signed(f"timestamp={NOW}")
    assert fast_path_result(record, query) == 0
    assert decision_result(record, query) == 1


def test_unknown_public_key_algorithm_does_not_affect_other_credentials() -> None:
    # SubjectPublicKeyInfo (RFC 5280) with an unknown algorithm.
    odd = CredentialRecord(2, Kind.RSA, bytes.fromhex("3010300906072a030405060708030300ffff"))
    record = dataclasses.replace(RECORD, credentials=(odd, *RECORD.credentials))
    query = signed(f"timestamp={NOW}")
    assert fast_path_result(record, query) == decision_result(record, query) == 1
