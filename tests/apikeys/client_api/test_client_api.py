"""The endpoints that the portal serves itself, through Django and as bytes from the running server."""

import base64
import http.client
import json
import socket
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from apikeys.models import ApiKey, Credential
from apikeys.policy import public_keys
from apikeys.policy.choices import KeyState
from tests.support.binance_client import BinanceClient
from tests.support.key_pairs import new_ed25519, public_pem
from tests.support.live_portal import LivePortal
from tests.support.people import ADDRESS, Person, browser, customer, key_of, secret_of

RESTRICTIONS = "/sapi/v1/account/apiRestrictions"
REFUSED = (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."})
BAD_SIGNATURE = (400, {"code": -1022, "msg": "Signature for this request is not valid."})


def stamp(offset_ms: int = 0) -> str:
    return str(time.time_ns() // 1_000_000 + offset_ms)


# --- through Django -------------------------------------------------------------------------------------------------


@pytest.fixture
def sara(db: None) -> Person:
    return customer()


@pytest.fixture
def key(sara: Person) -> ApiKey:
    return key_of(sara)


def ask(client: Client, api_key: str | None, query: str) -> tuple[int, Any]:
    headers = {"X-MBX-APIKEY": api_key} if api_key is not None else {}
    answer = client.get(f"{RESTRICTIONS}?{query}", headers=headers)
    assert answer["Content-Type"] == "application/json"
    return answer.status_code, answer.json()


def signed(key: ApiKey, *pairs: tuple[str, str], secret: str = "", now: bool = True) -> str:
    signer = BinanceClient(key.key_id, secret or secret_of(key))
    query = [*pairs, ("timestamp", stamp())] if now else list(pairs)
    return signer.call("GET", RESTRICTIONS, query).query.decode()


def test_time_and_ping_answer_anybody(db: None) -> None:
    assert browser().get("/api/v3/ping").content == b"{}"
    answer = browser().get("/api/v3/time").json()
    assert list(answer) == ["serverTime"]
    assert abs(answer["serverTime"] - time.time() * 1000) < 5000


def test_signed_request_returns_the_permissions_of_its_key(key: ApiKey) -> None:
    status, answer = ask(browser(), key.key_id, signed(key))
    assert status == 200
    assert answer == {
        "ipRestrict": False,
        "createTime": int(key.created_at.timestamp() * 1000),
        "enableReading": True,
        "enableSpotAndMarginTrading": False,
        "enableWithdrawals": False,
        "enableInternalTransfer": False,
        "permitsUniversalTransfer": False,
        "enableMargin": False,
        "enableFutures": False,
        "enableVanillaOptions": False,
        "enablePortfolioMarginTrading": False,
    }


def test_answer_follows_the_settings_at_once(key: ApiKey) -> None:
    key.apply(["read", "trade", "withdraw"], "trusted", [ADDRESS])
    _status, answer = ask(browser(), key.key_id, signed(key))
    assert (answer["ipRestrict"], answer["enableSpotAndMarginTrading"], answer["enableWithdrawals"]) == (
        True,
    ) * 3


def _off(model: Any, key: ApiKey, **values: Any) -> None:
    model.objects.filter(pk=key.pk if model is ApiKey else key.owner_id).update(**values)


def _bare(key: ApiKey) -> None:
    key.apply(["read"], "trusted", [ADDRESS])
    key.networks.all().delete()


CAUSES: dict[str, Callable[[ApiKey], object]] = {
    "revoked": lambda key: key.set_state(KeyState.REVOKED),
    "frozen": lambda key: key.set_state(KeyState.FROZEN),
    "expired": lambda key: _off(ApiKey, key, expires_at=timezone.now() - timedelta(days=7)),
    "owner inactive": lambda key: _off(User, key, is_active=False),
    "address": lambda key: key.apply(["read"], "trusted", ["198.51.100.1"]),
    "no network left": lambda key: _bare(key),
    "permission": lambda key: key.apply(["trade"], "unrestricted", []),
    "unknown": lambda key: _off(ApiKey, key, key_id="u" * 64),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_every_rejection_of_a_key_has_the_same_bytes(key: ApiKey, cause: str) -> None:
    query = signed(key)
    CAUSES[cause](key)
    answer = browser().get(f"{RESTRICTIONS}?{query}", headers={"X-MBX-APIKEY": key.key_id})
    assert answer.status_code == 401
    assert answer.content == b'{"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}'
    headers = {name: value for name, value in answer.headers.items() if name != "X-Request-Id"}
    unknown = browser().get(f"{RESTRICTIONS}?{query}", headers={"X-MBX-APIKEY": "n" * 64})
    assert headers == {name: value for name, value in unknown.headers.items() if name != "X-Request-Id"}


@pytest.mark.parametrize(
    "api_key", [None, "", "x", "x" * 63, "x" * 65, "é" * 64, "x" * 63 + " ", "x" * 63 + "-"]
)
def test_malformed_key_is_reported_as_malformed(db: None, api_key: str | None) -> None:
    assert ask(browser(), api_key, "") == (401, {"code": -2014, "msg": "API-key format invalid."})


def wrong_requests(key: ApiKey) -> list[tuple[str, tuple[int, int]]]:
    """Requests that fail all checks from one on, in the order of the contract, each with its response."""
    now, old = stamp(), stamp(-60_000)
    return [
        ("", (400, -1102)),
        (f"timestamp={now}", (400, -1102)),  # no signature
        ("timestamp=&recvWindow=99999&signature=00", (400, -1102)),
        (f"timestamp={old}&recvWindow=99999&a=1&a=2&signature=00", (400, -1101)),
        (f"timestamp={old}&recvWindow=99999&signature=00", (400, -1131)),
        (f"timestamp={old}&signature=00", (400, -1021)),
        (f"timestamp={stamp(5_000)}&signature=00", (400, -1021)),
        (f"timestamp={now}&signature=00", (400, -1022)),
    ]


def test_checks_come_in_the_order_of_the_contract(key: ApiKey) -> None:
    key.apply(["trade"], "unrestricted", [])  # the last check, permission, would fail as well
    for query, expected in wrong_requests(key):
        status, answer = ask(browser(), key.key_id, query)
        assert (status, answer["code"]) == expected, query
    assert ask(browser(), key.key_id, signed(key)) == REFUSED


def test_state_of_the_key_comes_before_every_parameter(key: ApiKey) -> None:
    key.set_state(KeyState.FROZEN)
    assert [ask(browser(), key.key_id, query) for query, _code in wrong_requests(key)] == [REFUSED] * 8


def test_messages_carry_their_names_and_numbers(key: ApiKey) -> None:
    missing = ask(browser(), key.key_id, "signature=00")[1]["msg"]
    assert missing == "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed."
    twice = ask(browser(), key.key_id, f"timestamp={stamp()}&timestamp={stamp()}&signature=00")[1]["msg"]
    assert twice == "Too many parameters; expected '2' and received '3'."


def test_signature_of_another_secret_is_rejected(key: ApiKey) -> None:
    assert ask(browser(), key.key_id, signed(key, secret="x" * 64)) == BAD_SIGNATURE


def test_base64_signature_with_an_unencoded_plus_passes(key: ApiKey) -> None:
    """As node-binance-api sends it; what is signed stays as it was received."""
    pair = new_ed25519()
    Credential.objects.filter(key=key).delete()
    Credential.new(key, public_keys.parse(public_pem(pair))).save()
    now = stamp()
    for number in range(999):
        query = f"note=a+b&n={number}&timestamp={now}"
        signature = base64.b64encode(pair.sign(query.encode())).decode()
        if "+" in signature:
            break
    for plus in ("+", "%20", "%2B"):
        sent = signature.replace("/", "%2F").replace("=", "%3D").replace("+", plus)
        assert ask(browser(), key.key_id, f"{query}&signature={sent}")[0] == 200
        changed = query.replace("a+b", "a%20b")
        assert ask(browser(), key.key_id, f"{changed}&signature={sent}") == BAD_SIGNATURE


def test_retired_secret_signs_no_more(key: ApiKey) -> None:
    Credential.objects.filter(key=key).update(retires_at=timezone.now())
    assert ask(browser(), key.key_id, signed(key)) == BAD_SIGNATURE


def test_last_use_is_recorded_with_its_address_and_coarsely(key: ApiKey) -> None:
    start = timezone.now()
    recorded = []
    for seconds in (0, 30, 59, 61):
        moment = start + timedelta(seconds=seconds)
        with (
            mock.patch("django.utils.timezone.now", return_value=moment),
            mock.patch("time.time_ns", return_value=int(moment.timestamp() * 1e9)),
        ):
            assert ask(browser(), key.key_id, signed(key))[0] == 200
        key.refresh_from_db()
        assert key.last_used_at is not None
        recorded.append(round((key.last_used_at - start).total_seconds()))
    assert recorded == [0, 0, 0, 61]
    assert key.last_used_ip == ADDRESS


def test_use_from_another_address_is_recorded_at_once(key: ApiKey) -> None:
    for address in (ADDRESS, "198.51.100.9"):
        ask(browser(address), key.key_id, signed(key))
        key.refresh_from_db()
        assert key.last_used_ip == address


def test_rejected_request_is_not_counted_as_use(key: ApiKey) -> None:
    ask(browser(), key.key_id, signed(key, secret="x" * 64))
    key.refresh_from_db()
    assert key.last_used_at is None
    assert Credential.objects.get(key=key).first_used_at is None


def test_first_use_of_the_secret_is_recorded_once(key: ApiKey) -> None:
    ask(browser(), key.key_id, signed(key))
    first = Credential.objects.get(key=key).first_used_at
    ask(browser(), key.key_id, signed(key))
    assert first is not None
    assert Credential.objects.get(key=key).first_used_at == first


# --- bytes to the running server ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LiveKey:
    host: str
    port: int
    key_id: str
    secret: str

    def send(self, query: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Send one GET exactly as given, over a socket; urllib would normalise it."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        connection.putrequest("GET", f"{RESTRICTIONS}?{query}", skip_accept_encoding=True)
        for name, value in {
            "X-MBX-APIKEY": self.key_id,
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, content

    def sign(self, query: str, body: str = "") -> str:
        return BinanceClient(self.key_id, self.secret).signature(query, body)


MAKE_KEY = """
import json, uuid
from accounts.models import User
from apikeys.models import ApiKey
from hitobit_portal.security import crypto
key = ApiKey.objects.create_with_secret(User.objects.get(), str(uuid.uuid4()), uuid.uuid4())
credential = key.credentials.get()
print(json.dumps([key.key_id, crypto.unseal(credential.sealed, credential.seal_owner).decode()]))
"""


@pytest.fixture(scope="module")
def live(live_portal: LivePortal) -> LiveKey:
    key_id, secret = json.loads(
        live_portal.manage("shell", "--no-imports", "--command", MAKE_KEY).splitlines()[-1]
    )
    return LiveKey("127.0.0.1", live_portal.port, key_id, secret)


@pytest.mark.parametrize(
    "extra",
    [
        "note=a+b",
        "note=a%20b",
        "note=%D8%B1%D8%A8%D8%A7%D8%AA",
        "note=%d8%b1",
        "note=a%2Bb%26c%3Dd",
        "email=a@b.example&x=1:2,3;4!$'()*/?",
        "empty=&novalue&=noname",
        "note=%00%ff",
        "a=1&&b=2&",
    ],
)
def test_received_bytes_are_what_is_signed(live: LiveKey, extra: str) -> None:
    query = f"{extra}&timestamp={stamp()}" if not extra.endswith("&") else f"{extra}timestamp={stamp()}"
    assert live.send(f"{query}&signature={live.sign(query)}")[0] == 200


@pytest.mark.parametrize("place", [0, 1, 2])
def test_signature_may_stand_anywhere_in_the_query(live: LiveKey, place: int) -> None:
    pieces = ["note=1", f"timestamp={stamp()}"]
    signature = live.sign("&".join(pieces))
    pieces.insert(place, f"signature={signature.upper()}")
    assert live.send("&".join(pieces))[0] == 200


def test_reencoded_query_is_another_request(live: LiveKey) -> None:
    now = stamp()
    for sent, signed_as in (("note=a+b", "note=a%20b"), ("note=%2f", "note=%2F"), ("note=~", "note=%7E")):
        query = f"{sent}&timestamp={now}&signature={live.sign(f'{signed_as}&timestamp={now}')}"
        assert live.send(query) == BAD_SIGNATURE


def test_parameters_and_signature_may_come_in_a_body(live: LiveKey) -> None:
    body = f"timestamp={stamp()}"
    signature = live.sign("note=1", body)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert live.send("note=1", f"{body}&signature={signature}".encode(), form)[0] == 200


@pytest.mark.parametrize("byte", ["{", "}", "|", "^", "[", "\\", "`"])
def test_byte_outside_of_a_query_is_no_valid_signature(live: LiveKey, byte: str) -> None:
    query = f"note={byte}&timestamp={stamp()}"
    assert live.send(f"{query}&signature={live.sign(query)}") == BAD_SIGNATURE


@pytest.mark.parametrize("byte", [b'"', b"<", b"\xd8", b"\x7f"])
def test_byte_outside_of_a_request_line_gets_no_further_than_the_server(live: LiveKey, byte: bytes) -> None:
    line = b"GET /sapi/v1/account/apiRestrictions?note=" + byte + b" HTTP/1.1\r\n"
    with socket.create_connection((live.host, live.port), timeout=20) as connection:
        connection.sendall(line + b"Host: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_empty_body_that_claims_to_be_json_is_no_matter(live: LiveKey) -> None:
    query = f"timestamp={stamp()}"
    assert (
        live.send(f"{query}&signature={live.sign(query)}", headers={"Content-Type": "application/json"})[0]
        == 200
    )


def test_forged_forwarding_headers_do_not_matter(live: LiveKey) -> None:
    query = f"timestamp={stamp()}"
    forged = {"X-Forwarded-For": "not an address", "X-Real-IP": "::1", "Forwarded": "for=1.2.3.4"}
    assert live.send(f"{query}&signature={live.sign(query)}", headers=forged)[0] == 200


def test_large_body_is_rejected_quickly(live: LiveKey) -> None:
    start = time.monotonic()
    status, _answer = live.send(f"timestamp={stamp()}", b"&" * 70_000)
    assert status == 413
    assert time.monotonic() - start < 5


def test_server_does_not_say_what_it_runs_on(live: LiveKey) -> None:
    connection = http.client.HTTPConnection(live.host, live.port, timeout=20)
    connection.request("GET", "/api/v3/ping")
    answer = connection.getresponse()
    assert answer.getheader("Server") == "portal"
    answer.read()
    connection.close()


def test_independent_client_is_answered(live: LiveKey, live_portal: LivePortal) -> None:
    pairs = [("note", "ربات من + 1&2"), ("timestamp", stamp())]
    for quote in (urllib.parse.quote_plus, urllib.parse.quote):
        call = BinanceClient(live.key_id, live.secret).call("GET", RESTRICTIONS, pairs, quote_via=quote)
        status, answer = call.send(live_portal.url)
        assert (status, answer["enableReading"]) == (200, True)
