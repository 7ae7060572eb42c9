"""Sending of SMS: ``send()`` tries the back-ends of ``PORTAL_SMS_BACKENDS`` in their order.

A back-end is a module with ``send(phone, text, *, code, purpose)`` (E.164, text of one message) that returns when the
message is handed over, with the provider's id of it or None, and raises `SmsError` when it is not. Where it also takes
``reference``, it gets an id under which the same message is never sent twice ("" for codes).
One that can call has ``speak(phone, text, *, code, purpose, reference)`` besides.

The local ones (console, file) each get every message, a person watches either of them; of the others the first that
succeeds is enough. One that failed three times in a row is passed over for a minute (`circuit`).
"""

import functools
import inspect
import logging
import time
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from django.conf import settings

from accounts.sms import circuit_breaker, delivery_log
from accounts.sms.errors import NotServedError, ProviderError, SmsError
from hitobit_portal.i18n.fields import is_served

__all__ = [
    "LOCAL",
    "NotServedError",
    "ProviderError",
    "SmsError",
    "can_speak",
    "circuit_breaker",
    "console",
    "delivery_log",
    "file",
    "numbers",
    "send",
    "speak",
]
logger = logging.getLogger("portal.sms")
LOCAL = ("accounts.sms.console", "accounts.sms.file")
#: Hands one message to one back-end; returns the provider's id of it, or None.
SendFunction = Callable[[ModuleType], object]


def send(phone: str, text: str, *, code: str, purpose: str, reference: str = "") -> None:
    """Hands ``text`` to a provider. Raises `SmsError` when none took it.

    ``reference``: the same one never sends twice, where the provider can tell. Call it outside of transactions: it
    waits for other machines.
    """

    def send_by(module: ModuleType) -> object:
        extra = {"reference": reference} if _takes_reference(module.send) else {}
        return module.send(phone, text, code=code, purpose=purpose, **extra)

    parts = delivery_log.count_parts(text)
    _deliver(list(settings.SMS_BACKENDS), send_by, phone, purpose, spoken=False, parts=parts)


def speak(phone: str, text: str, *, code: str, purpose: str, reference: str = "") -> None:
    """Has ``code`` said to ``phone`` by a voice call, in ``language``. Raises `SmsError` when no back-end did."""

    def send_by(module: ModuleType) -> object:
        return module.speak(phone, text, code=code, purpose=purpose, reference=reference)

    paths = [path for path in settings.SMS_BACKENDS if _speaks(path)]
    _deliver(paths, send_by, phone, purpose, spoken=True, parts=1)


def can_speak() -> bool:
    """Whether a back-end can say a code by a voice call."""
    return any(_speaks(path) for path in settings.SMS_BACKENDS)


def _deliver(
    paths: list[str], send_by: SendFunction, phone: str, purpose: str, *, spoken: bool, parts: int
) -> None:
    # SECURITY: whoever called and wherever the number came from: here is where a message begins to cost.
    if not is_served(phone):
        raise NotServedError("no SMS is sent to this number (PORTAL_SMS_COUNTRIES)")
    delivered = False
    skipped = []
    for path in paths:
        if path in LOCAL:
            delivered |= _attempt(path, send_by, phone, purpose, spoken, parts)
        elif not delivered:
            if circuit_breaker.allows(path):
                delivered = _attempt(path, send_by, phone, purpose, spoken, parts)
            else:
                skipped.append(path)
    if not delivered and skipped:
        # Rather one that was down a minute ago than nobody: without a code the customer stands outside.
        delivered = _attempt(skipped[0], send_by, phone, purpose, spoken, parts)
    if not delivered:
        raise SmsError("no SMS back-end took the message")


def _attempt(path: str, send_by: SendFunction, phone: str, purpose: str, spoken: bool, parts: int) -> bool:
    started, identifier, error = time.monotonic(), None, ""
    is_responsive = False
    try:
        identifier = send_by(import_module(path))
        is_responsive = True
    except ProviderError as error_raised:
        error, is_responsive = error_raised.reason, error_raised.is_message_fault
    except Exception as failure:
        # SECURITY: whatever a back-end raises ends here, and of it the class only: a message or a trace may
        # repeat the code, or an address with the provider's password in it.
        error = type(failure).__name__
    if error:
        logger.error("SMS back-end %s failed: %s", path, error)
    if path not in LOCAL:
        # SECURITY: what a message is to blame for opens no circuit; else three wrong numbers silence a provider.
        (circuit_breaker.record_success if is_responsive else circuit_breaker.record_failure)(path)
    duration = time.monotonic() - started
    delivery_log.record(
        path,
        phone,
        purpose=purpose,
        spoken=spoken,
        error=error,
        duration=duration,
        identifier=identifier,
        parts=parts,
    )
    return not error


@functools.lru_cache(maxsize=64)
def _takes_reference(function: Callable[..., object]) -> bool:
    parameters = inspect.signature(function).parameters
    return "reference" in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _speaks(path: str) -> bool:
    try:
        return callable(getattr(import_module(path), "speak", None))
    except Exception:
        return False  # portal.E007 tells it, and send() logs it
