"""Backup and restore as docs/operating.md has it: what comes back verifies what was signed before, and is whole."""

import base64
import json
import os
import secrets
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection

from accounts import audit
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from tests.apikeys.client_api.test_client_api import RESTRICTIONS, stamp
from tests.conftest import unavailable
from tests.support import people
from tests.support.binance_client import BinanceClient
from tests.support.gateways import database_url
from tests.support.production import HOST, ROOT
from tests.support.servers import create_database, postgres_directories

#: A portal on the restored database: asked what was signed beforehand, then its migrations and its audit trail.
RESTORED = """
import json, sys, django
django.setup()
from django.core.management import call_command
from django.test import Client
headers = {"x-forwarded-proto": "https", "host": sys.argv[1], **json.loads(sys.argv[3])}
answer = Client(raise_request_exception=False).get(sys.argv[2], headers=headers)
print(json.dumps({"status": answer.status_code, "body": answer.content.decode()}))
call_command("migrate", check_unapplied=True, verbosity=0)
call_command("verify_audit")
"""


def program(name: str, major: int) -> str:
    """A program of PostgreSQL that is at least as new as the server."""
    for directory in postgres_directories():
        path = directory / name
        if path.exists():
            output = subprocess.run([str(path), "--version"], capture_output=True, text=True).stdout
            if output and int(output.split()[2].partition(".")[0]) >= major:
                return str(path)
    unavailable(f"no {name} of PostgreSQL {major} or newer")
    raise AssertionError


def run(*command: str, password: str) -> None:
    environ = {**os.environ, "PGPASSWORD": password}
    result = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def restored(directory: Path) -> str:
    """The address of a new database that was restored from a dump of this test's."""
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        copy = sqlite3.connect(directory / "restored.sqlite3")
        connection.connection.backup(copy)
        copy.close()
        return f"sqlite:///{directory / 'restored.sqlite3'}"
    dump, major = directory / "portal.dump", connection.cursor().connection.info.server_version // 10_000
    source, target = database_url(), create_database(database_url())
    password = urlsplit(source).password or ""
    run(
        program("pg_dump", major),
        "--format=custom",
        "--no-owner",
        f"--file={dump}",
        source,
        password=password,
    )
    options = ("--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={target}")
    run(program("pg_restore", major), *options, str(dump), password=password)
    return target


def ask_restored(url: str, call: Any, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RESTORED, HOST, f"{RESTRICTIONS}?{call.query.decode()}", json.dumps(call.headers)],
        cwd=ROOT, env={**os.environ, "DATABASE_URL": url, **environ}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_restored_portal_verifies_what_keys_from_before_sign(tmp_path: Path) -> None:
    sara = people.customer()
    key, deleted = people.key_of(sara, "bot"), people.key_of(sara, "deleted before")
    secret, others = people.secret_of(key), people.secret_of(deleted)
    for _ in range(3):
        audit.record(KeyEvent.CHANGED, None, customer=sara.user, target=str(key.pk))
    deleted.set_state(KeyState.REVOKED)
    url = restored(tmp_path)
    key.set_state(KeyState.REVOKED)  # after the dump: the copy knows nothing of it

    def signed(key_id: str, by: str) -> Any:
        pairs = [("timestamp", stamp()), ("recvWindow", "60000")]
        return BinanceClient(key_id, by).call("GET", RESTRICTIONS, pairs)

    right = ask_restored(url, signed(key.key_id, secret))
    assert right.returncode == 0, right.stdout + right.stderr
    answer = json.loads(right.stdout.splitlines()[0])
    assert answer["status"] == 200, answer
    assert json.loads(answer["body"])["enableReading"] is True
    for refused in (signed(key.key_id, "w" * 64), signed(deleted.key_id, others)):
        assert json.loads(ask_restored(url, refused).stdout.splitlines()[0])["status"] in (400, 401)


@pytest.mark.django_db(transaction=True)
def test_a_dump_without_its_master_key_verifies_nothing(tmp_path: Path) -> None:
    """Whoever has the dump alone has no secret; and an operator who lost the key hears so from the audit trail."""
    key = people.key_of(people.customer())
    audit.record(KeyEvent.CREATED, None, customer=key.owner)
    call = BinanceClient(key.key_id, people.secret_of(key)).call(
        "GET", RESTRICTIONS, [("timestamp", stamp())]
    )
    other = f"other:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    result = ask_restored(restored(tmp_path), call, PORTAL_MASTER_KEYS=other)
    assert json.loads(result.stdout.splitlines()[0])["status"] >= 400
    assert result.returncode != 0
