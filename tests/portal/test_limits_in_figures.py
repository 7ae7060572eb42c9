"""Limits of codes, logins and drafts in figures; the rates are in `test_ratelimits`."""

from accounts.access import form_drafts, pending_login, sessions, trusted_devices
from accounts.factors import lockout, sms_codes, verification

MINUTE, HOUR, DAY = 60, 3600, 86_400


def test_failures_of_codes() -> None:
    assert lockout.FAILURE_WINDOWS == ((5, 300), (20, 3600), (50, 86_400))
    assert (lockout.MAX_WAIT, lockout.MAX_CONSECUTIVE, lockout.PERMANENT) == (900, 100, 31_536_000)


def test_lifetimes_of_codes_logins_and_trust() -> None:
    assert (
        verification.TOTP_PERIOD,
        verification.TOTP_DRIFT_STEPS,
        verification.SMS_LIFETIME.total_seconds(),
    ) == (30, 1, 120)
    assert (sms_codes.RESEND_AFTER.total_seconds(), sms_codes.PREFIX_LENGTH) == (60, 7)
    assert pending_login.PENDING_SECONDS == 15 * MINUTE
    assert (trusted_devices.LIFETIME.total_seconds(), trusted_devices.MAX_DEVICES) == (30 * DAY, 10)
    lifetimes = [
        span.total_seconds()
        for span in (sessions.IDLE_TIMEOUT, sessions.STAFF_IDLE_TIMEOUT, sessions.MAX_AGE)
    ]
    assert lifetimes == [30 * MINUTE, 15 * MINUTE, 12 * HOUR]


def test_sizes_of_drafts() -> None:
    assert (form_drafts.MAX_VALUE_LENGTH, form_drafts.MAX_DRAFT_LENGTH) == (2000, 8000)
