"""Send SMS: ``send()`` tries the back-ends of ``PORTAL_SMS_BACKENDS`` in their order.

A back-end is a module with ``send(phone, text, *, code, purpose)`` (E.164, text of one message). It returns the
provider's message id or None when the provider accepted the message, and raises `SmsError` otherwise. If it also
takes ``reference``, it gets an id under which the same message is never sent twice ("" for codes). A back-end that
can make voice calls also has ``speak(phone, text, *, code, purpose, reference)``.

The local back-ends (console, file) each get every message, because a person may watch either; of the others, the
first success is enough. A back-end that failed three times in a row is skipped for a minute (`circuit_breaker`), for
messages or for calls, whichever failed.
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
#: Sends one message by one back-end. Returns the provider's message id, or None.
SendFunction = Callable[[ModuleType], object]


def send(phone: str, text: str, *, code: str, purpose: str, reference: str = "") -> None:
    """Send ``text`` by a provider. Raise `SmsError` if none accepted it.

    ``reference``: a message with the same reference is not sent twice, if the provider supports it. Call it outside
    of transactions: it waits for other hosts.
    """

    def send_by(module: ModuleType) -> object:
        extra = {"reference": reference} if _takes_reference(module.send) else {}
        return module.send(phone, text, code=code, purpose=purpose, **extra)

    parts = delivery_log.count_parts(text)
    _deliver(list(settings.SMS_BACKENDS), send_by, phone, purpose, spoken=False, parts=parts)


def speak(phone: str, text: str, *, code: str, purpose: str, reference: str = "") -> None:
    """Speak ``code`` to ``phone`` by a voice call. Raise `SmsError` if no back-end could."""

    def send_by(module: ModuleType) -> object:
        return module.speak(phone, text, code=code, purpose=purpose, reference=reference)

    paths = [path for path in settings.SMS_BACKENDS if _speaks(path)]
    _deliver(paths, send_by, phone, purpose, spoken=True, parts=1)


def can_speak() -> bool:
    """Return whether a back-end can make voice calls."""
    return any(_speaks(path) for path in settings.SMS_BACKENDS)


def _deliver(
    paths: list[str], send_by: SendFunction, phone: str, purpose: str, *, spoken: bool, parts: int
) -> None:
    # SECURITY: checked here for all callers and all sources of numbers, because a message costs money from here on.
    if not is_served(phone):
        raise NotServedError("no SMS is sent to this number (PORTAL_SMS_COUNTRIES)")
    delivered = False
    for path in paths:
        if path in LOCAL:
            delivered |= _attempt(path, send_by, phone, purpose, spoken, parts)
        elif not delivered and circuit_breaker.allows(_circuit(path, spoken)):
            delivered = _attempt(path, send_by, phone, purpose, spoken, parts)
    if not delivered:
        # Also if all circuits are open: a provider that hangs would hold a thread for each message. In a minute one
        # message tries it again.
        raise SmsError("no SMS back-end accepted the message")


def _attempt(path: str, send_by: SendFunction, phone: str, purpose: str, spoken: bool, parts: int) -> bool:
    started, identifier, error = time.monotonic(), None, ""
    is_responsive = False
    try:
        identifier = send_by(import_module(path))
        is_responsive = True
    except ProviderError as refusal:
        error, is_responsive = refusal.reason, refusal.is_message_fault
    except Exception as failure:
        # SECURITY: every exception of a back-end ends here, and only its class is logged: a message or a traceback
        # may contain the code, or an address with the provider's password.
        error = type(failure).__name__
    if error:
        logger.error("SMS back-end %s failed: %s", path, error)
    if path not in LOCAL:
        # SECURITY: failures caused by the message do not open the circuit; otherwise three wrong numbers would
        # disable a provider.
        note = circuit_breaker.record_success if is_responsive else circuit_breaker.record_failure
        note(_circuit(path, spoken))
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


def _circuit(path: str, spoken: bool) -> str:
    # SECURITY: calls have a circuit of their own. Anybody can ask for one, and a provider without voice calls, or whose
    # calls are disturbed, would be skipped for the messages of all customers.
    return f"{path}:calls" if spoken else path


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
        return False  # portal.E007 reports it, and send() logs it
