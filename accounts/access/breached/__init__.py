"""Passwords that stand in published breaches, offline.

`passwords.bin` beside this file has those of 8 characters and more among the million most frequent ones of the "10
million" list of SecLists (MIT, see LICENSE-SecLists.txt): 474,717, in lower case, each as the first four bytes of its
SHA-256, sorted. So few bytes take one good password in 9,000 for a breached one.
"""

import functools
from hashlib import sha256
from pathlib import Path

from hitobit_portal.i18n.fields import ascii_digits

__all__ = ["is_breached"]

PREFIX_BYTES = 4


def is_breached(password: str) -> bool:
    """Whether ``password`` is among them, in any case, and with Persian digits as the ones they are."""
    spelling = ascii_digits(password).lower()
    # What has no encoding (a lone surrogate, from a command line) is in no list.
    return _contains(_table(), sha256(spelling.encode(errors="replace")).digest()[:PREFIX_BYTES])


@functools.cache
def _table() -> bytes:
    return (Path(__file__).parent / "passwords.bin").read_bytes()  # 1.9 MB


def _contains(table: bytes, wanted: bytes) -> bool:
    """Whether the sorted rows of WIDTH bytes hold ``wanted``."""
    low, high = 0, len(table) // PREFIX_BYTES
    while low < high:
        middle = (low + high) // 2
        if table[middle * PREFIX_BYTES : (middle + 1) * PREFIX_BYTES] < wanted:
            low = middle + 1
        else:
            high = middle
    return table[low * PREFIX_BYTES : (low + 1) * PREFIX_BYTES] == wanted
