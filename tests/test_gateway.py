"""The machine door over real HTTP: three forms of one question, the contract's answers, tokens, and what is counted."""

import time
from collections.abc import Iterator

import pytest

from apikeys.models import ApiKey, DailyUse, GatewayToken
from tests import people
from tests.binance_client import BinanceClient, Call
from tests.gateways import ADDRESS, GatewayProcess, token
from tests.people import Person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def gateway() -> Iterator[GatewayProcess]:
    with GatewayProcess(token()) as process:
        yield process


@pytest.fixture
def key() -> ApiKey:
    return people.key_of(people.customer())


def signed(key: ApiKey, **parameters: str) -> Call:
    client = BinanceClient(key.key_id, people.secret_of(key))
    pairs = {"symbol": "BTCIRT", "timestamp": str(time.time_ns() // 1_000_000), **parameters}
    return client.call("GET", "/api/v3/account", list(pairs.items()))


def test_three_forms_of_one_question_get_one_answer(gateway: GatewayProcess, key: ApiKey) -> None:
    call = signed(key)
    answer = gateway.auth(call)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["x-portal-user"] == str(key.owner_id)
    assert answer.headers["x-portal-key"] == key.key_id
    assert answer.headers["x-portal-permissions"] == "read"
    assert gateway.authorize(call) == {
        "allowed": True, "user": str(key.owner_id), "key": key.key_id, "permissions": ["read"],
    }  # fmt: skip
    assert gateway.envoy(call).status == 200
    refused = gateway.auth(call, "trade")
    assert (refused.status, refused.code, refused.headers["x-portal-status"]) == (401, -2015, "401")
    assert gateway.authorize(call, permission="trade")["code"] == -2015
    assert gateway.envoy(call, "trade").json()["code"] == -2015
