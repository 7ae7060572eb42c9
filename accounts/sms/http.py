"""Former name of `accounts.sms.webhook`, which `PORTAL_SMS_BACKENDS` of running installations names."""

from accounts.sms.webhook import MESSAGE_REFUSED, REQUIRED, send

__all__ = ["MESSAGE_REFUSED", "REQUIRED", "send"]
