"""No sequence of customer actions ends with more power than both codes approved, and the model detects defects."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import Phase

from tests.support import power
from tests.support.power import ACTIONS, PLANTED, Pages, Views, Walk

pytestmark = pytest.mark.django_db
TRADES = frozenset({"read", "trade"})
WITHDRAWS = frozenset({"read", "withdraw"})
HOME, OFFICE = ("192.0.2.7",), ("192.0.2.7", "198.51.100.9")


@pytest.fixture(autouse=True)
def _collected_sms(settings: Any) -> Iterator[None]:
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    Walk.count.clear()
    yield
    Walk.count.clear()


def test_no_sequence_of_actions_ends_with_more_power_than_both_codes_approved() -> None:
    power.hunt(20, Views, derandomize=True, phases=[Phase.generate])
    # A run without approvals and attempts would not prove anything.
    count = Walk.count
    assert set(ACTIONS) <= set(count)
    assert count["approved growth"] >= count["sequences"] / 2
    assert count["both codes"] >= count["sequences"]
    assert count["not both codes"] >= count["sequences"] / 4
    assert count["one code, not trading"] >= 1


def test_no_sequence_of_whole_requests_does() -> None:
    power.hunt(2, Pages, derandomize=True, phases=[Phase.generate])
    assert Walk.count["approved growth"] >= 1


# --- the model detects ----------------------------------------------------------------------------------------------


def _renewed_by_one(walk: Walk) -> None:
    walk.begin(TRADES, None, "keep")
    ((facts),) = walk.seen.keys.values()
    walk.now = facts.trade_ends
    walk.renew(0, 0, "totp")


def _restricted(walk: Walk) -> None:
    walk.begin(TRADES, None, "keep")
    walk.edit(0, 1, TRADES, HOME, "keep", "none", 0)


def _expiry(walk: Walk) -> None:
    walk.begin(TRADES, HOME, "30")
    walk.edit(0, 1, TRADES, HOME, "never", "none", 0)


def _address(walk: Walk) -> None:
    walk.begin(TRADES, HOME, "keep")
    walk.edit(0, 1, TRADES, OFFICE, "keep", "none", 0)


def _first_settings(walk: Walk) -> None:
    walk.begin(TRADES, HOME, "keep")
    walk.edit(0, 0, WITHDRAWS, HOME, "keep", "none", 0)


def _credential_of_a_key_that_grew(walk: Walk) -> None:
    walk.begin(TRADES, HOME, "keep")
    walk.question(0, 0, "rotate", "none", 0)
    walk.edit(0, 1, WITHDRAWS, HOME, "keep", "both", 0)
    walk.answer_later(1, "both", 0)


def _code_of_another_change(walk: Walk) -> None:
    walk.begin(TRADES, HOME, "keep")
    walk.edit(0, 1, TRADES, OFFICE, "keep", "none", 0)
    walk.edit(0, 1, WITHDRAWS, HOME, "keep", "none", 0)
    walk.answer_later(0, "stale", 1)


def _old_code(walk: Walk) -> None:
    walk.begin(TRADES, HOME, "keep")
    walk.edit(0, 1, WITHDRAWS, HOME, "keep", "none", 0)
    walk.now += 300
    walk.answer_later(0, "both", 0)


#: The steps that exploit each planted defect.
WAYS: dict[str, Callable[[Walk], None]] = dict(
    zip(
        PLANTED,
        (
            _renewed_by_one,
            _restricted,
            _expiry,
            _address,
            _first_settings,
            _credential_of_a_key_that_grew,
            _code_of_another_change,
            _old_code,
        ),
        strict=True,
    )
)


@pytest.mark.parametrize("hole", PLANTED)
def test_model_notices_a_planted_hole_and_sees_none_without_it(hole: str) -> None:
    _walk(WAYS[hole])
    with power.planted(hole), pytest.raises(AssertionError, match="power that no codes approved"):
        _walk(WAYS[hole])


def _walk(way: Callable[[Walk], None]) -> None:
    walk = Walk()
    try:
        way(walk)
    finally:
        walk.teardown()


# --- related actions, by name ---------------------------------------------------------------------------------------


def _paused(walk: Walk) -> None:
    walk.begin(TRADES, None, "keep")
    walk.reduce(0, 0, "pause")
    walk.question(0, 0, "resume", "totp", 0)


def _thawed(walk: Walk) -> None:
    walk.begin(TRADES, None, "keep")
    walk.account(0, "freeze", "none", 0)
    walk.account(0, "thaw", "sms", 0)


def _first_settings_after_another_change(walk: Walk) -> None:
    """The session that created the key keeps the right to its first settings while another session changes it."""
    walk.question(0, 0, "create", "both", 0)
    walk.edit(0, 1, TRADES, HOME, "keep", "both", 0)
    walk.edit(0, 0, WITHDRAWS, OFFICE, "keep", "none", 0)


def _first_settings_after_a_pause(walk: Walk) -> None:
    walk.question(0, 0, "create", "both", 0)
    walk.reduce(0, 1, "pause")
    walk.question(0, 1, "resume", "both", 0)
    walk.edit(0, 0, TRADES, None, "keep", "none", 0)


def _first_settings_after_a_rotation(walk: Walk) -> None:
    walk.question(0, 0, "create", "both", 0)
    walk.question(0, 1, "rotate", "both", 0)
    walk.edit(0, 0, TRADES, None, "keep", "none", 0)


def _address_of_a_key_that_grew(walk: Walk) -> None:
    walk.begin(frozenset({"trade"}), HOME, "keep")
    walk.call(0, True, "trade", "203.0.113.5")
    walk.question(0, 0, "approve_address", "none", 0)
    walk.edit(0, 1, TRADES, HOME, "keep", "both", 0)
    walk.answer_later(1, "both", 0)


def _new_credential_ended_before_its_first_use(walk: Walk) -> None:
    """The old credential stays valid as long as without the rotation, and no longer."""
    walk.begin(TRADES, HOME, "keep")
    walk.question(0, 0, "rotate", "both", 0)
    walk.reduce(0, 0, "end")
    walk.call(0, False, "trade", "192.0.2.7")


@pytest.mark.parametrize(
    "way",
    [
        _paused,
        _thawed,
        _first_settings_after_another_change,
        _first_settings_after_a_pause,
        _first_settings_after_a_rotation,
        _address_of_a_key_that_grew,
        _new_credential_ended_before_its_first_use,
    ],
    ids=lambda way: way.__name__.strip("_"),
)
def test_no_power_grows_by(way: Callable[[Walk], None]) -> None:
    _walk(way)
