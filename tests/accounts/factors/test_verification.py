"""Verification: both codes together, each once, failures counted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import django_otp
import pytest

from accounts.choices import approvals
from accounts.choices.approvals import Approval
from accounts.factors import lockout, verification
from accounts.factors.verification import Factor, VerificationOutcome, VerificationResult
from accounts.models import AuditEvent, FactorGuard, SmsCode, SmsDevice, TotpDevice
from apikeys.policy.approvals import KeyPurpose
from hitobit_portal.security import crypto
from hitobit_portal.security.ratelimits import Rate
from tests.support.people import (
    Person,
    address,
    customer,
    half_logged_in,
    live_sms_code,
    newcomer,
    recovery_codes,
    request_of,
    with_authenticator,
)

pytestmark = pytest.mark.django_db
CREATE = Approval(KeyPurpose.CREATE, {"name": "bot"}, {"name": "bot"})


@contextmanager
def at(moment: float) -> Iterator[None]:
    """Set the clock of codes and counters to ``moment`` (seconds since 1970)."""
    shown = datetime.fromtimestamp(moment, UTC)
    with (
        mock.patch("time.time", return_value=moment),
        mock.patch("django.utils.timezone.now", return_value=shown),
    ):
        yield


def verify(
    person: Person, approval: Approval, caller: str = "203.0.113.7", **codes: str
) -> VerificationResult:
    return verification.verify(
        request_of(person, caller),
        person.user,
        approval,
        {Factor(name): code for name, code in codes.items()},
    )


def both(person: Person, approval: Approval = CREATE) -> dict[str, str]:
    return {"sms": live_sms_code(person, approval), "totp": person.fresh_totp()}


def wrong_sms(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def fail(person: Person, caller: str = "203.0.113.7") -> VerificationResult:
    return verify(person, approvals.LOGIN, caller, totp=person.wrong_totp())


def test_both_right_codes_are_accepted_and_do_their_work_once(sara: Person) -> None:
    done: list[str] = []

    def effect() -> str:
        done.append("once")
        return "made"

    codes = {Factor(name): code for name, code in both(sara).items()}
    result = verification.verify(request_of(sara), sara.user, CREATE, codes, effect=effect)
    assert (result.outcome, result.value, done) == (VerificationOutcome.ACCEPTED, "made", ["once"])


@pytest.mark.parametrize("wrong", [("sms",), ("totp",), ("sms", "totp")])
def test_one_wrong_code_refuses_both_with_one_answer(sara: Person, wrong: tuple[str, ...]) -> None:
    codes = both(sara)
    bad = {"sms": wrong_sms(codes["sms"]), "totp": sara.wrong_totp()}
    result = verify(sara, CREATE, **(codes | {name: bad[name] for name in wrong}))
    assert (result.outcome, result.retry_after, result.value) == (VerificationOutcome.REFUSED, 0, None)
    assert FactorGuard.objects.get(user=sara.user).in_a_row == 1


def test_refused_round_uses_no_code_up(sara: Person) -> None:
    codes = both(sara)
    verify(sara, CREATE, **(codes | {"totp": sara.wrong_totp()}))
    assert verify(sara, CREATE, **codes).accepted


def test_refused_codes_have_no_effect(sara: Person) -> None:
    codes = {Factor.SMS: live_sms_code(sara, CREATE), Factor.TOTP: sara.wrong_totp()}
    result = verification.verify(
        request_of(sara), sara.user, CREATE, codes, effect=lambda: pytest.fail("done")
    )
    assert result.outcome is VerificationOutcome.REFUSED


def test_accepted_authenticator_code_is_not_taken_again(sara: Person) -> None:
    used = both(sara)
    assert verify(sara, CREATE, **used).accepted
    code = live_sms_code(sara, CREATE)
    assert verify(sara, CREATE, sms=code, totp=used["totp"]).outcome is VerificationOutcome.SPENT
    assert verify(sara, CREATE, sms=code, totp=sara.totp(1)).accepted


@pytest.mark.parametrize("right_sms", [True, False])
def test_code_accepted_last_is_called_spent_and_counts_nothing_whatever_the_sms_code_is(
    sara: Person, right_sms: bool
) -> None:
    """SECURITY: with another result for a wrong SMS code, a spent code would give unlimited guesses of it."""
    now = 1_800_000_012.0
    with at(now):
        assert verify(sara, approvals.LOGIN, totp=sara.totp_at(now)).accepted
        code = live_sms_code(sara, CREATE)
        typed = code if right_sms else wrong_sms(code)
        for _n in range(20):
            result = verify(sara, CREATE, sms=typed, totp=sara.totp_at(now))
            assert (result.outcome, result.retry_after) == (VerificationOutcome.SPENT, 18)
    assert not FactorGuard.objects.filter(user=sara.user).exclude(failures=[]).exists()
    assert not AuditEvent.objects.filter(event__in=["code.refused", "code.locked"]).exists()
    with at(now + 18):
        assert verify(sara, CREATE, sms=code, totp=sara.totp_at(now + 18)).accepted


@pytest.mark.parametrize(("last", "typed"), [(0, -1), (1, 0), (1, -1), (-1, -2)])
def test_only_the_code_of_the_step_accepted_last_is_spent_and_others_are_wrong(
    sara: Person, last: int, typed: int
) -> None:
    now = 1_800_000_000.0
    with at(now):
        assert verify(sara, approvals.LOGIN, totp=sara.totp_at(now + 30 * last)).accepted
        assert verify(sara, CREATE, sms=live_sms_code(sara, CREATE), totp=sara.totp_at(now + 30 * typed)) == (
            VerificationResult(VerificationOutcome.REFUSED)
        )
    assert len(FactorGuard.objects.get(user=sara.user).failures) == 1


def test_spent_code_is_a_wrong_one_once_its_window_is_over(sara: Person) -> None:
    now = 1_800_000_000.0
    code = sara.totp_at(now)
    with at(now):
        assert verify(sara, approvals.LOGIN, totp=code).accepted
    with at(now + 60):
        assert verify(sara, approvals.LOGIN, totp=code).outcome is VerificationOutcome.REFUSED


def test_half_finished_login_is_not_told_that_a_code_is_spent(sara: Person) -> None:
    """SECURITY: whoever knows the password only learns nothing about codes."""
    code = sara.totp()
    assert verify(sara, approvals.LOGIN, totp=code).accepted
    request = request_of(sara)
    request.session = half_logged_in(sara).session
    result = verification.verify(request, sara.user, approvals.LOGIN, {Factor.TOTP: code})
    assert result.outcome is VerificationOutcome.REFUSED
    assert FactorGuard.objects.get(user=sara.user).in_a_row == 1


def test_locked_account_is_not_told_that_a_code_is_spent(sara: Person) -> None:
    code = sara.totp()
    assert verify(sara, approvals.LOGIN, totp=code).accepted
    for _n in range(5):
        fail(sara)
    assert verify(sara, approvals.LOGIN, totp=code).outcome is VerificationOutcome.LOCKED


@pytest.mark.parametrize(
    ("used", "seconds"),
    [(None, 0), (-1, 0), (0, 18), (1, 48)],
    ids=["none", "the one before", "this one", "the next one"],
)
def test_wait_for_the_next_code_is_announced_before_one_is_typed(
    sara: Person, used: int | None, seconds: int
) -> None:
    now = 1_800_000_012.0
    with at(now):
        if used is not None:
            assert verify(sara, approvals.LOGIN, totp=sara.totp_at(now + 30 * used)).accepted
        assert verification.seconds_until_next_totp(sara.user) == seconds


def test_accepted_sms_code_is_not_taken_again(sara: Person) -> None:
    used = both(sara)
    assert verify(sara, CREATE, **used).accepted
    assert verify(sara, CREATE, sms=used["sms"], totp=sara.totp(1)).outcome is VerificationOutcome.REFUSED


def test_no_code_at_all_is_refused(sara: Person) -> None:
    assert verify(sara, CREATE).outcome is VerificationOutcome.REFUSED


@pytest.mark.parametrize(("steps", "accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_authenticator_may_be_one_step_off(sara: Person, steps: int, accepted: bool) -> None:
    now = 1_800_000_000.0
    with at(now):
        assert verify(sara, approvals.LOGIN, totp=sara.totp_at(now + 30 * steps)).accepted is accepted


def test_older_code_is_refused_after_a_newer_one(sara: Person) -> None:
    now = 1_800_000_000.0
    older, newer = sara.totp_at(now), sara.totp_at(now + 30)
    with at(now + 15):
        assert verify(sara, approvals.LOGIN, totp=newer).accepted
        assert verify(sara, approvals.LOGIN, totp=older).outcome is VerificationOutcome.REFUSED


def test_known_answer_of_rfc_6238_is_accepted() -> None:
    """Appendix B: seed "12345678901234567890", T = 1111111109 s gives 07081804; six digits are its last six."""
    person = customer()
    sealed = crypto.seal(b"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", verification.seal_owner(person.user))
    TotpDevice.objects.filter(user=person.user).update(seed_sealed=sealed)
    with at(1_111_111_109):
        assert verify(person, approvals.LOGIN, totp="081804").accepted


def test_sms_code_of_another_purpose_is_refused(sara: Person) -> None:
    code = live_sms_code(sara, approvals.LOGIN)
    assert verify(sara, CREATE, sms=code, totp=sara.totp()).outcome is VerificationOutcome.REFUSED


@pytest.mark.parametrize(
    "content",
    [{"name": "bot2"}, {"name": "bot", "withdraw": True}, {}, {"name": ["bot"]}, {"Name": "bot"}],
)
def test_sms_code_of_other_content_is_refused(sara: Person, content: dict[str, Any]) -> None:
    code = live_sms_code(sara, Approval(KeyPurpose.CREATE, content, {"name": "bot"}))
    assert verify(sara, CREATE, sms=code, totp=sara.totp()).outcome is VerificationOutcome.REFUSED


def test_sms_code_of_another_person_is_refused(sara: Person) -> None:
    mallory = customer()
    code = live_sms_code(mallory, CREATE)
    live_sms_code(sara, CREATE, wrong_sms(code))
    assert verify(sara, CREATE, sms=code, totp=sara.totp()).outcome is VerificationOutcome.REFUSED


@pytest.mark.parametrize(("seconds", "accepted"), [(119, True), (120, False), (3600, False)])
def test_sms_code_lives_two_minutes(sara: Person, seconds: int, accepted: bool) -> None:
    now = 1_800_000_000.0
    with at(now):
        code = live_sms_code(sara, CREATE)
    with at(now + seconds):
        assert verify(sara, CREATE, sms=code, totp=sara.totp_at(now + seconds)).accepted is accepted


def test_sms_code_is_stored_as_a_keyed_digest(sara: Person) -> None:
    code = live_sms_code(sara, CREATE)
    row = SmsCode.objects.get()
    assert code not in row.digest
    assert row.digest.startswith("test:")


def test_unconfirmed_factors_approve_nothing() -> None:
    person = with_authenticator(newcomer(), confirmed=False)
    assert verify(person, approvals.LOGIN, totp=person.totp()).outcome is VerificationOutcome.REFUSED
    assert (
        verify(person, approvals.LOGIN, sms=live_sms_code(person, approvals.LOGIN)).outcome
        is VerificationOutcome.REFUSED
    )


def test_sms_code_proves_nothing_once_the_confirmed_number_is_another(sara: Person) -> None:
    codes = both(sara)
    SmsDevice.objects.filter(user=sara.user).update(number="+989129999999")
    assert verify(sara, CREATE, **codes).outcome is VerificationOutcome.REFUSED
    SmsDevice.objects.filter(user=sara.user).update(number=sara.user.phone)
    assert verify(sara, CREATE, **codes).accepted


def test_recovery_code_works_once_and_for_its_owner_only(sara: Person) -> None:
    code = recovery_codes(sara)[0].replace("-", "")
    mallory = customer()
    recovery_codes(mallory)
    assert verify(mallory, approvals.LOGIN, recovery=code).outcome is VerificationOutcome.REFUSED
    assert verify(sara, approvals.LOGIN, recovery=code).accepted
    assert verify(sara, approvals.LOGIN, recovery=code).outcome is VerificationOutcome.REFUSED


def test_codes_stay_valid_when_the_effect_fails(sara: Person) -> None:
    codes = both(sara)

    def broken() -> None:
        raise LookupError

    requested = {Factor(name): code for name, code in codes.items()}
    # They do not count against the address either, which many customers may share.
    for _n in range(Rate.FACTOR_ADDRESS.value.count + 1):
        with pytest.raises(LookupError):
            verification.verify(request_of(sara), sara.user, CREATE, requested, effect=broken)
    assert FactorGuard.objects.filter(user=sara.user, in_a_row__gt=0).count() == 0
    assert verify(sara, CREATE, **codes).accepted


def test_second_click_returns_the_result_of_the_first(sara: Person) -> None:
    codes = {Factor(name): code for name, code in both(sara).items()}
    result = verification.verify(request_of(sara), sara.user, CREATE, codes, already_done=lambda: "the key")
    assert (result.outcome, result.value) == (VerificationOutcome.ALREADY_DONE, "the key")
    assert verify(sara, CREATE, **{factor.value: code for factor, code in codes.items()}).accepted


def test_five_failures_lock_and_the_right_code_is_not_compared(sara: Person) -> None:
    assert [fail(sara).outcome for _n in range(5)] == [VerificationOutcome.REFUSED] * 5
    locked = verify(sara, approvals.LOGIN, totp=sara.totp())
    assert locked.outcome is VerificationOutcome.LOCKED
    assert 1 <= locked.retry_after <= 301


def test_lockout_ends_after_the_announced_wait(sara: Person) -> None:
    now = 1_800_000_000.0
    with at(now):
        for _n in range(5):
            fail(sara)
        wait = verify(sara, approvals.LOGIN, totp=sara.totp_at(now)).retry_after
    with at(now + wait):
        assert verify(sara, approvals.LOGIN, totp=sara.totp_at(now + wait)).accepted


def test_attempts_during_a_lockout_are_not_counted(sara: Person) -> None:
    for _n in range(9):
        fail(sara)
    assert FactorGuard.objects.get(user=sara.user).in_a_row == 5


@pytest.mark.parametrize(("count", "window"), [(20, 3600), (50, 86_400)])
def test_account_has_so_many_failures_in_a_window(sara: Person, count: int, window: int) -> None:
    now = 1_800_000_000.0
    older = [now - window * n / (count + 1) for n in range(count, 1, -1)]
    FactorGuard.objects.create(user=sara.user, failures=[*older, now - 60])
    with at(now):
        assert verify(sara, approvals.LOGIN, totp=sara.totp_at(now)).outcome is VerificationOutcome.LOCKED


@pytest.mark.parametrize("pattern", [[0] * 50, [n * 60 for n in range(50)], [0] * 5 + [80_000] * 45])
def test_owner_is_never_kept_out_longer_than_a_quarter_of_an_hour(sara: Person, pattern: list[float]) -> None:
    now = 1_800_000_000.0
    last = now + max(pattern)
    FactorGuard.objects.create(user=sara.user, failures=[now + offset for offset in pattern])
    with at(last):
        assert lockout.lockout_seconds(FactorGuard.objects.get(user=sara.user), last) <= 15 * 60 + 1
    with at(last + 901):
        assert verify(sara, approvals.LOGIN, totp=sara.totp_at(last + 901)).accepted


def test_hundred_failures_in_a_row_lock_for_good_and_a_success_starts_anew(sara: Person) -> None:
    FactorGuard.objects.create(user=sara.user, in_a_row=89, known_in_a_row=10)  # the 100th is one too many
    now = time.time()
    assert verify(sara, approvals.LOGIN, totp=sara.totp()).accepted
    assert FactorGuard.objects.get(user=sara.user).in_a_row == 0
    assert FactorGuard.objects.get(user=sara.user).known_in_a_row == 0
    FactorGuard.objects.filter(user=sara.user).update(in_a_row=90)
    with at(now + 30 * 86_400):
        assert (
            verify(sara, approvals.LOGIN, totp=sara.totp_at(now + 30 * 86_400)).outcome
            is VerificationOutcome.LOCKED
        )


def test_guesses_from_one_address_over_many_accounts_are_limited() -> None:
    people = [customer() for _n in range(4)]
    outcomes = [
        fail(people[n % 4], "198.51.100.1").outcome for n in range(Rate.FACTOR_ADDRESS.value.count + 1)
    ]
    assert outcomes == [VerificationOutcome.REFUSED] * 10 + [VerificationOutcome.LOCKED]
    assert fail(people[0], address(2)).outcome is VerificationOutcome.REFUSED


def test_right_codes_do_not_use_the_address_up(sara: Person) -> None:
    """Many users behind one address log in all day."""
    for _n in range(Rate.FACTOR_ADDRESS.value.count + 5):
        assert verify(sara, approvals.LOGIN, totp=sara.fresh_totp()).accepted


def test_every_rejection_leaves_an_event_and_the_locking_one_says_so(sara: Person) -> None:
    for _n in range(5):
        fail(sara)
    events = list(
        AuditEvent.objects.filter(customer=sara.user).order_by("pk").values_list("event", "succeeded")
    )
    assert events == [("code.refused", False)] * 4 + [("code.locked", False)]


@pytest.mark.parametrize("code", ["", "۱۲۳۴۵۶", "é", "1" * 10_000, "\x00", "None"])
def test_odd_code_is_refused_and_never_an_exception(sara: Person, code: str) -> None:
    live_sms_code(sara, CREATE)
    assert verify(sara, CREATE, sms=code, totp=code).outcome is VerificationOutcome.REFUSED
    assert verify(sara, CREATE, recovery=code).outcome is VerificationOutcome.REFUSED


def test_django_otp_itself_never_accepts_a_code(sara: Person) -> None:
    """SECURITY: django-otp's own check of tokens has no lock, no counter and no purpose."""
    assert django_otp.match_token(sara.reload(), sara.totp()) is None
    assert not sara.reload().totp.verify_token(sara.totp())
