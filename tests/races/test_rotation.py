"""A rotation under continuous load, on PostgreSQL with real threads: no valid request is rejected."""

import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from apikeys.actions import key_loader, rotation
from apikeys.models import ApiKey, Credential
from apikeys.usage import recorder
from apikeys.verification import decision as verification_decision
from apikeys.verification.outcomes import Outcome
from hitobit_portal.security import crypto
from tests.support import people
from tests.support.binance_client import BinanceClient
from tests.support.concurrency import connections_for

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True), pytest.mark.verify]
PROGRAMS = 6
PATIENCE_SECONDS = 60
#: How long the old credential still lives when its end is moved near: long enough for every program to sign again.
LEFT = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _room(transactional_db: None) -> Iterator[None]:
    with connections_for(PROGRAMS + 4):
        yield


@dataclass(frozen=True)
class Answer:
    """One request: the secret that signed it, the time (ms) of the decision, and the outcome."""

    secret: str
    now_ms: int
    outcome: Outcome


@dataclass
class Load:
    """Programs that sign continuously. Those that have ``moved`` sign with ``new``, the others with ``old``."""

    key: ApiKey
    old: str
    new: str = ""
    moved: set[int] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def program(self, number: int) -> None:
        try:
            while not self.stop.is_set():
                self.answers.append(self.request(self.new if number in self.moved else self.old))
        except BaseException as fault:  # a thread's own failure must fail the test
            self.faults.append(fault)
        finally:
            connections.close_all()

    def request(self, secret: str) -> Answer:
        now_ms = time.time_ns() // 1_000_000
        call = BinanceClient(self.key.key_id, secret).call("GET", "/", [("timestamp", str(now_ms))])
        decision = verification_decision.decide(
            key_loader.load(self.key.key_id), api_key=self.key.key_id, query=call.query, body=b"",
            client_ip=people.ADDRESS, permission="read", now_ms=now_ms,
        )  # fmt: skip
        recorder.record(self.key.key_id, decision, people.ADDRESS, "read")
        return Answer(secret, now_ms, decision.outcome)

    def wait_for(self, secret: str, count: int) -> None:
        """Wait until a number of further requests with ``secret`` were answered."""
        begun, deadline = len(self.answers), time.monotonic() + PATIENCE_SECONDS
        while sum(answer.secret == secret for answer in self.answers[begun:]) < count:
            assert time.monotonic() < deadline
            assert not self.faults
            time.sleep(0.01)


@pytest.fixture
def load(transactional_db: None) -> Iterator[Load]:
    key = people.key_of(people.customer())
    load = Load(key, people.secret_of(key))
    threads = [threading.Thread(target=load.program, args=(n,)) for n in range(PROGRAMS)]
    for thread in threads:
        thread.start()
    yield load
    load.stop.set()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)


def rotated(load: Load, grace: int) -> Credential:
    """Add a new credential that no program uses yet; return the old one."""
    load.wait_for(load.old, PROGRAMS)
    old = rotation.live_credentials(load.key)[0]
    new = rotation.rotate(load.key, None, grace, uuid.uuid4())
    load.new = crypto.unseal(new.sealed, new.seal_owner).decode()
    load.wait_for(load.old, 2 * PROGRAMS)
    return old


def milliseconds(old: Credential) -> int:
    old.refresh_from_db()
    assert old.retires_at is not None
    return int(old.retires_at.timestamp() * 1000)


def test_nobody_is_refused_from_the_rotation_to_the_old_secrets_end(load: Load) -> None:
    old = rotated(load, 3600)
    load.moved.update(range(PROGRAMS // 2))  # half of the programs get the new secret, the others are late
    load.wait_for(load.new, 2 * PROGRAMS)
    load.wait_for(load.old, 2 * PROGRAMS)
    assert {answer.outcome for answer in load.answers} == {Outcome.ALLOWED}
    assert milliseconds(old) > (time.time() + 3500) * 1000
    # As an hour later: the end is a second away, under the same load.
    Credential.objects.filter(pk=old.pk).update(retires_at=timezone.now() + LEFT)
    ends = milliseconds(old)
    while time.time() * 1000 <= ends:
        time.sleep(0.05)
    load.wait_for(load.old, PROGRAMS)
    load.wait_for(load.new, PROGRAMS)
    load.stop.set()
    early = {answer.outcome for answer in load.answers if answer.secret == load.old and answer.now_ms < ends}
    late = {answer.outcome for answer in load.answers if answer.secret == load.old and answer.now_ms > ends}
    assert early == {Outcome.ALLOWED}
    assert late == {Outcome.SIGNATURE}
    assert {answer.outcome for answer in load.answers if answer.secret == load.new} == {Outcome.ALLOWED}
    assert not load.faults


def test_without_a_grace_the_old_secret_ends_with_the_new_ones_first_use_and_not_before(load: Load) -> None:
    old = rotated(load, 0)
    first = time.time_ns() // 1_000_000
    load.moved.update(range(PROGRAMS // 2))
    load.wait_for(load.new, 2 * PROGRAMS)
    load.wait_for(load.old, 2 * PROGRAMS)
    load.stop.set()
    before = {
        answer.outcome for answer in load.answers if answer.secret == load.old and answer.now_ms < first
    }
    ends = milliseconds(old)
    assert ends >= first
    # A request that was read before the end was written may still pass: it was on its way at that moment.
    last = [a.outcome for a in load.answers if a.secret == load.old][-(PROGRAMS // 2) :]
    assert before == {Outcome.ALLOWED}
    assert set(last) == {Outcome.SIGNATURE}
    assert {answer.outcome for answer in load.answers if answer.secret == load.new} == {Outcome.ALLOWED}
    assert not load.faults
