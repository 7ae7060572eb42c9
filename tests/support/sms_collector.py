"""SMS back-end that stores messages: ``settings.SMS_BACKENDS = ["tests.support.sms_collector"]``.

``failing`` makes it refuse every message, like a provider that is down.
"""

import threading
from dataclasses import dataclass

from accounts.sms import SmsError

failing = False
lock = threading.Lock()


@dataclass(frozen=True)
class Message:
    to: str
    text: str
    code: str
    purpose: str


messages: list[Message] = []


def send(phone: str, text: str, *, code: str, purpose: str) -> None:
    """Store the message, or raise `SmsError` if ``failing``."""
    if failing:
        raise SmsError("the provider is down")
    with lock:
        messages.append(Message(phone, text, code, purpose))


def reset() -> None:
    """Delete the messages and turn ``failing`` off."""
    global failing
    failing = False
    with lock:
        messages.clear()


def newest(purpose: str = "") -> Message:
    """Return the last message (of ``purpose``, if given). Raise `IndexError` if there is none."""
    with lock:
        return [message for message in messages if message.purpose == purpose or not purpose][-1]
