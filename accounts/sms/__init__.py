"""Sending of SMS: ``send()`` tries the back-ends of ``PORTAL_SMS_BACKENDS`` in their order.

A back-end is a module with ``send(phone, text, *, code, purpose)`` (E.164, text of one message) that returns when the
message is handed over and raises `SmsError` when it is not. The local ones (console, file) each get every message, a
person watches either of them; of the others the first that succeeds is enough.
"""

import logging
from importlib import import_module

from django.conf import settings

logger = logging.getLogger("portal.sms")
LOCAL = ("accounts.sms.console", "accounts.sms.file")


class SmsError(Exception):
    """The message was not handed over. The text must not hold the message or the whole number."""


def send(phone: str, text: str, *, code: str, purpose: str) -> None:
    """Hands ``text`` to a provider. Raises `SmsError` when none took it."""
    delivered = False
    for path in settings.SMS_BACKENDS:
        if delivered and path not in LOCAL:
            continue
        try:
            import_module(path).send(phone, text, code=code, purpose=purpose)
            delivered = True
        except Exception as error:
            # SECURITY: whatever a back-end raises ends here, and of it the class only: a message or a trace may
            # repeat the code, or an address with the provider's password in it.
            logger.error("SMS back-end %s failed: %s", path, type(error).__name__)
    if not delivered:
        raise SmsError("no SMS back-end took the message")


def can_speak() -> bool:
    """Whether a back-end can say a code by a voice call."""
    return any(hasattr(import_module(path), "speak") for path in settings.SMS_BACKENDS)


def speak(phone: str, code: str, *, language: str, purpose: str) -> None:
    """Has ``code`` said to ``phone`` by a voice call. Raises `SmsError` when no back-end can."""
    raise SmsError("no SMS back-end can speak")
