"""The lifecycle of keys compared with a plain model of its rules.

No request is allowed that the model forbids, and none is rejected that it allows. Random sequences by hypothesis, on a
clock of its own; the requests are signed by a real client.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.test import RequestFactory
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.actions import freeze
from apikeys.actions import key_loader, lifecycle, rotation
from apikeys.models import ApiKey, Credential
from apikeys.policy.power import Codes
from apikeys.usage import recorder
from apikeys.verification import decision as verification_decision
from apikeys.verification.records import KeyRecord
from hitobit_portal.security import crypto
from tests.support.binance_client import BinanceClient
from tests.support.examples import times
from tests.support.people import customer, key_of

pytestmark = pytest.mark.django_db
HOUR, DAY = 3600, 86_400  # all times of the model are whole seconds since 1970
START = 1_800_000_000
PERMISSIONS = ("read", "trade", "withdraw")
ADDRESSES = ("192.0.2.7", "198.51.100.9")
NETWORKS = ("192.0.2.7", "192.0.2.0/24", "198.51.100.9", "2001:db8::/32")
MOST_KEYS = 2
SETS = ("read", "read trade", "read trade", "trade", "read trade withdraw", "withdraw", "")


@dataclass
class Proof:
    """The model of a credential."""

    row: Credential
    client: BinanceClient
    grace: int | None = None
    ends: int | None = None
    used: bool = False

    def signs(self, now: int) -> bool:
        return self.ends is None or now < self.ends


@dataclass
class ModelKey:
    """The model of a key, and when it allows a request."""

    row: ApiKey
    proofs: list[Proof]
    state: str = "active"
    permissions: frozenset[str] = frozenset({"read"})
    networks: frozenset[str] | None = None  # None: all addresses
    expires: int | None = None
    trades_until: int | None = None

    def lets(self, permission: str, address: str, now: int) -> bool:
        if self.state != "active" or permission not in self.permissions or not self.admits(address):
            return False
        if self.expires is not None and now >= self.expires:
            return permission == "read" and now < self.expires + 7 * DAY
        return permission != "trade" or self.trades_until is None or now < self.trades_until

    def admits(self, address: str) -> bool:
        return self.networks is None or any(ip_address(address) in ip_network(n) for n in self.networks)

    def live(self, now: int) -> list[Proof]:
        return [proof for proof in self.proofs if proof.signs(now)]

    def ends(self) -> Iterator[int]:
        if self.expires is not None:
            yield from (self.expires, self.expires + 7 * DAY)
        if self.trades_until is not None:
            yield from (self.trades_until - 30 * DAY, self.trades_until)
        yield from (proof.ends for proof in self.proofs if proof.ends is not None)


@dataclass
class Account:
    frozen: bool = False
    quarantined_until: int = 0
    keys: list[ModelKey] = field(default_factory=list)


which = st.integers(0, 5)
#: Chosen by name instead of one rule each: defects show with edits, calls and time; other actions are rare.
ACTS = st.sampled_from(
    ["renew", "renew_by_one", "renew_by_one", "pause", "resume", "resume", "delete", "delete_all"]
)
ACCOUNT = st.sampled_from(
    ["freeze_account", "thaw_account", "thaw_account", "replace_a_factor", "lift_quarantine"]
)
GRACES = st.sampled_from(rotation.GRACE_PERIODS)
SPANS = st.sampled_from([1, HOUR - 1, HOUR, DAY, 6 * DAY, 7 * DAY, 29 * DAY, 60 * DAY, 90 * DAY])


class KeyLifecycle(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("django.utils.timezone.now", lambda: at(self.now))
        # PostgreSQL's own clock, by which quarantines begin, does not stand still with the model's.
        self.patch.setattr("hitobit_portal.database.clock.now", lambda: at(self.now))
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.sara = customer()
        self.account = Account()
        self.request: HttpRequest = RequestFactory().post("/")

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)
        self.patch.undo()

    def key(self, number: int) -> ModelKey:
        """Return one of the keys; rarely a deleted one, on which actions have no effect."""
        alive = [key for key in self.account.keys if key.state != "revoked"]
        among = alive if alive and number else self.account.keys
        return among[number % len(among)]

    def has_keys(self) -> bool:
        return bool(self.account.keys)

    @initialize()
    def begin(self) -> None:
        self.create()

    # --- actions of a customer --------------------------------------------------------------------------------------

    @precondition(lambda self: sum(key.state != "revoked" for key in self.account.keys) < MOST_KEYS)
    @rule()
    def create(self) -> None:
        with raises_if(ValidationError, self.account.frozen):
            row = key_of(self.sara, f"key {uuid.uuid4().hex}")
            self.account.keys.append(ModelKey(row, [proof_of(row, Credential.objects.get(key=row))]))

    @precondition(has_keys)
    @rule(
        number=which,
        permissions=st.sampled_from(SETS).map(lambda words: frozenset(words.split())),
        networks=st.none() | st.frozensets(st.sampled_from(NETWORKS)),
        expires=st.sampled_from(["keep", "keep", "keep", "never", DAY, 400 * DAY]),
    )
    def edit(
        self, number: int, permissions: frozenset[str], networks: frozenset[str] | None, expires: Any
    ) -> None:
        key = self.key(number)
        until = {"keep": key.expires, "never": None}.get(expires, 0)
        until = self.now + expires if until == 0 else until
        breaks = (
            not permissions or networks == frozenset() or ("withdraw" in permissions and networks is None)
        )
        after = ModelKey(key.row, key.proofs, key.state, permissions, networks, until)
        if "trade" in permissions and networks is None:
            after.trades_until = key.trades_until or self.now + 90 * DAY
        opens = self.account.frozen and self.adds_power(key, after)
        policy = "unrestricted" if networks is None else "trusted"
        try:
            key.row.apply(permissions, policy, sorted(networks or ()), None if until is None else at(until))
        except ValidationError:
            # A frozen account also rejects what adds nothing at the moment, such as a network that is inside no other.
            assert breaks or key.state == "revoked" or self.account.frozen
            return
        assert not breaks
        assert key.state != "revoked"
        assert not opens
        self.account.keys[self.account.keys.index(key)] = after

    def adds_power(self, before: ModelKey, after: ModelKey) -> bool:
        """Return whether an active key would allow something now or later that it did not allow before."""
        one, two = (
            ModelKey(k.row, [], "active", k.permissions, k.networks, k.expires, k.trades_until)
            for k in (before, after)
        )
        moments = {
            self.now,
            *(m for k in (one, two) for end in k.ends() for m in (end - 1, end) if m > self.now),
        }
        return any(
            two.lets(permission, address, moment) and not one.lets(permission, address, moment)
            for permission in PERMISSIONS
            for address in ADDRESSES
            for moment in moments
        )

    @precondition(has_keys)
    @rule(number=which)
    def save_again(self, number: int) -> None:
        """Apply the same settings again, which must not extend anything."""
        key = self.key(number)
        self.edit(number, key.permissions, key.networks, "keep")

    @precondition(has_keys)
    @rule(number=which)
    def trade_from_anywhere(self, number: int) -> None:
        self.edit(number, frozenset({"read", "trade"}), None, "never")

    @precondition(has_keys)
    @rule(number=which, grace=GRACES)
    def rotate(self, number: int, grace: int) -> None:
        key = self.key(number)
        cannot = key.state != "active" or len(key.live(self.now)) >= 2
        with raises_if(rotation.CannotRotate, cannot):
            made = rotation.rotate(key.row, None, grace, uuid.uuid4())
            key.proofs.append(proof_of(key.row, made, grace))

    @precondition(has_keys)
    @rule(number=which, credential=which)
    def end_credential(self, number: int, credential: int) -> None:
        key = self.key(number)
        proof = key.proofs[credential % len(key.proofs)]
        others = [other for other in key.live(self.now) if other is not proof]
        ends = bool(others) and key.state != "revoked" and proof.signs(self.now)
        assert rotation.end(key.row, proof.row) is ends
        if ends:
            proof.ends = self.now

    @precondition(has_keys)
    @rule(number=which, act=ACTS)
    def do(self, number: int, act: str) -> None:
        getattr(self, act)(number)

    @rule(act=ACCOUNT)
    def do_with_the_account(self, act: str) -> None:
        getattr(self, act)()

    def pause(self, number: int) -> None:
        key = self.key(number)
        assert lifecycle.pause(self.request, key.row) is (key.state == "active")
        key.state = "frozen" if key.state == "active" else key.state

    def resume(self, number: int) -> None:
        key = self.key(number)
        with raises_if(ValidationError, self.account.frozen or key.state != "frozen"):
            lifecycle.resume(self.request, key.row)
            key.state = "active"

    def renew(self, number: int, by_one: bool = False) -> None:
        key = self.key(number)
        over = key.expires is not None and key.expires <= self.now
        late = key.trades_until is not None and key.trades_until - 30 * DAY <= self.now
        ended = key.trades_until is not None and key.trades_until <= self.now
        given = Codes.AUTHENTICATOR if by_one else Codes.BOTH
        cannot = self.account.frozen or key.state != "active" or over or not late
        with raises_if(ValidationError, cannot or (ended and by_one)):
            lifecycle.renew(self.request, key.row, given)
            key.trades_until = self.now + 90 * DAY

    def renew_by_one(self, number: int) -> None:
        self.renew(number, by_one=True)

    def delete(self, number: int) -> None:
        key = self.key(number)
        assert lifecycle.delete(self.request, key.row) is (key.state != "revoked")
        key.state = "revoked"

    def delete_all(self, number: int) -> None:
        alive = sum(key.state != "revoked" for key in self.account.keys)
        assert lifecycle.delete_all(self.request, self.sara.user) == alive
        for key in self.account.keys:
            key.state = "revoked"

    def freeze_account(self) -> None:
        freeze.freeze(None, self.sara.user)
        self.account.frozen = True

    def thaw_account(self) -> None:
        freeze.thaw(self.request, self.sara.user)
        self.account.frozen = False

    def replace_a_factor(self) -> None:
        freeze.quarantine(self.sara.user)
        self.account.quarantined_until = self.now + DAY

    def lift_quarantine(self) -> None:
        freeze.lift_quarantine(self.request, self.sara.user)
        self.account.quarantined_until = 0

    # --- time and programs ------------------------------------------------------------------------------------------

    @rule(span=SPANS)
    def wait(self, span: int) -> None:
        self.now += span

    @rule(number=which, early=st.booleans())
    def wait_for_an_end(self, number: int, early: bool) -> None:
        """Wait until a later end, or the second before it: where defects are."""
        ends = sorted(
            {*(end for key in self.account.keys for end in key.ends()), self.account.quarantined_until}
        )
        ahead = [end - early for end in ends if end - early > self.now]
        if ahead:
            self.now = ahead[number % len(ahead)]

    @precondition(has_keys)
    @rule(
        number=which,
        credential=which,
        permission=st.sampled_from(PERMISSIONS),
        address=st.sampled_from(ADDRESSES),
    )
    def call(self, number: int, credential: int, permission: str, address: str) -> None:
        """Send a request and record it: the first use of a new credential sets the end of the old one."""
        key = self.key(number)
        proof = key.proofs[credential % len(key.proofs)]
        decision = decide(key_loader.load(key.row.key_id), key, proof, permission, address, self.now)
        recorder.record(key.row.key_id, decision, address, permission)
        if decision.allowed and not proof.used:
            proof.used = True
            if proof.grace is not None:
                for older in key.proofs[: key.proofs.index(proof)]:
                    older.ends = min(older.ends or self.now + proof.grace, self.now + proof.grace)

    @invariant()
    def passes_what_the_rules_allow_and_nothing_else(self) -> None:
        """Check now from both addresses, and from one of them at every later end and in the second before it."""
        for key in self.account.keys:
            record = key_loader.load(key.row.key_id)
            ends = [self.account.quarantined_until, *key.ends()]
            ahead = {moment for end in ends for moment in (end - 1, end) if moment > self.now}
            probes = {(self.now, ADDRESSES[1]), *((moment, ADDRESSES[0]) for moment in {self.now, *ahead})}
            for proof in key.proofs:
                for permission in PERMISSIONS:
                    for moment, address in probes:
                        self.compare(record, key, proof, permission, address, moment)

    def compare(
        self,
        record: KeyRecord | None,
        key: ModelKey,
        proof: Proof,
        permission: str,
        address: str,
        moment: int,
    ) -> None:
        stopped = self.account.frozen or not proof.signs(moment)
        waits = permission != "read" and moment < self.account.quarantined_until
        expected = not stopped and not waits and key.lets(permission, address, moment)
        decision = decide(record, key, proof, permission, address, moment)
        assert decision.allowed is expected, (decision.outcome, permission, address, moment - self.now, key)
        assert not expected or decision.credential_id == proof.row.pk


def decide(
    record: KeyRecord | None,
    key: ModelKey,
    proof: Proof,
    permission: str,
    address: str,
    moment: int,
) -> verification_decision.Decision:
    """Return the decision about a request that is signed, sent and received at ``moment``."""
    call = proof.client.call("GET", "/", [("timestamp", str(moment * 1000))])
    return verification_decision.decide(
        record,
        api_key=key.row.key_id,
        query=call.query,
        body=b"",
        client_ip=address,
        permission=permission,
        now_ms=moment * 1000,
    )


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)


def proof_of(key: ApiKey, credential: Credential, grace: int | None = None) -> Proof:
    secret = crypto.unseal(credential.sealed, credential.seal_owner).decode()
    return Proof(credential, BinanceClient(key.key_id, secret), grace)


@contextmanager
def raises_if(error: type[Exception], expected: bool) -> Iterator[None]:
    """Assert that the block raises ``error`` if and only if ``expected``."""
    try:
        yield
    except error:
        assert expected
    else:
        assert not expected


@pytest.mark.hypothesis
@pytest.mark.verify
def test_no_request_passes_that_the_rules_forbid_and_none_is_rejected_that_they_allow() -> None:
    run_state_machine_as_test(
        KeyLifecycle, settings=settings(max_examples=times(60), stateful_step_count=30, deadline=None)
    )
