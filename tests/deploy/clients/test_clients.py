"""Clients written for Binance's API, as their users install them, through each proxy: what works, and what does not."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from apikeys.models import ApiKey, Credential
from apikeys.policy import public_keys
from tests.deploy.clients.exchange_answers import ANSWERS, RESULTS
from tests.deploy.clients.expected import CALLS, CLIENTS, HERE, KEYS, Client
from tests.deploy.recipes.cases import key_with
from tests.deploy.recipes.test_matrix import BEARER, RATES
from tests.support import key_pairs, people, recipes
from tests.support.gateways import GatewayProcess
from tests.support.production import ROOT

pytestmark = [pytest.mark.verify, pytest.mark.postgres, pytest.mark.usefixtures("kept_db")]
SECONDS = 600


@pytest.fixture(scope="module")
def fronts(kept_db: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, recipes.Front]]:
    """All proxies at once, over one gateway. Locally, those that are installed."""
    with ExitStack() as stack:
        gateway = stack.enter_context(GatewayProcess(BEARER, RATES, grpc=True))
        running = {}
        for name, recipe in recipes.RECIPES.items():
            if recipes.IN_CI:
                recipes.require(recipe)
            if recipe.find() is not None:
                started = recipes.front(recipe, gateway, tmp_path_factory.mktemp(name), ANSWERS)
                running[name] = stack.enter_context(started)
                running[name].trust()
        yield running


def command(client: Client) -> list[str]:
    name = client.name.replace("-", "_") if client.registry == "PyPI" else client.name
    if client.runs == "node":
        program = recipes.node() or recipes.missing(
            "npm's clients are not installed: `npm ci` in tests/deploy/clients"
        )
        return [program, str(HERE / "node_clients.mjs"), name]
    program = sys.executable
    if client.runs == "python":
        installed = ROOT / ".venv-clients/bin/python"
        program = str(installed)
        if not installed.exists():
            recipes.missing("PyPI's clients are not installed: `make verify` does it")
    return [program, str(HERE / "python_clients.py"), name]


def made_keys() -> dict[str, tuple[ApiKey, str]]:
    """Return a key of each kind, with what its client signs with."""
    made = {}
    for kind in KEYS:
        key = key_with("read", "trade", "withdraw")
        secret = people.secret_of(key)
        if kind != "hmac":
            private = key_pairs.new_ed25519() if kind == "ed25519" else key_pairs.rsa_of(3072)
            secret = key_pairs.private_pem(private)
            Credential.objects.filter(key=key).delete()
            Credential.new(key, public_keys.parse(key_pairs.public_pem(private))).save()
        made[kind] = (key, secret)
    recipes.settle()
    return made


def run(
    client: Client, fronts: dict[str, recipes.Front], keys: dict[str, tuple[ApiKey, str]]
) -> list[dict[str, str]]:
    job = {
        "fronts": {name: f"http://127.0.0.1:{front.setting.port}" for name, front in fronts.items()},
        "keys": {kind: {"id": key.key_id, "secret": secret} for kind, (key, secret) in keys.items()},
    }
    result = subprocess.run(
        command(client), input=json.dumps(job), capture_output=True, text=True, timeout=SECONDS
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def expected(client: Client, front: recipes.Front, kind: str, call: str) -> str:
    """Return "works", or why the call fails."""
    form = client.forms.get(call)
    if form == "body" and "post_form" in front.recipe.refuses:
        return "the proxy takes no body"
    if form == "both" and "mixed" in front.recipe.refuses:
        return "the proxy takes no body beside a query string"
    return client.failure(kind, call) or "works"


@pytest.mark.parametrize("client", [pytest.param(each, id=name) for name, each in CLIENTS.items()])
def test_each_call_of_a_client_does_what_the_table_says(
    client: Client, fronts: dict[str, recipes.Front]
) -> None:
    keys = made_keys()
    before = {name: len(front.exchange.received) for name, front in fronts.items()}
    results = run(client, fronts, keys)
    calls = [call for call in CALLS if call not in client.missing]
    assert {(each["front"], each["key"], each["call"]) for each in results} == {
        (name, kind, call) for name in fronts for kind in KEYS for call in calls
    }
    wrong: dict[str, list[Any]] = defaultdict(list)
    for each in results:
        outcome = (
            "works"
            if each.get("value") == RESULTS[each["call"]]
            else each.get("error", each.get("value", ""))
        )
        should = expected(client, fronts[each["front"]], each["key"], each["call"])
        if (outcome == "works") != (should == "works"):
            wrong[f"{each['key']} {each['call']}: {outcome}; expected: {should}"].append(each["front"])
    assert not wrong, json.dumps(wrong, indent=1)
    ids = {key.key_id for key, _secret in keys.values()}
    for name, front in fronts.items():
        for request in front.exchange.received[before[name] :]:
            security = request.one("x-portal-security")
            assert request.one("x-portal-key") in (ids if security in ("key", "signed") else {None})
