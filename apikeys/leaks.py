"""Find a customer's own secrets in what they pasted, so that no page shows them again. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

_RUN = re.compile(r"[A-Za-z0-9+/=]{32,}")
MASK = "*"


def hide(text: str, secrets: Sequence[bytes]) -> tuple[str, bool]:
    """``text`` with every secret (plain, hex, base64) masked by as many ``*``, and whether there was one."""
    marks: dict[int, set[bytes]] = {}
    for secret in secrets:
        for spelling in _spellings(secret):
            marks.setdefault(len(spelling), set()).add(_digest(spelling))
    hidden = list(text)
    was_there = False
    for run in _RUN.finditer(text):
        for length, digests in marks.items():
            for at in range(run.start(), run.end() - length + 1):
                # SECURITY: digests, so that the time to compare does not tell how much of a guess was right.
                if _digest(text[at : at + length]) in digests:
                    hidden[at : at + length] = MASK * length
                    was_there = True
    return "".join(hidden), was_there


def is_disguised(text: str, others: Iterable[str], secrets: Sequence[bytes]) -> bool:
    """Whether a secret is there that `hide` cannot mask: broken over lines, percent-encoded, or quoted in pieces.

    ``others``: what was read out of ``text``.
    """
    candidates = (re.sub(r"[\s\\^`'\"]+", "", text), unquote(text), unquote(unquote(text)), *others)
    return any(hide(candidate, secrets)[1] for candidate in candidates)


def _spellings(secret: bytes) -> set[str]:
    """How a secret may be written down; short ones are none that the portal makes."""
    if len(secret) < 32:
        return set()
    return {
        secret.decode("latin-1"),
        secret.hex(),
        secret.hex().upper(),
        base64.b64encode(secret).decode(),
        base64.b64encode(secret).decode().rstrip("="),
    }


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
