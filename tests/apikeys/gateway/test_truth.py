"""Three gateway processes with programs, authors and faults: no decision contradicts an acknowledged change."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.production import ROOT, without_settings
from tests.support.truth import ENDS, GRACE_MS, HOME, OFFICE, Checker, KeyModel, KnownKey, RequestKind
from tests.support.truth_changes import CHANGES


@pytest.mark.verify
@pytest.mark.postgres
def test_every_decision_is_correct_while_keys_change_and_machines_fail() -> None:
    command = [sys.executable, "-m", "tests.support.truth", "--keys", "40", "--seconds", "12"]
    result = subprocess.run(
        command, cwd=ROOT, env=without_settings(dict(os.environ)), capture_output=True, text=True
    )
    assert result.stdout, result.stderr[-3000:]
    report = json.loads(result.stdout)
    assert report["wrong"] == 0, report["examples"]
    seen = report["seen"]
    assert min(seen["allowed"], seen["refused"]) > 300
    assert min(seen["allowed by the key alone"], seen["refused by the key alone"]) > 60
    assert all(seen.get(f"change: {change.name}") for change in CHANGES), seen
    # Ends without a notification: each of them was sometimes the only reason for a rejection.
    assert all(seen.get(f"refused for nothing but: {end}") for end in ENDS), seen
    assert seen["unavailable"] > 0  # while the database was stopped


T = 1_800_000_000_000  # ms since 1970, at second 100 of the monotonic clock
READER, TRADER, OLD_TRADER = (
    RequestKind(False, "read", HOME), RequestKind(False, "trade", HOME), RequestKind(True, "trade", OFFICE),
)  # fmt: skip
ALLOWED, REFUSED, UNAVAILABLE = 204, 401, 503


def wrong(key: KnownKey, subject: RequestKind, at: int, status: int, *, lasts: int = 20) -> bool:
    """Return whether the checker rejects a response requested at ``T + at`` ms and received ``lasts`` ms later."""
    checker, begun = Checker(), 100 + at / 1000
    checker.judge(key, subject, begun, begun + lasts / 1000, (T + at, T + at + lasts), status)
    assert sum(checker.seen[answer] for answer in ("allowed", "refused", "unavailable")) == 1
    return bool(checker.wrong)


def test_checker_expects_of_a_key_alone_what_the_key_allows() -> None:
    key_only = RequestKind(False, "trade", HOME, key_only=True)
    assert wrong(known(), key_only, 0, REFUSED)
    assert not wrong(known((1, 2, KeyModel(old_ended=True))), key_only, 0, ALLOWED)
    ended = KeyModel(trades_until=T - 60_000)
    for state in (KeyModel(active=False), KeyModel(revoked=True), KeyModel(trades=False), ended):
        assert wrong(known((1, 2, state)), key_only, 0, ALLOWED)


def known(*states: tuple[float, float, KeyModel]) -> KnownKey:
    key = KnownKey(1, "k" * 64, None, "old", "new")
    key.history += states
    return key


def test_checker_expects_the_right_decisions_without_changes() -> None:
    for subject in (READER, TRADER, OLD_TRADER):
        assert not wrong(known(), subject, 0, ALLOWED)
        assert wrong(known(), subject, 0, REFUSED)
        assert wrong(known(), subject, 0, UNAVAILABLE)
    for state in (KeyModel(active=False), KeyModel(revoked=True), KeyModel(owner_frozen=True)):
        for subject in (READER, TRADER, OLD_TRADER):
            assert wrong(known((1, 2, state)), subject, 0, ALLOWED)
            assert not wrong(known((1, 2, state)), subject, 0, REFUSED)
    for state, subject in (
        (KeyModel(trades=False), TRADER), (KeyModel(office=False), OLD_TRADER), (KeyModel(old_ended=True), OLD_TRADER),
    ):  # fmt: skip
        assert wrong(known((1, 2, state)), subject, 0, ALLOWED)
        assert wrong(known((1, 2, state)), READER, 0, REFUSED)


@pytest.mark.parametrize(
    ("state", "subject", "before"),
    [
        (KeyModel(expires=T), TRADER, True),
        (KeyModel(expires=T - GRACE_MS), READER, True),
        (KeyModel(trades_until=T), TRADER, True),
        (KeyModel(old_until=T), OLD_TRADER, True),
        (KeyModel(quarantined_until=T), TRADER, False),
    ],
    ids=["expiry", "end of grace", "end of trading", "end of the old secret", "quarantine"],
)
def test_checker_reports_a_wrong_decision_on_either_side_of_an_end(
    state: KeyModel, subject: RequestKind, before: bool
) -> None:
    """A request during the end may get either response; all others get one."""
    key = known((1, 2, state))
    for at in (-1000, -100, -25):
        assert wrong(key, subject, at, ALLOWED) is not before
        assert wrong(key, subject, at, REFUSED) is before
    for at in (-20, -10, 0):
        assert not wrong(key, subject, at, ALLOWED)
        assert not wrong(key, subject, at, REFUSED)
    for at in (5, 100, 1000):
        assert wrong(key, subject, at, ALLOWED) is before
        assert wrong(key, subject, at, REFUSED) is not before
    # Other ends do not matter for them.
    for at in (-100, 100):
        other = READER if state.expires != T - GRACE_MS else None
        assert other is None or wrong(key, other, at, REFUSED)


def test_checker_applies_a_moved_end_after_its_acknowledgement() -> None:
    key = known((99, 100, KeyModel(expires=T - 60_000)))
    # Before, during and after the change, which was acknowledged at second 100.
    for at, allowed_is_wrong, refused_is_wrong in (
        (-1500, False, True),
        (-10, False, False),
        (1, True, False),
    ):
        assert wrong(key, TRADER, at, ALLOWED, lasts=1) is allowed_is_wrong
        assert wrong(key, TRADER, at, REFUSED, lasts=1) is refused_is_wrong
    later = known((1, 2, KeyModel(trades_until=T - 60_000)), (99, 100, KeyModel(trades_until=T + 60_000)))
    assert not wrong(later, TRADER, -10, REFUSED, lasts=1)
    assert wrong(later, TRADER, 5, REFUSED)
    assert wrong(later, TRADER, 60_100, ALLOWED)


def test_each_end_is_among_the_changes() -> None:
    assert {"expires soon", "trading ends soon", "quarantine ends soon", "the old secret ends soon"} <= {
        change.name for change in CHANGES
    }
