"""SMS back-end of the demo: prints messages in the terminal in which the portal runs."""

import sys


def send(phone: str, text: str, *, code: str, purpose: str) -> None:
    """Print the message. The deployment check refuses this back-end outside the demo."""
    _print(f"SMS to {phone}", text)


def speak(phone: str, text: str, *, code: str, purpose: str, reference: str = "") -> None:
    """Print the text of the call."""
    _print(f"call to {phone}", text)


def _print(title: str, text: str) -> None:
    sys.stdout.write(f"\n--- {title} ---\n{text}\n---\n")
    sys.stdout.flush()
