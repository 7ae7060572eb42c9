"""Every limit of the portal in figures, written down once more: a changed one has to be changed here, too."""

from accounts.access import pending_login, sessions, trusted_devices
from accounts.factors import lockout, sms_codes, verification
from hitobit_portal.security.ratelimits import Rate

MINUTE, HOUR, DAY = 60, 3600, 86_400
RATES = {
    "LOGIN_ADDRESS": (30, 5 * MINUTE),
    "LOGIN_PHONE_ADDRESS": (10, 5 * MINUTE),
    "LOGIN_PHONE": (25, 15 * MINUTE),
    "LOGIN_LIMITED_EVENT": (1, 5 * MINUTE),
    "DRAFT_ADDRESS": (30, 5 * MINUTE),
    "SIGNUP_ADDRESS": (30, HOUR),
    "FORGOT_ADDRESS": (30, HOUR),
    "NOTICE_LINK_ADDRESS": (30, 5 * MINUTE),
    "PASSWORD_STRENGTH_ADDRESS": (60, MINUTE),
    "NEW_PASSWORD_ADDRESS": (30, 5 * MINUTE),
    "PASSWORD_CHECK": (5, 5 * MINUTE),
    "FACTOR_ADDRESS": (10, 5 * MINUTE),
    "SMS_PHONE": (20, 10 * MINUTE),
    "SMS_OUTSIDE_PHONE": (6, 3 * HOUR),
    "SMS_ACCOUNT": (100, DAY),
    "SMS_ADDRESS": (100, HOUR),
    "SMS_PREFIX": (1000, HOUR),
    "SMS_CAPPED_EVENT": (1, HOUR),
    "NOTICE_ACCOUNT": (60, DAY),
    "STAFF_VIEWED_EVENT": (1, MINUTE),
    "EXPORT_ACCOUNT": (20, HOUR),
    "DEBUGGER": (60, 5 * MINUTE),
    "SMS_DAY": (50_000, DAY),
}


def test_rates() -> None:
    assert {rate.name: (rate.value.count, rate.value.seconds) for rate in Rate} == RATES


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
