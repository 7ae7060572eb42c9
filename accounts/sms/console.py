"""The demo's first phone: the terminal in which the portal runs."""

import sys


def send(phone: str, text: str, *, code: str, purpose: str) -> None:
    """Prints the message. The deployment check refuses this back-end outside the demo."""
    sys.stdout.write(f"\n--- SMS to {phone} ---\n{text}\n---\n")
    sys.stdout.flush()
