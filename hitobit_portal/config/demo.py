"""Secrets of the demo: generated once, kept in the data directory, readable by their owner only."""

import base64
import contextlib
import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def prepare(directory: Path) -> Path:
    """Return the data directory; create it with mode 0700 if it is missing."""
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"PORTAL_DATA_DIR cannot be created: {error.strerror}.") from None
    return directory


def keep(path: Path, text: str) -> str:
    """Return the content of ``path``; write ``text`` there (mode 0600) if the file does not exist yet.

    Processes that start at the same time agree: a link makes the file appear complete, and the first one wins.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text(encoding="utf-8").strip()


def secret_key(directory: Path) -> str:
    return keep(prepare(directory) / "secret-key", secrets.token_urlsafe(64))


def master_keys(directory: Path) -> str:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return keep(prepare(directory) / "master-keys", f"demo:{key}")
