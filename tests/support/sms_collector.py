"""An SMS back-end that keeps what it is given: ``settings.SMS_BACKENDS = ["tests.support.sms_collector"]``.

``failing`` makes it refuse every message, as a provider does that is down.
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
    """Keeps the message, or raises `SmsError` when ``failing``."""
    if failing:
        raise SmsError("the provider is down")
    with lock:
        messages.append(Message(phone, text, code, purpose))


def reset() -> None:
    """No messages, and a provider that works."""
    global failing
    failing = False
    with lock:
        messages.clear()


def newest(purpose: str = "") -> Message:
    """The last message, of ``purpose`` where one is given. Raises `IndexError` when there is none."""
    with lock:
        return [message for message in messages if message.purpose == purpose or not purpose][-1]
