"""SMS back-end of the demo: one JSON file for each message in ``var/sms/``, with names that sort by time."""

import hashlib
import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

KEPT = 200
FINISHED = "[!.]*.json"  # a temporary file starts with a dot, which "*" of pathlib matches


def directory() -> Path:
    return Path(settings.DATA_DIR) / "sms"


def send(phone: str, text: str, *, code: str, purpose: str, reference: str = "") -> None:
    """Write ``{"to", "text", "code", "purpose", "at"}``. The file appears complete, and only its owner can read it.

    If there is a file for ``reference``, nothing is written, as a provider that knows a reference sends nothing.
    """
    _write({"to": phone, "text": text, "code": code, "purpose": purpose}, reference)


def speak(phone: str, text: str, *, code: str, purpose: str, reference: str = "") -> None:
    """Write the text of the call as `send` does, with ``"spoken": true``."""
    message = {"to": phone, "text": text, "code": code, "purpose": purpose}
    _write(message, reference, spoken=True)


def _write(message: dict[str, str], reference: str, **more: bool) -> None:
    directory().mkdir(mode=0o700, parents=True, exist_ok=True)
    tag = hashlib.sha256(reference.encode()).hexdigest()[:16] if reference else secrets.token_hex(3)
    if reference and any(directory().glob(f"[!.]*-{tag}.json")):
        return
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%S.%f}Z-{tag}.json"
    draft = directory() / f".{name}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({**message, "at": now.isoformat(), **more}, file, ensure_ascii=False)
    draft.rename(directory() / name)


def messages() -> list[dict[str, Any]]:
    """Return the messages, newest first; ``at`` as datetime."""
    newest = []
    for path in sorted(directory().glob(FINISHED), reverse=True)[:KEPT]:
        message = json.loads(path.read_text(encoding="utf-8"))
        newest.append({**message, "at": datetime.fromisoformat(message["at"])})
    return newest


def clear() -> None:
    for path in directory().glob(FINISHED):
        path.unlink(missing_ok=True)
