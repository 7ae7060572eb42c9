"""The demo's first phone: the terminal in which the portal runs."""

import sys


def send(phone: str, text: str, *, code: str, purpose: str) -> None:
    """Prints the message. The deployment check refuses this back-end outside the demo."""
    _print(f"SMS to {phone}", text)


def speak(phone: str, text: str, *, code: str, purpose: str, reference: str = "") -> None:
    """Prints what the call would say."""
    _print(f"call to {phone}", text)


def _print(title: str, text: str) -> None:
    sys.stdout.write(f"\n--- {title} ---\n{text}\n---\n")
    sys.stdout.flush()
