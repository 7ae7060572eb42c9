"""An exchange moves in: import, login at its own provider, a key, its webhook, and the end of the account's requests.

The portal's server, its gateway, its sender and the provider are processes of their own. The customers and the back
office are those of deploy/examples/back_office.py.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml
from django.core.management import get_commands

from hitobit_portal.config.declarations import NAMES
from tests.commands.test_send_notices import wait_for
from tests.conftest import unavailable
from tests.support import moving_in, production, shipped_modules, truth
from tests.support.concurrency import kill_when
from tests.support.live_portal import LivePortal
from tests.support.production import ROOT
from tests.support.servers import Missing, create_database
from tests.support.webhook_receiver import Received, Receiver

CUSTOMERS, BATCH = 10_000, 500
PROGRAMS = 4
EXAMPLES = ROOT / "deploy/examples"
back_office = shipped_modules.load("examples/back_office.py")
#: A new key reads, from every address.
NEW_KEY = truth.KeyModel(trades=False)


@pytest.fixture
def portal(tmp_path: Path, postgres_url: str, valkey_url: str) -> Iterator[LivePortal]:
    """Two servers on PostgreSQL and Valkey."""
    cache, last = valkey_url.rpartition("/")[0], int(valkey_url.rpartition("/")[2])
    environ = {
        "DATABASE_URL": create_database(postgres_url),
        "REDIS_URL": f"{cache}/{last + 48}",
        "PORTAL_PROCESSES": "2",
        "PORTAL_GATEWAY_SECURITY_TYPES": "signed,key",
        "PORTAL_GATEWAY_KEY_RATE": "1000000000",
        "PORTAL_GATEWAY_ADDRESS_RATE": "1000000000",
        **production.PATIENT,
    }
    yield from running(tmp_path, environ)


def running(tmp_path: Path, environ: dict[str, str]) -> Iterator[LivePortal]:
    try:
        with moving_in.portal_with_provider(tmp_path, environ) as live:
            yield live
    except Missing as error:
        unavailable(str(error))


def import_killed_and_run_again(portal: LivePortal, customers: list[Any], directory: Path) -> None:
    users = directory / "users.csv"
    back_office.write_users(users, customers)
    command = ("import_users", str(users), "--format", "csv", "--batch", str(BATCH), "--json")
    with psycopg.connect(portal.environ["DATABASE_URL"], autocommit=True) as connection:

        def count(what: str = "external_id", table: str = "user") -> int:
            row = connection.execute(f"SELECT count({what}) FROM accounts_{table}".encode()).fetchone()
            assert row
            return int(row[0])

        devices = count("*", "totpdevice")
        kill_when(lambda: count() > CUSTOMERS // 4, command, portal.environ)
        before = count()
        assert 0 < before < CUSTOMERS, "it was killed in the middle"
        done = json.loads(portal.manage(*command))
        assert (done["created"], done["unchanged"], done["refused"]) == (CUSTOMERS - before, before, 0)
        assert count() == count("DISTINCT external_id") == CUSTOMERS
        assert count("*", "totpdevice") - devices == CUSTOMERS
        assert json.loads(portal.manage(*command))["unchanged"] == CUSTOMERS


@pytest.mark.verify
@pytest.mark.postgres
def test_ten_thousand_customers_move_in_and_one_who_is_stopped_gets_no_further_request_through(
    portal: LivePortal, tmp_path: Path
) -> None:
    customers = [back_office.Customer(f"c-{n}", f"+98935{n:07d}") for n in range(CUSTOMERS)]
    import_killed_and_run_again(portal, customers, tmp_path)
    sara = customers[CUSTOMERS // 2]
    scopes = ("--scope", "users:read,users:stop", "--networks", "127.0.0.1", "--days", "1")
    office = back_office.BackOffice(
        portal.url, portal.manage("management_token", "create", "office", *scopes).strip()
    )
    bearer = portal.manage("gateway_token", "create", "tehran-1").strip()
    with Receiver() as receiver:
        events = ("--events", "key.*,account.frozen")
        receiver.secrets.append(portal.manage("webhook", "create", "office", receiver.url, *events).strip())
        sara.log_in(portal.url)
        key_id, secret = sara.create_key("bot", portal.data_dir)
        assert arrived(receiver, "key.created", sara).document["data"]["api_key"] == key_id
        user = office.user_id(sara.external_id)
        check_no_request_passes_after_the_freeze(portal, office, user, bearer, (key_id, secret))
        frozen = arrived(receiver, "account.frozen", sara).document["data"]
        assert (frozen["customer"], frozen["detail"]["token"]) == (user, "office")
        assert [message.document for message in receiver.received if message.document is None] == []


def check_no_request_passes_after_the_freeze(
    portal: LivePortal, office: Any, user: int, bearer: str, pair: tuple[str, str]
) -> None:
    """Judge each response of a gateway under load by the moments of the API's request and of its answer."""
    key = truth.KnownKey(None, pair[0], None, pair[1], pair[1], history=[(0.0, 0.0, NEW_KEY)])
    checker, stop = truth.Checker(), threading.Event()
    port = int(portal.environ["PORTAL_GATEWAY_PORT"])
    programs = [
        threading.Thread(target=truth.program, args=(checker, [key], [port], bearer, stop, seed), daemon=True)
        for seed in range(PROGRAMS)
    ]
    for program in programs:
        program.start()
    try:
        wait_for(lambda: checker.seen["allowed"] > 100)
        begun = time.monotonic()
        key.history.append((begun, float("inf"), replace(NEW_KEY, owner_frozen=True)))
        office.freeze(user, "taken over")
        key.history[-1] = (begun, time.monotonic(), replace(NEW_KEY, owner_frozen=True))
        already = checker.seen["refused"]
        wait_for(lambda: checker.seen["refused"] > already + 500)
    finally:
        stop.set()
        for program in programs:
            program.join(60)
    assert checker.wrong == []
    assert set(checker.seen) <= {
        "allowed", "refused", "allowed by the key alone", "refused by the key alone",
    }, checker.seen  # fmt: skip


def arrived(receiver: Receiver, event: str, customer: Any) -> Received:
    """Return the first verified message of this event of the customer; wait for it."""

    def messages() -> list[Received]:
        return [
            message
            for message in list(receiver.received)
            if message.document
            and message.document["data"]["event"] == event
            and message.document["data"]["external_id"] == customer.external_id
        ]

    wait_for(messages)
    return messages()[0]


# --- deploy/examples --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services() -> Any:
    return yaml.safe_load((EXAMPLES / "compose.yaml").read_text(encoding="utf-8"))["services"]


@pytest.mark.verify
def test_the_example_runs_with_the_settings_of_its_compose_file(services: Any, tmp_path: Path) -> None:
    replaced = ("PORTAL_DATA_DIR", "PORTAL_OIDC_ISSUER", "PORTAL_OIDC_CLIENT_SECRET")
    settings = services["portal"]["environment"].items()
    environ = {name: value for name, value in settings if name not in replaced}
    for portal in running(tmp_path, environ):
        addresses = {
            "--portal": portal.url,
            "--gateway": f"http://127.0.0.1:{portal.environ['PORTAL_GATEWAY_PORT']}",
            "--data": str(portal.data_dir),
        }
        options = [part for pair in addresses.items() for part in pair]
        command = [sys.executable, str(EXAMPLES / "back_office.py"), *options]
        result = subprocess.run(command, cwd=ROOT, env=portal.environ, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, ""), portal.tail()
        assert [line[:2] for line in result.stdout.splitlines()] == [f"{n}." for n in range(1, 8)]


def test_services_of_the_example_share_one_loopback_and_the_settings(services: Any) -> None:
    assert set(services) == {"portal", "provider", "back-office"}
    portal, provider, office = (services[name] for name in ("portal", "provider", "back-office"))
    assert portal["command"] == ["run_demo"]
    assert portal["command"][0] in get_commands()
    assert set(portal["environment"]) <= NAMES
    assert office["environment"] == portal["environment"]
    assert office["image"] == portal["image"]
    assert {service.get("network_mode") for service in (provider, office)} == {"service:portal"}
    assert not [name for name, service in services.items() if "ports" in service]
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_addresses_secrets_and_files_of_the_example_agree(services: Any) -> None:
    settings, command = services["portal"]["environment"], services["provider"]["command"]
    issuer = urlsplit(settings["PORTAL_OIDC_ISSUER"])
    assert command[:2] == ["node", "provider.mjs"]
    assert command[2:] == [
        str(issuer.port), "http://127.0.0.1:8000/login/oidc/callback/", settings["PORTAL_OIDC_CLIENT_SECRET"],
    ]  # fmt: skip
    assert services["provider"]["healthcheck"]["test"][-1].startswith(f"{issuer.geturl()}/")
    context = EXAMPLES / services["provider"]["build"]["context"]
    copied = [
        name
        for line in services["provider"]["build"]["dockerfile_inline"].splitlines()
        if line.startswith("COPY ")
        for name in line.split()[1:-1]
    ]
    assert copied
    assert [name for name in copied if not (context / name).is_file()] == []
    assert (EXAMPLES / services["portal"]["build"]).resolve() == ROOT
    data = f"trial:{settings['PORTAL_DATA_DIR']}"
    source, target, _mode = services["back-office"]["volumes"][1].split(":")
    assert services["back-office"]["volumes"][0] == data == services["portal"]["volumes"][0]
    assert (EXAMPLES / source).is_file()
    assert services["back-office"]["entrypoint"] == [
        "/usr/bin/python3.11", target, "--data", settings["PORTAL_DATA_DIR"],
    ]  # fmt: skip
