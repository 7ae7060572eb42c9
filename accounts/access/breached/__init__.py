"""Offline check of passwords against published breaches.

`passwords.bin` contains 474,717 passwords in lower case: those with at least 8 characters among the million most
frequent of the "10 million" list of SecLists (MIT, see LICENSE-SecLists.txt). Each is stored as the first four bytes
of its SHA-256, sorted. With four bytes, one good password in 9,000 is mistaken for a breached one.
"""

import functools
from hashlib import sha256
from pathlib import Path

from hitobit_portal.i18n.fields import ascii_digits

__all__ = ["is_breached"]

PREFIX_BYTES = 4


def is_breached(password: str) -> bool:
    """Return whether ``password`` is in the list. Case is ignored, and Persian digits count as ASCII digits."""
    spelling = ascii_digits(password).lower()
    # Text without an encoding (a lone surrogate, from a command line) is in no list.
    return _contains(_table(), sha256(spelling.encode(errors="replace")).digest()[:PREFIX_BYTES])


@functools.cache
def _table() -> bytes:
    return (Path(__file__).parent / "passwords.bin").read_bytes()  # 1.9 MB


def _contains(table: bytes, wanted: bytes) -> bool:
    """Return whether ``table``, sorted rows of PREFIX_BYTES bytes each, contains ``wanted``."""
    low, high = 0, len(table) // PREFIX_BYTES
    while low < high:
        middle = (low + high) // 2
        if table[middle * PREFIX_BYTES : (middle + 1) * PREFIX_BYTES] < wanted:
            low = middle + 1
        else:
            high = middle
    return table[low * PREFIX_BYTES : (low + 1) * PREFIX_BYTES] == wanted
