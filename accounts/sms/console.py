"""The demo's first phone: the terminal in which the portal runs."""

import sys

from accounts.sms.speech import sentence


def send(phone: str, text: str, *, code: str, purpose: str) -> None:
    """Prints the message. The deployment check refuses this back-end outside the demo."""
    _print(f"SMS to {phone}", text)


def speak(phone: str, code: str, *, language: str, purpose: str, reference: str = "") -> None:
    """Prints what the call would say."""
    _print(f"call to {phone}", sentence(code, language))


def _print(title: str, text: str) -> None:
    sys.stdout.write(f"\n--- {title} ---\n{text}\n---\n")
    sys.stdout.flush()
