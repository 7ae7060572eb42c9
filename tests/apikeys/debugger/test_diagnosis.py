"""The request debugger's diagnosis: every kind of invalid request gets the right cause, and a valid one none.

The clients here are written by hand with `hmac` and `cryptography`; they share no code with the portal.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from apikeys.debugger import request_parser, signature_candidates
from apikeys.debugger.budget import PAGE, Budget
from apikeys.debugger.causes import Cause
from apikeys.debugger.checks import CheckState, Situation
from apikeys.debugger.diagnosis import Diagnosis, explain
from apikeys.verification.decision import READ_GRACE_MS, decide
from apikeys.verification.networks import compile_networks
from apikeys.verification.outcomes import Outcome
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind
from tests.support.binance_client import BinanceClient

KEY = "Kq7" + "aB3dE5fG7h" * 6 + "Z"
SECRET = "sQ9" + "zY8xW6vU4t" * 6 + "M"
OTHER_SECRET = "oT1" + "rN2pL4kJ6h" * 6 + "C"
NOW = 1_795_342_131_800
QUERY = f"symbol=BTCIRT&side=BUY&price=9120000000&note=a%2Fb%20c&timestamp={NOW}"
#: Maximum cost of one step: a change of every byte of the longest text.
LARGEST_STEP = 32 * 2 * request_parser.MAX_BYTES
HOST = "https://api.hitobit.example"
PATH = "/api/v3/order"
ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=3072)


def der(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[no-any-return]


HMAC_KEY = CredentialRecord(1, Kind.HMAC, SECRET.encode())
RECORD = KeyRecord(
    user="1",
    key=KEY,
    active=True,
    owner_active=True,
    expires_at_ms=None,
    permissions=frozenset({"read", "trade"}),
    restricted=True,
    networks=compile_networks(["203.0.113.0/24"]),
    credentials=(HMAC_KEY,),
)
OTHER = replace(RECORD, key="Z" * 64, credentials=(CredentialRecord(9, Kind.HMAC, OTHER_SECRET.encode()),))
SITUATION = Situation(
    record=RECORD,
    others=(("second bot", OTHER),),
    paused=False,
    address="203.0.113.7",
    address_given=True,
    permission="trade",
    at_ms=NOW + 80,
    at_given=True,
)


def sign(payload: str | bytes, secret: str | bytes = SECRET, algorithm: str = "sha256") -> str:
    raw = payload.encode() if isinstance(payload, str) else payload
    return hmac.new(secret.encode() if isinstance(secret, str) else secret, raw, algorithm).hexdigest()


def curl(
    query: str = QUERY, body: str = "", signature: str = "", header: str = f"X-MBX-APIKEY: {KEY}"
) -> str:
    signature = signature or sign(query + body)
    data = f" \\\n  -d '{body}'" if body else ""
    return f"curl -X POST '{HOST}{PATH}?{query}&signature={signature}' \\\n  -H '{header}'{data}"


def diagnose(text: str, situation: Situation = SITUATION, body: str = "") -> Diagnosis:
    return explain(request_parser.parse(text, body), situation)


def named(diagnosis: Diagnosis) -> set[Cause]:
    return {each.cause for each in diagnosis.causes}


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def mac(payload: str = QUERY) -> bytes:
    return bytes.fromhex(sign(payload))


BODY = "quantity=0.002&type=LIMIT"
BOTH = QUERY + BODY
IN_ORDER = "&".join(sorted(QUERY.split("&")))

#: A text whose MAC has a character in Base64 that URL-safe Base64 writes differently.
URL_SAFE = next(
    text for n in range(99) if "-" in base64.urlsafe_b64encode(mac(text := f"n={n}&timestamp={NOW}")).decode()
)

#: Each line is one mistake of an otherwise correct client.
SIGNED_WRONGLY: list[tuple[Cause, str]] = [
    (Cause.SORTED, curl(signature=sign(IN_ORDER))),
    (Cause.OTHER_ORDER, curl(f"b=1&a=2&timestamp={NOW}", signature=sign(f"a=2&timestamp={NOW}&b=1"))),
    (Cause.BEFORE_ENCODING, curl(signature=sign(QUERY.replace("%2F", "/").replace("%20", " ")))),
    (Cause.SPACE_SPELLING, curl(signature=sign(QUERY.replace("%20", "+")))),
    (Cause.SPACE_SPELLING, curl(QUERY.replace("%20", "+"), signature=sign(QUERY))),
    (Cause.ENCODING_CASE, curl(signature=sign(QUERY.replace("%2F", "%2f")))),
    (Cause.ENCODING_CASE, curl(QUERY.replace("%2F", "%2f"), signature=sign(QUERY))),
    (Cause.ENCODED_ONLY_SIGNED, curl(f"note=a/b:c&timestamp={NOW}", signature=sign(f"note=a%2Fb%3Ac&timestamp={NOW}"))),
    (Cause.ENCODED_TWICE, curl(QUERY.replace("%", "%25"), signature=sign(QUERY))),
    (Cause.SIGNED_ENCODED_TWICE, curl(signature=sign(QUERY.replace("%", "%25")))),
    (Cause.BODY_LEFT_OUT, curl(body=BODY, signature=sign(QUERY))),
    (Cause.QUERY_LEFT_OUT, curl(body=BODY, signature=sign(BODY))),
    (Cause.JOINED_AMPERSAND, curl(body=BODY, signature=sign(f"{QUERY}&{BODY}"))),
    (Cause.BODY_FIRST, curl(body=BODY, signature=sign(BODY + QUERY))),
    (Cause.QUESTION_MARK, curl(signature=sign("?" + QUERY))),
    (Cause.PATH_SIGNED, curl(signature=sign(f"{PATH}?{QUERY}"))),
    (Cause.ADDRESS_SIGNED, curl(signature=sign(f"{HOST}{PATH}?{QUERY}"))),
    (Cause.OTHER_SCHEME, curl(signature=sign(f"POST{PATH}{QUERY}"))),
    (Cause.OTHER_SCHEME, curl(signature=sign(f"{NOW}POST{PATH}?{QUERY}"))),
    (Cause.SIGNATURE_SIGNED, curl(signature=sign(f"{QUERY}&signature="))),
    (Cause.STRAY_AMPERSAND, curl(signature=sign(f"{QUERY}&"))),
    (Cause.PARAMETER_LEFT_OUT, curl(signature=sign(QUERY.partition("&timestamp")[0]))),
    (Cause.EMPTY_DROPPED, curl(f"a=&b=&timestamp={NOW}", signature=sign(f"timestamp={NOW}"))),
    (Cause.TIMESTAMP_TWICE, curl(signature=sign(QUERY.replace(str(NOW), str(NOW + 3))))),
    (Cause.TIMESTAMP_UNIT, curl(signature=sign(QUERY.replace(str(NOW), str(NOW // 1000))))),
    (Cause.LETTER_CASE, curl(signature=sign(QUERY.lower()))),
    (Cause.NUMBER_FORMAT, curl(f"price=0.50&timestamp={NOW}", signature=sign(f"price=0.5&timestamp={NOW}"))),
    (Cause.NEWLINE, curl(signature=sign(QUERY + "\n"))),
    (Cause.CRLF, curl(signature=sign(QUERY + "\r\n"))),
    (Cause.SPACE_AROUND, curl(signature=sign(QUERY + " "))),
    (Cause.BOM, curl(signature=sign("\ufeff" + QUERY))),
    (Cause.QUOTES_SIGNED, curl(signature=sign(f'"{QUERY}"'))),
    (Cause.HTML_SIGNED, curl(signature=sign(QUERY.replace("&", "&amp;")))),
    (Cause.UTF16, curl(signature=sign(QUERY.encode("utf-16-le")))),
    (Cause.NOTHING_SIGNED, curl(signature=sign(""))),
    (Cause.JSON_SIGNED, curl(f"a=x&timestamp={NOW}", signature=sign(f'{{"a":"x","timestamp":"{NOW}"}}'))),
    (Cause.NO_SEPARATOR, curl(signature=sign(QUERY.replace("&", "")))),
    (Cause.HASHED_FIRST, curl(signature=sign(hashlib.sha256(QUERY.encode()).hexdigest()))),
    (Cause.PAYLOAD_ENCODED, curl(signature=sign(b64(QUERY.encode())))),
    (Cause.WINDOW_NOT_SENT, curl(signature=sign(QUERY + "&recvWindow=5000"))),
    (Cause.SECRET_NEWLINE, curl(signature=sign(QUERY, SECRET + "\n"))),
    (Cause.SECRET_SPACE, curl(signature=sign(QUERY, SECRET + " "))),
    (Cause.SECRET_QUOTED, curl(signature=sign(QUERY, f'"{SECRET}"'))),
    (Cause.SECRET_DECODED, curl(signature=sign(QUERY, base64.b64decode(SECRET)))),
    (Cause.SECRET_ENCODED, curl(signature=sign(QUERY, SECRET.encode().hex()))),
    (Cause.SECRET_CASE, curl(signature=sign(QUERY, SECRET.lower()))),
    (Cause.SECRET_CUT, curl(signature=sign(QUERY, SECRET[:-1]))),
    (Cause.SECRET_EMPTY, curl(signature=sign(QUERY, ""))),
    (Cause.KEY_AS_SECRET, curl(signature=sign(QUERY, KEY))),
    (Cause.OTHER_KEY, curl(signature=sign(QUERY, OTHER_SECRET))),
    (Cause.ALGORITHM, curl(signature=sign(QUERY, algorithm="sha512"))),
    (Cause.ALGORITHM, curl(signature=sign(QUERY, algorithm="sha1"))),
    (Cause.ALGORITHM, curl(signature=sign(QUERY, algorithm="md5"))),
    (Cause.PLAIN_HASH, curl(signature=hashlib.sha256((QUERY + SECRET).encode()).hexdigest())),
    (Cause.SIGNATURE_BASE64, curl(signature=quote(b64(mac()), safe=""))),
    (Cause.SIGNATURE_BASE64URL, curl(URL_SAFE, signature=base64.urlsafe_b64encode(mac(URL_SAFE)).decode())),
    (Cause.SIGNATURE_TWICE, curl(signature=quote(b64(sign(QUERY).encode()), safe=""))),
    (Cause.SIGNATURE_DECORATED, curl(signature="0x" + sign(QUERY))),
    (Cause.SIGNATURE_UNKNOWN, curl(signature="ab" * 32)),
    (Cause.SIGNATURE_SHAPE, curl(signature="tooshort")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cause", "text"), SIGNED_WRONGLY, ids=lambda v: v.value if isinstance(v, Cause) else ""
)
def test_what_was_signed_instead_is_named(cause: Cause, text: str) -> None:
    diagnosis = diagnose(text)
    assert named(diagnosis) == {cause}
    assert [check.number for check in diagnosis.checks if check.state is CheckState.FAILED] == [8]
    assert diagnosis.answer.code == -1022


def line(start: str, *headers: str, body: str = "") -> str:
    return "\n".join((start, *headers, "", body))


def signed_url(query: str = QUERY, name: str = "signature") -> str:
    return f"{PATH}?{query}&{name}={sign(query)}"


HEADER = f"X-MBX-APIKEY: {KEY}"
UNREADABLE_BY_GATEWAY: list[tuple[Cause, int, str]] = [
    (Cause.KEY_MISSING, 1, line(f"POST {signed_url()} HTTP/1.1", "Host: api.hitobit.example")),
    (Cause.KEY_HEADER_NAME, 1, line(f"POST {signed_url()} HTTP/1.1", f"X-API-KEY: {KEY}")),
    (Cause.KEY_DECORATED, 1, line(f"POST {signed_url()} HTTP/1.1", f"X-MBX-APIKEY: '{KEY}'")),
    (Cause.KEY_INVISIBLE, 1, line(f"POST {signed_url()} HTTP/1.1", f"X-MBX-APIKEY: {KEY}\u200b")),
    (Cause.KEY_LENGTH, 1, line(f"POST {signed_url()} HTTP/1.1", f"X-MBX-APIKEY: {KEY[:-1]}")),
    (Cause.KEY_CASE, 2, line(f"POST {signed_url()} HTTP/1.1", f"X-MBX-APIKEY: {KEY.swapcase()}")),
    (Cause.KEY_UNKNOWN, 2, line(f"POST {signed_url()} HTTP/1.1", f"X-MBX-APIKEY: {'b' * 64}")),
    (Cause.TIMESTAMP_MISSING, 4, line(f"GET {signed_url('a=1')}", HEADER)),
    (Cause.TIMESTAMP_NAME, 4, line(f"GET {signed_url(f'Timestamp={NOW}')}", HEADER)),
    (Cause.TIMESTAMP_MALFORMED, 4, line(f"GET {signed_url(f'timestamp={NOW}.5')}", HEADER)),
    (Cause.SIGNATURE_MISSING, 4, line(f"GET {PATH}?{QUERY}", HEADER)),
    (Cause.SIGNATURE_NAME, 4, line(f"GET {signed_url(name='sign')}", HEADER)),
    (Cause.SIGNATURE_HEADER, 4, line(f"GET {PATH}?{QUERY}", HEADER, f"X-SIGNATURE: {sign(QUERY)}")),
    (Cause.RECV_WINDOW_MALFORMED, 4, line(f"GET {signed_url(QUERY + '&recvWindow=5s')}", HEADER)),
    (Cause.DUPLICATE, 5, line(f"GET {signed_url('side=BUY&' + QUERY)}", HEADER)),
    (Cause.TWO_SIGNATURES, 5, line(f"POST {signed_url()}", HEADER, body=f"signature={sign(QUERY)}")),
    (Cause.RECV_WINDOW_LARGE, 6, line(f"GET {signed_url(QUERY + '&recvWindow=60001')}", HEADER)),
    (Cause.TIMESTAMP_SECONDS, 7, line(f"GET {signed_url(f'timestamp={NOW // 1000}')}", HEADER)),
    (Cause.TIMESTAMP_NANOSECONDS, 7, line(f"GET {signed_url(f'timestamp={NOW * 1_000_000}')}", HEADER)),
    (Cause.TIMESTAMP_ZONE, 7, line(f"GET {signed_url(f'timestamp={NOW + 12_600_000}')}", HEADER)),
    (Cause.TIMESTAMP_PAST, 7, line(f"GET {signed_url(f'timestamp={NOW - 9_000}')}", HEADER)),
    (Cause.TIMESTAMP_FUTURE, 7, line(f"GET {signed_url(f'timestamp={NOW + 9_000}')}", HEADER)),
    (Cause.NOT_ENCODED, 8, line(f"GET {signed_url(f'note=سلام&timestamp={NOW}')}", HEADER)),
    (Cause.NOT_ENCODED, 8, line(f"GET {signed_url(f'note=a b&timestamp={NOW}')}", HEADER)),
    (Cause.STRAY_PERCENT, 8, line(f"GET {signed_url(f'note=100%&timestamp={NOW}')}", HEADER)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cause", "check", "text"), UNREADABLE_BY_GATEWAY, ids=lambda v: getattr(v, "value", "")
)
def test_what_stops_a_request_is_named_with_its_check(cause: Cause, check: int, text: str) -> None:
    diagnosis = diagnose(text)
    assert named(diagnosis) == {cause}
    assert [c.number for c in diagnosis.checks if c.state is CheckState.FAILED] == [check]


KEY_AND_CLOCK: list[tuple[Cause, int, Situation]] = [
    (Cause.KEY_REVOKED, 2, replace(SITUATION, record=replace(RECORD, active=False))),
    (Cause.KEY_FROZEN, 2, replace(SITUATION, record=replace(RECORD, active=False), paused=True)),
    (Cause.KEY_EXPIRED, 2, replace(SITUATION, record=replace(RECORD, expires_at_ms=NOW - READ_GRACE_MS))),
    (Cause.OWNER_FROZEN, 2, replace(SITUATION, record=replace(RECORD, owner_frozen=True))),
    (Cause.OWNER_INACTIVE, 2, replace(SITUATION, record=replace(RECORD, owner_active=False))),
    (Cause.ADDRESS, 3, replace(SITUATION, address="198.51.100.1")),
    (Cause.ADDRESS, 3, replace(SITUATION, record=replace(RECORD, networks=compile_networks([])))),
    (Cause.ADDRESS, 3, replace(SITUATION, record=replace(RECORD, networks=compile_networks([])), address_given=False)),
    (Cause.PERMISSION, 9, replace(SITUATION, permission="withdraw")),
    (Cause.KEY_DEGRADED, 9, replace(SITUATION, record=replace(RECORD, expires_at_ms=NOW))),
    (Cause.TRADE_LAPSED, 9, replace(SITUATION, record=replace(RECORD, trade_until_ms=NOW))),
    (Cause.QUARANTINE, 9, replace(SITUATION, record=replace(RECORD, reads_until_ms=NOW + 9_000))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cause", "check", "situation"), KEY_AND_CLOCK, ids=lambda v: getattr(v, "value", "")
)
def test_what_stops_the_key_is_named_with_its_check(cause: Cause, check: int, situation: Situation) -> None:
    diagnosis = diagnose(curl(), situation)
    assert named(diagnosis) == {cause}
    assert [c.number for c in diagnosis.checks if c.state is CheckState.FAILED] == [check]


def right_requests() -> list[str]:
    client = BinanceClient(KEY, SECRET)
    pairs = [("symbol", "BTCIRT"), ("note", "a/b c~"), ("timestamp", str(NOW))]
    calls = [
        client.call("GET", PATH, pairs),
        client.call("GET", PATH, pairs, quote_via=quote, upper=True, position=1),
        client.call("POST", PATH, (), pairs, sign_in="body"),
        client.call("POST", PATH, pairs[:1], pairs[1:], sign_in="query"),
        client.call("DELETE", PATH, (), pairs, sign_in="body", content_type=None),
        client.call("GET", PATH, [("timestamp", str(NOW * 1000))], quote_via=quote_plus),
    ]
    texts = []
    for call in calls:
        headers = [f"{name}: {value}" for name, value in call.headers.items()]
        texts.append(
            line(f"{call.method} {PATH}?{call.query.decode()} HTTP/1.1", *headers, body=call.body.decode())
        )
    return texts


@pytest.mark.parametrize("text", right_requests())
def test_a_right_request_of_an_independent_client_is_called_right(text: str) -> None:
    diagnosis = diagnose(text)
    assert diagnosis.is_valid
    assert {check.state for check in diagnosis.checks} == {CheckState.OK}
    assert diagnosis.answer.outcome is Outcome.ALLOWED
    assert diagnosis.signed is None


def test_two_mistakes_at_once_are_both_named() -> None:
    diagnosis = diagnose(curl(body=BODY, signature=sign(f"{QUERY}&{BODY}", SECRET + "\n")))
    assert named(diagnosis) == {Cause.JOINED_AMPERSAND, Cause.SECRET_NEWLINE}
    diagnosis = diagnose(curl(signature=sign("?" + IN_ORDER)))
    assert named(diagnosis) == {Cause.SORTED, Cause.QUESTION_MARK}
    diagnosis = diagnose(curl(signature=b64(bytes.fromhex(sign(QUERY, algorithm="sha512")))))
    assert Cause.ALGORITHM in named(diagnosis)


def test_what_the_client_signed_is_shown_beside_what_counts() -> None:
    diagnosis = diagnose(curl(signature=sign(IN_ORDER)))
    assert (diagnosis.payload, diagnosis.signed) == (QUERY.encode(), IN_ORDER.encode())


def test_an_ended_credential_is_named() -> None:
    old = CredentialRecord(1, Kind.HMAC, OTHER_SECRET.encode(), retires_at_ms=NOW)
    situation = replace(SITUATION, record=replace(RECORD, credentials=(old, HMAC_KEY)), others=())
    assert named(diagnose(curl(signature=sign(QUERY, OTHER_SECRET)), situation)) == {Cause.CREDENTIAL_ENDED}
    assert diagnose(curl(), situation).is_valid


def test_a_masked_secret_in_the_key_header_is_named() -> None:
    text = curl(header=f"X-MBX-APIKEY: {'*' * 64}")
    assert named(diagnose(text, replace(SITUATION, has_secret=True))) == {Cause.KEY_IS_SECRET}


PAYLOAD = QUERY.encode()
ED_RAW = ED25519.sign(PAYLOAD)
PKCS = RSA.sign(PAYLOAD, padding.PKCS1v15(), hashes.SHA256())
PSS = RSA.sign(PAYLOAD, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
PUBLIC_KEYS: list[tuple[Cause | None, Kind, str]] = [
    (None, Kind.ED25519, quote(b64(ED_RAW), safe="")),
    (None, Kind.RSA, quote(b64(PKCS), safe="")),
    (Cause.SIGNATURE_HEX, Kind.ED25519, ED_RAW.hex()),
    (Cause.SIGNATURE_HEX, Kind.RSA, PKCS.hex()),
    (Cause.SIGNATURE_PADDING, Kind.ED25519, quote(b64(ED_RAW).rstrip("="), safe="")),
    (Cause.SIGNATURE_TWICE, Kind.ED25519, quote(quote(b64(ED_RAW), safe=""), safe="")),
    (Cause.SIGNATURE_WRAPPED, Kind.RSA, quote(base64.encodebytes(PKCS).decode(), safe="")),
    (Cause.RSA_PSS, Kind.RSA, quote(b64(PSS), safe="")),
    (Cause.ALGORITHM, Kind.RSA, quote(b64(RSA.sign(PAYLOAD, padding.PKCS1v15(), hashes.SHA512())), safe="")),
    (Cause.HASHED_FIRST, Kind.ED25519, quote(b64(ED25519.sign(hashlib.sha256(PAYLOAD).digest())), safe="")),
    (Cause.SORTED, Kind.ED25519, quote(b64(ED25519.sign(IN_ORDER.encode())), safe="")),
    (Cause.KIND_MISMATCH, Kind.ED25519, sign(QUERY)),
    (Cause.KIND_MISMATCH, Kind.HMAC, quote(b64(ED_RAW), safe="")),
    (Cause.SIGNATURE_UNKNOWN, Kind.RSA, quote(b64(ED25519.sign(b"?")), safe="")),
]  # fmt: skip


@pytest.mark.parametrize(("cause", "kind", "signature"), PUBLIC_KEYS, ids=range(len(PUBLIC_KEYS)))
def test_signatures_of_public_keys_are_distinguished(cause: Cause | None, kind: Kind, signature: str) -> None:
    material = {Kind.HMAC: SECRET.encode(), Kind.ED25519: der(ED25519), Kind.RSA: der(RSA)}[kind]
    record = replace(RECORD, credentials=(CredentialRecord(1, kind, material),))
    diagnosis = diagnose(curl(signature=signature), replace(SITUATION, record=record, others=()))
    assert named(diagnosis) == ({cause} if cause else set())


def test_base64url_of_a_public_key_is_named_and_an_unencoded_plus_is_right() -> None:
    number = next(n for n in range(999) if "+" in b64(ED25519.sign(b"n=%d&timestamp=1" % n)))
    signature = b64(ED25519.sign(b"n=%d&timestamp=1" % number))
    record = replace(RECORD, credentials=(CredentialRecord(1, Kind.ED25519, der(ED25519)),))
    situation = replace(SITUATION, record=record)
    query = f"n={number}&timestamp=1"
    for spelled in (signature, signature.replace("+", "%20"), quote(signature)):
        checks = diagnose(curl(query, signature=spelled), situation).checks
        assert [check.state for check in checks if check.number == 8] == [CheckState.OK]
    # Also in a request that cannot be read, of which the signature is checked all the same.
    other = next(n for n in range(999) if "+" in b64(ED25519.sign(b"n=%d" % n)))
    incomplete = b64(ED25519.sign(b"n=%d" % other))
    for spelled in (incomplete, incomplete.replace("+", "%20")):
        checks = diagnose(curl(f"n={other}", signature=spelled), situation).checks
        assert [check.state for check in checks if check.number in (4, 8)] == [
            CheckState.FAILED,
            CheckState.OK,
        ]
    url_safe = signature.translate(str.maketrans("+/", "-_"))
    assert Cause.SIGNATURE_BASE64URL in named(diagnose(curl(query, signature=url_safe), situation))


def test_an_old_paste_is_a_doubt_and_no_cause() -> None:
    later = replace(SITUATION, at_ms=NOW + 600_000, at_given=False)
    diagnosis = diagnose(curl(), later)
    assert diagnosis.is_valid
    assert [doubt.cause for doubt in diagnosis.doubts] == [Cause.TIMESTAMP_AGED]
    assert diagnosis.skew_ms == -600_000
    assert diagnosis.answer.outcome is Outcome.ALLOWED


def test_an_address_that_was_not_given_is_a_doubt() -> None:
    diagnosis = diagnose(curl(), replace(SITUATION, address="198.51.100.1", address_given=False))
    assert diagnosis.is_valid
    assert [doubt.cause for doubt in diagnosis.doubts] == [Cause.ADDRESS_HERE]


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (Cause.AMPERSAND_CUT, f"curl {HOST}{signed_url()} -H '{HEADER}'"),
        (Cause.MULTIPART, f"curl {HOST}{PATH} -F timestamp={NOW} -H '{HEADER}'"),
        (Cause.BODY_FILE, f"curl {HOST}{PATH} -d @order.txt -H '{HEADER}'"),
        (Cause.JSON_BODY, line(f"POST {PATH} HTTP/1.1", HEADER, body=f'{{"timestamp": {NOW}}}')),
        (Cause.FRAGMENT, curl(f"a=1&timestamp={NOW}&note=a#b")),
        (Cause.HTML_ENTITY, line(f"GET {PATH}?a=1×tamp={NOW}&signature={'0' * 64}", HEADER)),
    ],
    ids=lambda v: getattr(v, "value", ""),
)
def test_what_the_text_shows_is_the_headline(cause: Cause, text: str) -> None:
    assert diagnose(text).causes[0].cause is cause


GET_SIGNED = signed_url()


@pytest.mark.parametrize(
    "text",
    [
        f'curl -sS "{HOST}{GET_SIGNED}" -H"{HEADER}"',
        f'curl "{HOST}{GET_SIGNED}" ^\n  -H "{HEADER}" ^\n  --compressed',
        f'curl ^"{HOST}{GET_SIGNED.replace("&", "^&")}^" ^\n  -H ^"{HEADER}^"'.replace("%", "^%"),
        f'curl.exe "{HOST}{GET_SIGNED}" `\n  -H "{HEADER}"',
        f"$ curl --request POST --url '{HOST}{PATH}' --data-raw $'{QUERY}&signature={sign(QUERY)}' --header '{HEADER}'",
        f"curl -G {HOST}{PATH} -d '{QUERY}' -d 'signature={sign(QUERY)}' -H '{HEADER}'",
        f"GET {GET_SIGNED} HTTP/1.1\r\nHost: api\r\n{HEADER}\r\n\r\n",
        f"{HOST}{GET_SIGNED}\n{HEADER}",
        f"POST {HOST}{PATH}\n{HEADER}\n{QUERY}&signature={sign(QUERY)}",
        f"* Connected\n> GET {GET_SIGNED} HTTP/2\n> {HEADER}\n>\n< HTTP/2 400\n< date: Sun, 22 Nov 2026 10:00:00 GMT",
    ],
)  # fmt: skip
def test_every_way_to_paste_is_read(text: str) -> None:
    diagnosis = diagnose(text)
    assert diagnosis.payload == QUERY.encode()
    assert diagnosis.is_valid


def test_data_urlencode_is_encoded_as_curl_does() -> None:
    request = request_parser.parse(f"curl {HOST}{PATH} --data-urlencode 'note=a/b c' -d timestamp=1")
    assert (request.method, request.body) == ("POST", b"note=a%2Fb%20c&timestamp=1")


@pytest.mark.parametrize("text", ["", " \n", "curl", "curl -X POST", "hello", "I don't know"])
def test_what_is_no_request_is_rejected(text: str) -> None:
    with pytest.raises(request_parser.UnreadableError):
        request_parser.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("1795342131", "1795342131800", "1795342131800000", "۱۷۹۵۳۴۲۱۳۱۸۰۰"),
        *("2026-11-22T10:08:51.800Z", "2026-11-22T13:38:51.800", "Sun, 22 Nov 2026 10:08:51 GMT"),
    ],
)
def test_a_moment_is_read_in_every_usual_spelling(text: str) -> None:
    moment = request_parser.parse_time_ms(text)
    assert moment is not None
    assert moment // 1000 == NOW // 1000


@pytest.mark.parametrize("text", ["", "now", "12", "9" * 18, "2026-13-01", "Sun, 99 Nov 2026"])
def test_what_is_no_moment_is_none(text: str) -> None:
    assert request_parser.parse_time_ms(text) is None


@given(
    query=st.text("abst=&%20+1#?é ", max_size=60),
    body=st.text("abst=&%20+1{}\n", max_size=60),
    stamp=st.sampled_from(["", f"&timestamp={NOW}", "&timestamp=x", f"&timestamp={NOW}&timestamp={NOW}"]),
    key=st.sampled_from([KEY, KEY.lower(), "", "x"]),
    at=st.integers(NOW - 100_000, NOW + 100_000),
    permission=st.sampled_from(["read", "trade", "withdraw"]),
)
def test_the_first_failed_check_is_the_one_that_the_gateway_answers(
    query: str, body: str, stamp: str, key: str, at: int, permission: str
) -> None:
    text = f"POST /x?{query}{stamp}&signature={sign(query + stamp)} HTTP/1.1\nX-MBX-APIKEY: {key}\n\n{body}"
    request = request_parser.parse(text)
    situation = replace(SITUATION, at_ms=at, permission=permission)
    diagnosis = explain(request, situation)
    decision = decide(
        RECORD, api_key=request.header("X-MBX-APIKEY"), query=request.query, body=request.body,
        client_ip=situation.address, permission=permission, now_ms=at,
    )  # fmt: skip
    first = next((c.number for c in diagnosis.checks if c.state is CheckState.FAILED), None)
    number = {-2014: 1, -1102: 4, -1101: 5, -1131: 6, -1021: 7, -1022: 8, 0: None}
    expected = {Outcome.KEY_UNKNOWN: 2, Outcome.PERMISSION: 9}.get(decision.outcome) or number[decision.code]
    assert first == expected
    assert diagnosis.answer.outcome is decision.outcome


@pytest.mark.parametrize("body", ["a&" * 8000, "a=%20&" * 2700, "%zz" * 5000, "=" * 16_000, '"' * 16_000])
@pytest.mark.parametrize("others", [0, 40])
def test_the_work_is_bounded(body: str, others: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most the work of one more step beyond the budget."""
    hashed = 0
    real = hmac.compare_digest

    def counted(first: bytes, second: bytes) -> bool:
        nonlocal hashed
        hashed += 1
        return real(first, second)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    text = line(f"POST {PATH}?timestamp={NOW}&signature={'0' * 64}", HEADER, body=body[:16_100])
    situation = replace(SITUATION, others=(("another", OTHER),) * others)
    budget = Budget()
    diagnosis = explain(request_parser.parse(text), situation, budget)
    assert named(diagnosis) & {Cause.SIGNATURE_UNKNOWN, Cause.DUPLICATE}
    assert budget.spent <= PAGE + LARGEST_STEP
    assert 1 <= hashed <= PAGE // signature_candidates.HMAC_COST


def test_the_tables_name_many_kinds() -> None:
    kinds: set[Callable[..., Any] | Cause] = {row[0] for row in SIGNED_WRONGLY}
    assert len(kinds) >= 25
