"""``revoke_keys``, ``rotate_master_key`` and ``tick``: what they hit, what they leave alone, and what a kill does."""

import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
from base64 import b64encode
from datetime import timedelta
from io import StringIO
from ipaddress import ip_network
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from accounts.factors import verification
from accounts.models import AuditEvent, LastRun, TotpDevice
from apikeys.actions import key_loader
from apikeys.management.commands import revoke_keys
from apikeys.models import AllowedNetwork, ApiKey, Credential
from apikeys.operations import reencrypt
from apikeys.policy.events import KeyEvent
from hitobit_portal.security import crypto
from tests.support import people
from tests.support.gateways import database_url
from tests.support.production import ROOT
from tests.support.servers import die_with_parent

NEW = b"n" * 32
KILLS = 4


def output(name: str, *arguments: str) -> Any:
    out = StringIO()
    call_command(name, *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def states() -> dict[str, str]:
    return dict(ApiKey.objects.values_list("label", "state"))


@pytest.fixture
def keys(db: None) -> dict[str, ApiKey]:
    sara, ali = people.customer(), people.customer()
    made = {name: people.key_of(owner, name) for name, owner in (("a", sara), ("b", sara), ("c", ali))}
    made["b"].apply(["read"], "trusted", ["203.0.113.7", "2001:db8::/64"])
    made["c"].apply(["read"], "trusted", ["203.0.113.128/25"])
    return made


def test_keys_are_shown_first_and_nothing_ends_without_yes_and_reason(keys: dict[str, ApiKey]) -> None:
    results = output("revoke_keys", "--all")
    assert (results["found"], results["revoked"]) == (3, 0)
    assert set(states().values()) == {"active"}
    with pytest.raises(CommandError, match="--reason"):
        output("revoke_keys", "--all", "--yes")
    for empty in (["--network", ""], ["--key", ""]):
        with pytest.raises(CommandError, match=r"empty|no such key"):
            output("revoke_keys", "--all", *empty, "--yes", "--reason", "leak")
    with pytest.raises(CommandError, match="no such key"):
        output("revoke_keys", "--key", keys["a"].key_id, "--key", "k" * 64, "--yes", "--reason", "leak")
    assert set(states().values()) == {"active"}
    with pytest.raises(CommandError, match="Select keys with"):
        output("revoke_keys", "--yes", "--reason", "leak")


@pytest.mark.parametrize(
    ("selectors", "ended"),
    [
        (["--network", "203.0.113.0/24"], {"b", "c"}),
        (["--network", "203.0.113.7"], {"b"}),
        (["--network", "2001:db8::/32"], {"b"}),
        (["--network", "198.51.100.0/24"], set()),
        (["--created-after", "2099-01-01"], set()),
        (["--created-before", "2099-01-01", "--network", "203.0.113.128/25"], {"c"}),
        (["--kind", "hmac"], {"a", "b", "c"}),
        (["--kind", "rsa"], set()),
        (["--all"], {"a", "b", "c"}),
    ],
)
def test_selectors_are_combined_and_each_key_leaves_an_event(
    keys: dict[str, ApiKey], selectors: list[str], ended: set[str]
) -> None:
    assert output("revoke_keys", *selectors, "--yes", "--reason", "leaked list")["revoked"] == len(ended)
    assert {name for name, state in states().items() if state == "revoked"} == ended
    events = AuditEvent.objects.filter(event=KeyEvent.REVOKED.value)
    assert {event.label for event in events} == ended
    assert all(event.detail["reason"] == "leaked list" for event in events)


ENTRIES = (
    "203.0.113.7", "203.0.113.0/24", "203.0.113.0/25", "203.0.113.128/25", "203.0.113.255", "203.0.112.0/23",
    "203.0.0.0/16", "203.0.114.0", "203.0.112.255", "8.0.0.0/8", "255.255.255.255", "2001:db8::/32", "2001:db8::/64",
    "2001:db8::1", "2001:db8:0:1::/64", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "2001::/24",
    "::1", "cb00:7107::",
)  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text", [*ENTRIES, "203.0.112.0/22", "128.0.0.0/1", "::/1", "2000::/3", "10.0.0.0/8"]
)
def test_entries_inside_a_network_are_those_that_python_calls_its_subnets(text: str) -> None:
    key = people.key_of(people.customer(), "all")
    AllowedNetwork.objects.bulk_create([AllowedNetwork(key=key, value=value) for value in ENTRIES])
    wanted: Any = ip_network(text)
    entries: list[Any] = [ip_network(value) for value in ENTRIES]
    inside = {str(e) for e in entries if e.version == wanted.version and e.subnet_of(wanted)}
    listed = AllowedNetwork.objects.inside(wanted).values_list("value", flat=True)
    assert sorted(str(ip_network(value)) for value in listed) == sorted(inside)


@pytest.mark.postgres
@pytest.mark.django_db
def test_database_looks_for_the_keys_of_a_network_in_an_index() -> None:
    listed = AllowedNetwork.objects.inside(ip_network("203.0.113.0/24"))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        plan = listed.order_by().explain()
    assert "keys_inside_a_network" in plan
    assert "Filter" not in plan


def test_key_with_two_entries_in_a_network_is_listed_once(keys: dict[str, ApiKey]) -> None:
    keys["b"].apply(["read"], "trusted", ["203.0.113.7", "203.0.113.9"])
    assert output("revoke_keys", "--network", "203.0.113.0/28")["keys"] == [keys["b"].key_id]


def test_interrupted_deletion_leaves_complete_batches_and_goes_on(
    keys: dict[str, ApiKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoke_keys, "BATCH", 2)
    command = ["revoke_keys", "--all", "--yes", "--reason", "leak"]

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(revoke_keys, "progress", interrupt)
        with pytest.raises(KeyboardInterrupt):
            call_command(*command)
    assert states() == {"a": "revoked", "b": "revoked", "c": "active"}
    assert output(*command) == {"found": 1, "revoked": 1, "keys": [keys["c"].key_id]}


def test_all_keys_are_listed_over_several_batches(
    keys: dict[str, ApiKey], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(revoke_keys, "READ", 2)
    monkeypatch.setattr(revoke_keys, "SHOWN", 2)
    listed = [key.key_id for key in keys.values()]
    assert output("revoke_keys", "--all") == {"found": 3, "revoked": 0, "keys": listed}
    call_command("revoke_keys", "--all")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        *listed[:2], "... and 1 more", "3 keys would be deleted; add --yes --reason WHY.",
    ]  # fmt: skip


def test_keys_of_a_customer_or_by_id(keys: dict[str, ApiKey]) -> None:
    owner = keys["a"].owner.phone
    both = ["--customer", owner, "--key", keys["a"].key_id, "--key", keys["c"].key_id]
    assert output("revoke_keys", *both)["keys"] == [keys["a"].key_id]
    assert output("revoke_keys", "--customer", owner, "--yes", "--reason", "x")["revoked"] == 2
    assert output("revoke_keys", "--customer", owner, "--yes", "--reason", "x") == {
        "found": 0,
        "revoked": 0,
        "keys": [],
    }


def test_everything_sealed_opens_under_the_new_key_alone(keys: dict[str, ApiKey], settings: Any) -> None:
    secrets = {key.pk: people.secret_of(key) for key in keys.values()}
    user = keys["a"].owner
    seed = TotpDevice.objects.get(user=user)
    plain = crypto.unseal(seed.seed_sealed, verification.seal_owner(user))
    TotpDevice.objects.filter(user=user).update(
        next_seed_sealed=crypto.seal(b"next", verification.seal_owner(user, "next"))
    )
    old = dict(settings.MASTER_KEYS)
    settings.MASTER_KEYS = {"new": NEW, **old}
    assert output("rotate_master_key", "--dry-run")["sealed"] == 0
    results = output("rotate_master_key", "--batch", "2")
    assert results["left"] == {"new": results["sealed"]}
    assert output("rotate_master_key")["sealed"] == 0
    settings.MASTER_KEYS = {"new": NEW}
    assert {key.pk: people.secret_of(key) for key in keys.values()} == secrets
    seed.refresh_from_db()
    assert crypto.unseal(seed.seed_sealed, verification.seal_owner(user)) == plain
    assert crypto.unseal(seed.next_seed_sealed, verification.seal_owner(user, "next")) == b"next"


def test_what_does_not_open_is_named_and_keeps_nothing_else_back(
    keys: dict[str, ApiKey], settings: Any
) -> None:
    broken = Credential.objects.get(key=keys["a"])
    Credential.objects.filter(pk=broken.pk).update(sealed="nonsense")
    settings.MASTER_KEYS = {"new": NEW, **settings.MASTER_KEYS}
    with pytest.raises(CommandError, match=f"row {broken.pk}: a sealed value is malformed"):
        output("rotate_master_key", "--batch", "1")
    assert set(reencrypt.count_values()) == {"new", "?"}


def test_recovery_codes_that_an_old_key_knows_are_said(keys: dict[str, ApiKey], settings: Any) -> None:
    sara = people.customer()
    people.recovery_codes(sara)
    [old] = settings.MASTER_KEYS
    settings.MASTER_KEYS = {"new": NEW, **settings.MASTER_KEYS}
    assert output("rotate_master_key")["digests"] == {old: 10}


@pytest.mark.verify
@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_rotation_killed_again_and_again_ends_and_every_key_opens_throughout(settings: Any) -> None:
    owners = [people.customer() for _ in range(20)]
    first = people.key_of(owners[0], "first")
    rows = [
        ApiKey(owner=owners[n % 20].user, label=f"k{n}", label_folded=f"k{n}", key_id=f"{n:064d}")
        for n in range(1_500)
    ]
    ApiKey.objects.bulk_create(rows)
    Credential.objects.bulk_create([Credential.new(key, None) for key in rows])
    ring = {"new": NEW, **settings.MASTER_KEYS}
    settings.MASTER_KEYS = ring
    text = ",".join(f"{name}:{b64encode(key).decode()}" for name, key in ring.items())
    environ = {**os.environ, "DATABASE_URL": database_url(), "PORTAL_MASTER_KEYS": text}
    stop, faults = threading.Event(), []

    def reader() -> None:
        try:
            while not stop.is_set():
                assert key_loader.load(random.choice(rows).key_id) is not None
        except Exception as fault:
            faults.append(fault)
        finally:
            connections.close_all()

    thread = threading.Thread(target=reader)
    thread.start()
    command = [sys.executable, "manage.py", "rotate_master_key", "--batch", "20"]
    kills = 0
    try:
        while kills < KILLS and reencrypt.count_values().get("new", 0) < 1_400:
            before = reencrypt.count_values().get("new", 0)
            with subprocess.Popen(
                command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
            ) as child:  # fmt: skip
                until = before + random.randrange(10, 120)
                while child.poll() is None and reencrypt.count_values().get("new", 0) <= until:
                    time.sleep(0.005)
                child.kill()
            kills += 1
        result = subprocess.run([*command, "--json"], cwd=ROOT, env=environ, capture_output=True, text=True)
    finally:
        stop.set()
        thread.join()
    assert result.returncode == 0, result.stderr[-1000:]
    assert kills == KILLS
    assert faults == []
    assert set(json.loads(result.stdout)["left"]) == {"new"}
    settings.MASTER_KEYS = {"new": NEW}
    assert people.secret_of(first)


@pytest.mark.django_db(transaction=True)
def test_tick_runs_everything_and_of_two_at_once_one() -> None:
    assert output("tick") == {"ran": True}
    assert set(LastRun.objects.values_list("name", flat=True)) == {"send_notices", "prune", "tick"}
    from accounts.management.commands import tick

    url = database_url() if connection.vendor == "postgresql" else os.environ["DATABASE_URL"]
    command = [sys.executable, "manage.py", "tick", "--json"]
    with tick.alone() as held:
        assert held
        assert output("tick") == {"ran": False}
        other = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, capture_output=True
        )
        assert json.loads(other.stdout) == {"ran": False}
    assert output("tick") == {"ran": True}


#: Sessions of this process with an open transaction, and those that hold the lock.
HOLDING = """
    SELECT count(*) FILTER (WHERE state LIKE 'idle in transaction%%'),
        count(*) FILTER (WHERE EXISTS (SELECT 1 FROM pg_locks held WHERE held.pid = each.pid AND held.objid = %s))
    FROM pg_stat_activity each WHERE datname = current_database()
"""


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_tick_holds_its_lock_without_a_transaction_or_a_connection_of_the_pool(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from accounts.management.commands import tick

    def holding() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(HOLDING, [tick.LOCK])
            return cursor.fetchone()

    # "rolling back returned connection": a transaction that was left to the pool to end.
    with caplog.at_level(logging.WARNING, logger="psycopg.pool"):
        with tick.alone() as held:
            assert held
            assert holding() == (0, 1)
            with tick.alone() as other:
                assert not other
        assert output("tick") == {"ran": True}
    assert holding() == (0, 0)
    assert caplog.messages == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("hour", "hours_ago", "prunes"),
    [(4, 21, True), (4, 2, False), (12, 21, False), (12, 37, True), (4, None, True), (12, None, True)],
)
def test_tick_prunes_once_a_night_and_makes_up_for_a_missed_one(
    hour: int, hours_ago: int | None, prunes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accounts.management.commands import tick

    now = timezone.localtime().replace(hour=hour, minute=30)
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    if hours_ago is not None:
        LastRun.objects.create(name="prune", at=now - timedelta(hours=hours_ago))
    assert ("prune" in tick.due()) == prunes
