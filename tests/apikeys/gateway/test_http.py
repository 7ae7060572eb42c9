"""The authorization API over real HTTP: three forms of a request, tokens, limits, statistics."""

import secrets
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from apikeys.actions import rotation
from apikeys.models import AddressUse, ApiKey, Credential, DailyUse, GatewayToken, Refusal, RescueRequest
from apikeys.policy import public_keys
from apikeys.usage import recorder
from hitobit_portal.http import commit_barrier
from hitobit_portal.security import crypto
from tests.support import key_pairs, people
from tests.support.binance_client import BinanceClient, Call
from tests.support.gateways import ADDRESS, GatewayProcess, auth_headers, token

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("kept_db")]


@pytest.fixture(scope="module")
def process(kept_db: None) -> Iterator[GatewayProcess]:
    with GatewayProcess(token()) as process:
        yield process


@pytest.fixture
def gateway(process: GatewayProcess) -> Iterator[GatewayProcess]:
    bearer = process.bearer
    yield process
    process.bearer = bearer  # a test may have asked with another one


@pytest.fixture
def key() -> ApiKey:
    return people.key_of(people.customer())


def signed(key: ApiKey, secret: str = "", method: str = "GET", **parameters: str) -> Call:
    client = BinanceClient(key.key_id, secret or people.secret_of(key))
    pairs = {"symbol": "BTCIRT", "timestamp": str(time.time_ns() // 1_000_000), **parameters}
    return client.call(method, "/api/v3/account", list(pairs.items()))


def all_three(
    gateway: GatewayProcess, call: Call, permission: str = "read", address: str = ADDRESS
) -> set[tuple[int, int]]:
    """Return (status for the client, code) for each form; (200, 0) if allowed."""
    auth, envoy = gateway.auth(call, permission, address), gateway.envoy(call, permission, address)
    document = gateway.authorize(call, permission=permission, address=address)
    return {
        (200, 0) if auth.status == 204 else (int(auth.headers["x-portal-status"]), auth.code),
        (200, 0) if document["allowed"] else (document["status"], document["code"]),
        (200, 0) if envoy.status == 200 else (envoy.status, envoy.json()["code"]),
    }


def counted(key: ApiKey, wanted: dict[str, int]) -> dict[str, int]:
    """Return the counted requests of the key by outcome, when they are as expected or after a few batches."""
    deadline = time.monotonic() + 60
    while True:
        counts: Counter[str] = Counter()
        for row in DailyUse.objects.filter(key=key):
            counts[row.outcome] += row.count
        if dict(counts) == wanted or time.monotonic() > deadline:
            return dict(counts)
        time.sleep(0.1)


def test_three_forms_of_a_request_get_the_same_decision(gateway: GatewayProcess, key: ApiKey) -> None:
    call = signed(key)
    answer = gateway.auth(call)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["x-portal-user"] == str(key.owner_id)
    assert answer.headers["x-portal-key"] == key.key_id
    assert answer.headers["x-portal-permissions"] == "read"
    assert gateway.authorize(call) == {
        "allowed": True, "user": str(key.owner_id), "key": key.key_id, "permissions": ["read"],
    }  # fmt: skip
    assert all_three(gateway, call) == {(200, 0)}
    refused = gateway.auth(call, "trade")
    assert (refused.status, refused.body) == (401, b"")
    assert refused.headers["x-portal-message"] == "Invalid API-key, IP, or permissions for action."
    assert all_three(gateway, call, "trade") == {(401, -2015)}
    assert all_three(gateway, signed(key, "w" * 64)) == {(400, -1022)}
    assert all_three(gateway, signed(key, timestamp="1")) == {(400, -1021)}
    assert all_three(gateway, signed(key, recvWindow="60001")) == {(400, -1131)}
    assert all_three(gateway, BinanceClient("u" * 64, "s").call("GET", "/", [("timestamp", "1")])) == {
        (401, -2015)
    }
    assert all_three(gateway, BinanceClient("short", "s").call("GET", "/", [("timestamp", "1")])) == {
        (401, -2014)
    }
    assert all_three(gateway, call, address="not an address") == {(401, -2015)}


def test_every_yes_names_the_exchanges_own_id_from_the_moment_it_is_set(
    gateway: GatewayProcess, key: ApiKey
) -> None:
    before = [gateway.auth(signed(key)) for _ in range(3)][-1]
    assert before.status == 204
    assert "x-portal-subject" not in before.headers
    assert "subject" not in gateway.authorize(signed(key))
    key.owner.external_id = f"ext:{key.owner_id}@hitobit-1.a_b"
    key.owner.save(update_fields=["external_id"])
    commit_barrier.changed()
    commit_barrier.wait()
    subjects = [gateway.auth(signed(key)).headers["x-portal-subject"] for _ in range(3)]
    subjects += [gateway.envoy(signed(key)).headers["x-portal-subject"] for _ in range(3)]
    subjects += [gateway.authorize(signed(key))["subject"], gateway.authorize(signed(key))["subject"]]
    assert subjects == [key.owner.external_id] * 8
    refused = gateway.auth(signed(key), "trade")
    assert "x-portal-subject" not in refused.headers
    assert "subject" not in gateway.authorize(signed(key), permission="trade")


def test_batch_is_decided_in_order_and_bodies_are_signed(gateway: GatewayProcess, key: ApiKey) -> None:
    client = BinanceClient(key.key_id, people.secret_of(key))
    now = ("timestamp", str(time.time_ns() // 1_000_000))
    form = client.call("POST", "/api/v3/order", [], [("symbol", "BTC IRT"), now], sign_in="body")
    calls = [signed(key), signed(key, "w" * 64), form, signed(key)]
    decisions = gateway.authorize(*calls)["decisions"]
    assert [decision["allowed"] for decision in decisions] == [True, False, True, True]
    assert gateway.envoy(form).status == 200


def test_public_key_signatures_are_accepted_and_foreign_ones_rejected(gateway: GatewayProcess) -> None:
    owner = people.customer()
    pairs: list[key_pairs.Private] = [key_pairs.new_ed25519(), key_pairs.rsa_of(3072)]
    for n, private in enumerate(pairs):
        key = people.key_of(owner, f"bot {n}")
        Credential.objects.filter(key=key).delete()
        Credential.new(key, public_keys.parse(key_pairs.public_pem(private))).save()
        query = key_pairs.signed_query(private)
        right = Call("GET", "/", query.encode(), b"", {"X-MBX-APIKEY": key.key_id})
        wrong = Call("GET", "/", ("a=1&" + query).encode(), b"", {"X-MBX-APIKEY": key.key_id})
        assert [all_three(gateway, right), all_three(gateway, wrong)] == [{(200, 0)}, {(400, -1022)}]


def test_without_a_valid_token_every_response_is_403_and_empty(gateway: GatewayProcess, key: ApiKey) -> None:
    paths = ("auth", "authorize", "envoy/api/v3/order", "openapi.json", "nothing", "")
    for bearer in ("", "wrong", gateway.bearer[:-1], gateway.bearer + "x"):
        for path in paths:
            for method in ("GET", "POST"):
                answer = gateway.ask(
                    method, "/gateway/v1/" + path, {"X-MBX-APIKEY": key.key_id}, token=bearer
                )
                assert (answer.status, answer.body) == (403, b"")
                assert not [name for name in answer.headers if name.startswith("x-portal")]


def test_token_is_valid_until_revoked_and_others_stay_valid(gateway: GatewayProcess, key: ApiKey) -> None:
    gateway.bearer, second = token("first of two"), token("second of two")
    assert gateway.ask("GET", "/gateway/v1/openapi.json", token=second).json()["openapi"] == "3.1.0"
    assert gateway.auth(signed(key)).status == 204
    call_command("gateway_token", "revoke", "first of two")
    commit_barrier.wait()
    assert gateway.auth(signed(key)).status == 403
    gateway.bearer = second
    assert gateway.auth(signed(key)).status == 204
    assert GatewayToken.objects.get(name="second of two").digest != second


def test_unknown_key_is_known_after_its_creation(gateway: GatewayProcess) -> None:
    owner, key_id = people.customer(), secrets.token_hex(32)
    later = ApiKey.objects.create_with_secret
    unknown = BinanceClient(key_id, "s" * 64).call(
        "GET", "/", [("timestamp", str(time.time_ns() // 1_000_000))]
    )
    assert {gateway.auth(unknown).code for _ in range(3)} == {-2015}
    key = later(owner.user, "late", uuid.uuid4())
    ApiKey.objects.filter(pk=key.pk).update(key_id=key_id)
    commit_barrier.changed()
    commit_barrier.wait()
    key.refresh_from_db()
    assert gateway.auth(signed(key)).status == 204


def test_statistics_reach_the_owner(gateway: GatewayProcess, key: ApiKey) -> None:
    for _ in range(5):
        assert gateway.auth(signed(key)).status == 204
    for _ in range(3):
        assert gateway.auth(signed(key, "w" * 64)).code == -1022
    assert gateway.auth(signed(key), "trade").code == -2015
    assert counted(key, {"allowed": 5, "signature": 3, "permission": 1}) == {
        "allowed": 5, "signature": 3, "permission": 1,
    }  # fmt: skip
    key.refresh_from_db()
    assert key.last_used_ip == ADDRESS
    assert key.skew_ms is not None
    assert abs(key.skew_ms) < 60_000
    assert AddressUse.objects.get(key=key).count == 5
    assert (
        sorted(Refusal.objects.filter(key=key).values_list("outcome", flat=True))
        == ["permission"] + ["signature"] * 3
    )


def test_rejections_say_which_request_it_was_and_when(gateway: GatewayProcess, key: ApiKey) -> None:
    before = timezone.now()
    call = signed(key, "w" * 64, "DELETE")
    gateway.auth(call)
    after = timezone.now()
    gateway.authorize(call)
    gateway.ask("DELETE", f"/gateway/v1/check{call.path}?{call.query.decode()}", auth_headers(call))
    assert counted(key, {"signature": 3}) == {"signature": 3}
    rows = list(Refusal.objects.filter(key=key).order_by("at"))
    assert {(row.method, row.path) for row in rows} == {("DELETE", "/api/v3/account")}
    assert before <= rows[0].at <= after, "the time of the request, and not that of the batch"
    assert call.query.decode().rpartition("=")[2] not in str([vars(row) for row in rows])


def test_new_address_notifies_the_owner_and_a_wrong_signature_does_not(
    gateway: GatewayProcess, key: ApiKey
) -> None:
    key.apply(["read"], "trusted", ["203.0.113.9"])
    assert gateway.auth(signed(key, "w" * 64), address="198.51.100.2").code == -2015
    assert gateway.auth(signed(key), address="198.51.100.1").code == -2015
    assert counted(key, {"address_refused": 2}) == {"address_refused": 2}
    assert list(RescueRequest.objects.filter(key=key).values_list("address", flat=True)) == ["198.51.100.1"]


def test_first_use_of_a_new_secret_ends_the_old_one_before_the_response(
    gateway: GatewayProcess, key: ApiKey
) -> None:
    old = people.secret_of(key)
    new = rotation.rotate(key, None, 0, uuid.uuid4())
    secret = crypto.unseal(new.sealed, new.seal_owner).decode()
    assert gateway.auth(signed(key, old)).status == 204
    assert gateway.auth(signed(key, secret)).status == 204
    deadline = time.monotonic() + 60  # the gateway receives the end of the old secret within a lease
    while (code := gateway.auth(signed(key, old)).code) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert code == -1022
    assert gateway.auth(signed(key, secret)).status == 204


def test_statistics_are_written_at_shutdown(key: ApiKey) -> None:
    with GatewayProcess(token()) as process:
        for _ in range(7):
            assert process.auth(signed(key)).status == 204
    assert counted(key, {"allowed": 7}) == {"allowed": 7}


def test_two_processes_share_one_limit_and_one_replay_guard_in_valkey(key: ApiKey, valkey_url: str) -> None:
    environ = {
        "PORTAL_GATEWAY_LIMITS": "valkey", "PORTAL_GATEWAY_KEY_RATE": "6", "PORTAL_REPLAY_GUARD": "valkey",
        "REDIS_URL": valkey_url,
    }  # fmt: skip
    bearer = token()
    other = people.key_of(people.customer())
    with (
        GatewayProcess(bearer, environ) as first,
        GatewayProcess(bearer, environ) as second,
        ThreadPoolExecutor(10) as pool,
    ):
        calls = [signed(key, number=str(n)) for n in range(40)]
        answers = list(pool.map(lambda n: [first, second][n % 2].auth(calls[n]), range(40)))
        assert Counter(answer.status for answer in answers) == {204: 6, 403: 34}
        refused = next(answer for answer in answers if answer.status == 403)
        assert (refused.code, refused.headers["x-portal-status"]) == (-1003, "429")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        copy = signed(other)
        answers = list(pool.map(lambda n: [first, second][n % 2].auth(copy), range(50)))
        assert Counter(answer.status for answer in answers)[204] == 1


def test_local_limits_count_requests_that_the_holder_signed(key: ApiKey) -> None:
    environ = {"PORTAL_GATEWAY_KEY_RATE": "5", "PORTAL_REPLAY_GUARD": "process"}
    with GatewayProcess(token(), environ) as process, ThreadPoolExecutor(8) as pool:
        # Requests with the public id only do not count.
        assert {process.auth(signed(key, "w" * 64)).code for _ in range(10)} == {-1022}
        copy = signed(key)
        statuses = Counter(pool.map(lambda _n: process.auth(copy).status, range(5)))
        assert statuses[204] == 1
        assert {process.auth(signed(key)).code for _ in range(3)} == {-1003}


def test_old_addresses_are_removed_and_others_kept(gateway: GatewayProcess, key: ApiKey) -> None:
    past = timezone.now() - timedelta(days=1)
    for n in range(recorder.KEPT_ADDRESSES):
        AddressUse.objects.create(
            key=key, address=f"192.0.2.{n}", last_at=past + timedelta(seconds=n), count=1
        )
    assert gateway.auth(signed(key)).status == 204
    assert counted(key, {"allowed": 1}) == {"allowed": 1}
    known = set(AddressUse.objects.filter(key=key).values_list("address", flat=True))
    assert len(known) == recorder.KEPT_ADDRESSES
    assert ADDRESS in known
    assert "192.0.2.0" not in known
