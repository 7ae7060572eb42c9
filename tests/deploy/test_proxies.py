"""A Binance client through the real nginx and the real Caddy, with the configurations that operators get."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from apikeys.models import ApiKey, GatewayToken
from apikeys.models.tokens import digest_of
from apikeys.policy.choices import KeyState
from hitobit_portal.http import commit_barrier
from tests.support import people, recipes
from tests.support.binance_client import BinanceClient, Call
from tests.support.gateways import GatewayProcess, token
from tests.support.production import ROOT
from tests.support.servers import die_with_parent, free_port

pytestmark = [pytest.mark.verify, pytest.mark.postgres, pytest.mark.usefixtures("kept_db")]
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
START_SECONDS = 120.0
HOME = "127.0.0.1"


@dataclass
class Proxy:
    """A proxy in front of ``gateway`` and the example upstream."""

    name: str
    port: int
    gateway: GatewayProcess
    token_file: Path

    def send(
        self, call: Call, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, Any, Any]:
        """(status, document, headers) that the client gets."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            path = call.path + ("?" + call.query.decode() if call.query else "")
            connection.request(call.method, path, body, {**call.headers, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), dict(answer.getheaders())
        finally:
            connection.close()


def programs(
    name: str, directory: Path, port: int, gateway: int, upstream: int, bearer: str
) -> tuple[list[str], dict[str, str]]:
    """The command that serves the shipped configuration with these ports, in ``directory``, and its environment."""
    recipe = recipes.RECIPES["nginx-plain" if name == "nginx" else name]
    program = recipe.find()
    assert program
    setting = replace(
        recipes.setting_for(directory, gateway_port=gateway, exchange_port=upstream, token=bearer), port=port
    )
    return recipe.prepare(setting, program), recipe.environ(setting)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    kept_db: None,
) -> Iterator[Proxy]:
    name = request.param
    if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"):
        if IN_CI:
            pytest.fail(f"{name} is not installed (Debian: apt-get install {name}).")
        pytest.skip(f"{name} is not installed")
    directory = tmp_path_factory.mktemp(name)
    upstream, port = free_port(), free_port()
    bearer = "hbgw_for-the-proxies-of-the-tests"
    with GatewayProcess(bearer, {"PORTAL_GATEWAY_KEY_RATE": "40"}) as gateway:
        command, environ = programs(name, directory, port, gateway.port, upstream, bearer)
        commands = [
            [sys.executable, str(ROOT / "deploy" / "example_upstream.py"), str(upstream)],
            command,
        ]
        running: list[subprocess.Popen[bytes]] = []
        try:
            for command in commands:
                running.append(
                    subprocess.Popen(
                        command, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL, preexec_fn=die_with_parent,
                    )
                )  # fmt: skip
            deadline = time.monotonic() + START_SECONDS
            while not (listens(port) and listens(upstream)):
                assert time.monotonic() < deadline, f"{name} does not start"
                time.sleep(0.05)
            yield Proxy(name, port, gateway, directory)
        finally:
            for process in running:
                process.terminate()
                process.wait(START_SECONDS)


@pytest.fixture
def front(proxy: Proxy) -> Proxy:
    """With its token in the database, from which a test may have taken it."""
    put_in_place(proxy.gateway.bearer)
    return proxy


def put_in_place(bearer: str) -> None:
    if GatewayToken.objects.get_or_create(name="proxy", digest=digest_of(bearer))[1]:
        commit_barrier.changed()
        commit_barrier.wait()


@pytest.fixture
def key() -> ApiKey:
    return people.key_of(people.customer())


def signed(
    key: ApiKey, path: str = "/api/v3/account", method: str = "GET", secret: str = "", **more: str
) -> Call:
    pairs = {"timestamp": str(time.time_ns() // 1_000_000), **more}
    client = BinanceClient(key.key_id, secret or people.secret_of(key))
    return client.call(method, path, list(pairs.items()), content_type=None)


def paths_taken(front: Proxy) -> dict[str, int]:
    """How many requests the gateway decided so far, by the way of the decision."""
    text = front.gateway.ask("GET", "/metrics").body.decode()
    return {
        way: int(float(number))
        for way, number in re.findall(r'portal_gateway_ways_total\{way="(\w+)"\} ([0-9.e+]+)', text)
    }


def said_raw(front: Proxy, key: ApiKey, target: bytes) -> tuple[int, bytes]:
    """(status, body) of the answer to these bytes of a target."""
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as peer:
        lines = [b"GET %b HTTP/1.1" % target, b"Host: 127.0.0.1", b"X-MBX-APIKEY: " + key.key_id.encode()]
        peer.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
        answer = b""
        while piece := peer.recv(65_536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def code(answer: tuple[int, Any, Any]) -> tuple[int, int]:
    return answer[0], answer[1].get("code", 0)


def test_what_may_pass_reaches_the_exchange_with_the_customers_name(front: Proxy, key: ApiKey) -> None:
    call = signed(key, symbol="BTC IRT", note="a+b/ü")
    status, received, _headers = front.send(call)
    assert status == 200
    assert received == {
        "path": f"{call.path}?{call.query.decode()}", "subject": None, "user": str(key.owner_id), "key": key.key_id,
        "permissions": "read", "security": "signed", "client_ip": HOME, "underscores": [],
    }  # fmt: skip


def test_ordinary_requests_are_decided_by_the_quick_way(front: Proxy) -> None:
    """The first of a key asks the database; later ones do when the key cache is not fresh."""
    before, deadline = paths_taken(front), time.monotonic() + 120
    while paths_taken(front).get("quick", 0) < before.get("quick", 0) + 15:
        assert time.monotonic() < deadline, (before, paths_taken(front))
        key = people.key_of(people.customer())
        for n in range(10):
            assert front.send(signed(key, symbol=f"BTC{n}"))[0] == 200
            assert front.send(signed(key, symbol="BTC IRT", note="a+b/ü"))[0] == 200


@pytest.mark.parametrize("byte", [b"\xc3\xbc", b"\xff", b"\x80", b'"', b"<", b">", b"|", b"%", b"[", b"\\"])
def test_byte_that_no_query_has_is_a_wrong_signature(front: Proxy, key: ApiKey, byte: bytes) -> None:
    query = b"symbol=B%bT&timestamp=%d&signature=%b" % (byte, time.time_ns() // 1_000_000, b"0" * 64)
    status, body = said_raw(front, key, b"/api/v3/account?" + query)
    assert (status, json.loads(body)["code"]) == (400, -1022)


@pytest.mark.parametrize("behind", [b"#x=1", b"?x=1", b"&x=1", b"#"])
def test_what_stands_behind_the_signed_query_does_not_pass(front: Proxy, key: ApiKey, behind: bytes) -> None:
    call = signed(key)
    right = call.path.encode() + b"?" + call.query
    assert said_raw(front, key, right)[0] == 200
    assert said_raw(front, key, right + behind)[0] == 400


@pytest.mark.parametrize(
    "target", [b"/api/v3/account#?%b", b"/api/v3/account%%23?%b", b"http://127.0.0.1/api/v3/account?%b"]
)
def test_path_that_ends_elsewhere_does_not_hide_the_query(front: Proxy, key: ApiKey, target: bytes) -> None:
    """What passes reaches the exchange with the query string that was signed."""
    call = signed(key)
    status, body = said_raw(front, key, target % call.query)
    if status == 200:
        assert json.loads(body)["path"].partition("?")[2] == call.query.decode()
        assert "#" not in json.loads(body)["path"]


def test_rejections_are_in_the_contracts_words(front: Proxy, key: ApiKey) -> None:
    wrong = signed(key, secret="w" * 64)
    assert code(front.send(wrong)) == (400, -1022)
    assert "Retry-After" not in front.send(wrong)[2]
    assert front.send(wrong)[1]["msg"] == "Signature for this request is not valid."
    assert code(front.send(signed(key, "/api/v3/order", "POST"), body=None)) == (401, -2015)
    assert code(front.send(signed(key, "/what/is/this"))) == (401, -2015)
    for path in ("/api/v3/../../x", "/api/v3/%2e%2e/x", "/api/v3//order", "/api/v3/order;x"):
        assert code(front.send(signed(key, path))) == (400, -1000)
    assert code(front.send(signed(key, timestamp="1499827319559"))) == (400, -1021)
    assert code(front.send(Call("GET", "/api/v3/account", b"timestamp=1", b"", {}))) == (401, -2014)
    key.apply(["read"], "trusted", ["203.0.113.9"])
    commit_barrier.changed()
    commit_barrier.wait()
    assert code(front.send(signed(key))) == (401, -2015)


def test_key_that_is_revoked_in_the_middle_is_refused_from_the_next_request_on(
    front: Proxy, key: ApiKey
) -> None:
    assert [front.send(signed(key))[0] for _ in range(5)] == [200] * 5
    key.set_state(KeyState.REVOKED)
    commit_barrier.changed()
    commit_barrier.wait()
    assert {
        code(front.send(BinanceClient(key.key_id, "x" * 64).call("GET", "/api/v3/account"))) for _ in range(3)
    } == {(401, -2015)}


def test_what_the_client_says_of_itself_changes_nothing(front: Proxy, key: ApiKey) -> None:
    spoofed = {
        "X-Portal-User": "1", "X-Portal-Key": "k", "X-Portal-Permissions": "withdraw", "X-Portal-Status": "200",
        "X-Portal-Security": "none", "X-Portal-Subject": "1",
        "X-Client-IP": "203.0.113.9", "X_Client_IP": "203.0.113.9", "X-Forwarded-For": "203.0.113.9",
        "X-Required-Permission": "read", "X-Original-Method": "GET", "Authorization": "Bearer hbgw_mine",
        "X-Required-Security": "none", "X-Real-IP": "203.0.113.9", "X-Original-URL": "https://api.example/api/v3/x?a=1",
        "X-Portal-Answer": "client",
    }  # fmt: skip
    status, received, _headers = front.send(signed(key), spoofed)
    names = ("user", "subject", "key", "permissions", "client_ip", "security")
    expected = (200, str(key.owner_id), None, key.key_id, "read", HOME, "signed")
    assert (status, *map(received.get, names)) == expected
    hops = {
        "Connection": "X-Portal-User, X-Portal-Permissions, X-Client-IP",
        "X_Portal_User": "1",
        "X_Portal_Subject": "1",
        "X-Portal_Key": "k",
    }
    _status, again, _headers = front.send(signed(key), hops)
    assert [again.get(name) for name in names] == [received[name] for name in names]
    assert again["underscores"] == []
    key.owner.external_id = f"customer:{key.owner_id}"
    key.owner.save(update_fields=["external_id"])
    commit_barrier.changed()
    commit_barrier.wait()
    assert front.send(signed(key), spoofed)[1]["subject"] == key.owner.external_id
    other = signed(key)
    elsewhere = {"X-Original-URI": f"/api/v3/account?{other.query.decode()}"}
    assert code(front.send(signed(key, "/api/v3/order", "DELETE"), {**spoofed, **elsewhere})) == (401, -2015)
    forged = Call("GET", "/api/v3/account", b"timestamp=1", b"", {"X-MBX-APIKEY": key.key_id})
    for name in ("X-Original-URI", "X-Forwarded-Uri"):
        assert front.send(forged, {name: elsewhere["X-Original-URI"]})[0] in (400, 401)
    key.apply(["read"], "trusted", ["203.0.113.9"])
    commit_barrier.changed()
    commit_barrier.wait()
    assert code(front.send(signed(key), spoofed)) == (401, -2015)


@pytest.mark.parametrize("security", ["none", "key"])
def test_client_does_not_choose_to_need_no_signature(front: Proxy, key: ApiKey, security: str) -> None:
    """SECURITY: the proxy says what a route needs, also where it is what a request needs anyway."""
    unsigned = Call("GET", "/api/v3/account", b"symbol=BTCIRT", b"", {"X-MBX-APIKEY": key.key_id})
    for name in ("X-Required-Security", "x-required-security", "X_Required_Security", "X-Required_Security"):
        assert code(front.send(unsigned, {name: security})) == (400, -1102)
    assert code(front.send(unsigned, {"Connection": "X-Required-Security"})) == (400, -1102)


def test_head_needs_what_get_needs(front: Proxy, key: ApiKey) -> None:
    right = signed(key, method="HEAD")
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=15)
    for query, status in ((right.query, 200), (right.query + b"&a=1", 400)):
        connection.request("HEAD", f"{right.path}?{query.decode()}", headers={"X-MBX-APIKEY": key.key_id})
        response = connection.getresponse()
        assert (response.status, response.read()) == (status, b"")
        response.close()
        connection.close()


def test_body_that_nobody_checked_does_not_pass(front: Proxy, key: ApiKey) -> None:
    assert front.send(signed(key), body=b"quantity=1000000")[0] == 400
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=15)
    call = signed(key)
    connection.request(
        "GET",
        f"{call.path}?{call.query.decode()}",
        iter([b"quantity=", b"1000000"]),
        call.headers,
        encode_chunked=True,
    )
    try:
        assert connection.getresponse().status >= 400
    except http.client.HTTPException:
        pass  # hung up on
    finally:
        connection.close()


def test_rate_limit_says_when_to_come_back(front: Proxy, key: ApiKey) -> None:
    # The bucket fills again meanwhile, two in three seconds: sooner or later it is empty.
    answers = [front.send(signed(key)) for _ in range(40)]
    assert [code(answer) for answer in answers] == [(200, 0)] * 40
    refused = (answer for answer in iter(lambda: front.send(signed(key)), None) if answer[0] != 200)
    status, document, headers = next(refused)
    assert (status, document["code"]) == (429, -1003)
    assert re.fullmatch("[0-9]{1,2}", headers["Retry-After"])


def test_nothing_passes_without_the_portals_word(front: Proxy, key: ApiKey) -> None:
    process = front.gateway.process
    assert process is not None
    pids = [
        int(pid)
        for pid in subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True).stdout.split()
    ]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        assert code(front.send(signed(key))) == (503, -1001)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert code(front.send(signed(key))) == (200, 0)
    token()
    GatewayToken.objects.filter(name="proxy").delete()
    commit_barrier.changed()
    commit_barrier.wait()
    assert code(front.send(signed(key))) == (503, -1001)


def test_stopped_portal_fails_closed(front: Proxy, key: ApiKey) -> None:
    front.gateway.stop()
    try:
        assert code(front.send(signed(key))) == (503, -1001)
    finally:
        front.gateway.start()
    assert code(front.send(signed(key))) == (200, 0)
