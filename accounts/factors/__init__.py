"""The two factors: verification of codes, SMS and TOTP, recovery codes, step-up, and lockout after failures."""

__all__ = [
    "forms",
    "lockout",
    "recovery_codes",
    "result_messages",
    "sms_codes",
    "step_up",
    "totp",
    "verification",
    "views",
]
