"""TOTP clock drift: measured with every accepted code, and reported before codes are refused."""

import time
from html import unescape

import pyotp
import pytest

from accounts.actions import authenticator
from accounts.choices import approvals
from accounts.choices.clock_drift import Drift, judge, noted
from accounts.factors import verification
from accounts.models import TotpDevice
from tests.accounts.factors.test_verification import at, verify
from tests.support import people
from tests.support.people import Person, request_of


@pytest.mark.parametrize(
    ("differences", "drift"),
    [
        ([], Drift.UNKNOWN),
        ([0], Drift.RIGHT),
        ([1, 1], Drift.RIGHT),
        ([1, 1, 1], Drift.FAST),
        ([1, 0, 1, 0, 1], Drift.FAST),
        ([0, 0, 0, 1, 1], Drift.RIGHT),
        ([-1, -1, -1, -1], Drift.RIGHT),
        ([-1, -1, -1, -1, -1], Drift.SLOW),
        ([-1, -1, 0, -1, -1], Drift.RIGHT),
    ],
)
def test_drift_of_the_last_codes(differences: list[int], drift: Drift) -> None:
    assert judge(differences) is drift


def test_five_codes_are_remembered() -> None:
    assert noted([1, 1, 1, 1, 1], 0) == [1, 1, 1, 1, 0]


@pytest.fixture
def sara(db: None) -> Person:
    return people.customer()


def give(sara: Person, *differences: int) -> None:
    """Use valid codes, five minutes apart, of an authenticator whose clock is off by the given steps."""
    begun = time.time()
    for number, steps in enumerate(differences):
        moment = begun + number * 300
        with at(moment):
            code = sara.totp_at(moment + steps * verification.TOTP_PERIOD)
            assert verify(sara, approvals.LOGIN, totp=code).accepted


def test_every_accepted_code_is_measured_and_a_wrong_one_never(sara: Person) -> None:
    give(sara, 0, 1, -1)
    assert not verify(sara, approvals.LOGIN, totp=sara.wrong_totp()).accepted
    assert TotpDevice.objects.get(user=sara.user).drifts == [0, 1, -1]


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ([], ""),
        ([0, 1], ""),
        ([1, 1, 1], "clock is fast"),
        ([-1, -1, -1, -1, -1], "clock is slow"),
    ],
)
def test_settings_and_dashboard_warn_before_codes_are_refused(
    sara: Person, differences: list[int], words: str
) -> None:
    give(sara, *differences)
    client = people.logged_in(sara)
    client.cookies["language"] = "en"
    for path in ("/settings/", "/dashboard/"):
        page = unescape(client.get(path).content.decode())
        assert ("clock is fast" in page, "clock is slow" in page) == (
            words == "clock is fast",
            words == "clock is slow",
        )
    assert ("Its clock is right" in unescape(client.get("/settings/").content.decode())) == (
        bool(differences) and not words
    )


def test_another_authenticator_is_measured_anew(sara: Person) -> None:
    give(sara, 1, 1, 1)
    authenticator.replace(request_of(sara), sara.user, pyotp.random_base32())
    assert TotpDevice.objects.get(user=sara.user).drift == "right"
