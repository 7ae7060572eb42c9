"""The two factors: verification of codes, SMS and TOTP, recovery codes, step-up, and lockout after failures."""

__all__ = [
    "forms",
    "lockout",
    "messages",
    "recovery_codes",
    "sms_codes",
    "step_up",
    "totp",
    "verification",
    "views",
]
