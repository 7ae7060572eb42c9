"""Find a customer's own secrets in what they pasted, so that no page shows them again. Pure.

All secrets are looked for in one pass. A text is reduced to its letters and digits in lower case, so that quotes, line
breaks and changed case hide nothing. Pieces of it, GRAM long, are then looked up in one table of pieces of all
secrets, written plain, in hex and in base64. The text gives a piece at each STRIDE, and the table has those that begin
within the first STRIDE characters of a spelling, so one of them meets wherever the secret stands. Of a secret in plain
the table has all pieces: any SHORTEST characters of it in a row are found, too.

SECURITY: the table is a `dict` of `bytes`: it compares hashes (SipHash, with a key of this process) before it compares
texts, so the time of a look-up does not tell how much of a guess was right. A piece is 32 of 36 letters and digits (165
bits), or 95 bits in hex: nobody learns a secret by pasting guesses at its pieces.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from apikeys.budget import Budget

MASK = "*"
GRAM = 32
STRIDE = 16
#: What has fewer letters and digits is no secret that the portal makes.
SHORTEST = GRAM + STRIDE - 1
#: How often an escape may be escaped once more: a shell's, then a URL's, then what was encoded twice.
ROUNDS = 3
#: What a look-up, an escape and a character cost, in bytes hashed (`budget`).
LOOK_UP_COST, ESCAPE_COST, CHARACTER_COST = 100, 350, 8

_KEPT = bytes(range(256))
_NO_LETTER = bytes(byte for byte in range(256) if not chr(byte).isascii() or not chr(byte).isalnum())
_LOWER = bytes(ord(chr(byte).lower()) if byte < 128 else byte for byte in _KEPT)
_ESCAPE = re.compile(
    r"%([0-9A-Fa-f]{2})|\\x([0-9A-Fa-f]{1,2})|\\u\{?([0-9A-Fa-f]{4})\}?|\\U([0-9A-Fa-f]{8})"
    r"|&#[xX]([0-9A-Fa-f]{1,4});?|&#([0-9]{1,5});?|\\([0-7]{1,3})"
)
_BASES = (0, 16, 16, 16, 16, 16, 10, 8)


@dataclass(frozen=True, slots=True)
class _Spelling:
    """One way to write down the secret of ``owner``, reduced.

    ``before`` and ``after``: how many characters on each side of it hold some of its bits.
    """

    owner: object
    whole: bytes = field(repr=False)
    before: int = 0
    after: int = 0


class Secrets:
    """The secrets of one customer, each with its owner (its key), ready to be looked for in any number of texts."""

    def __init__(self, secrets: Iterable[tuple[object, bytes]], budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._grams: dict[bytes, tuple[_Spelling, int]] = {}
        for owner, secret in secrets:
            for spelling, pieces in _spellings(owner, secret):
                self.budget.spend(pieces * LOOK_UP_COST)
                for at in range(pieces):
                    self._grams[spelling.whole[at : at + GRAM]] = (spelling, at)

    def hide(self, text: str) -> tuple[str, set[object]]:
        """``text`` with a ``*`` for each character of a secret that stands there in one piece, and whose they are."""
        flat = self._flat(text)
        hits = list(self._hits(flat))
        if not hits:
            return text, set()
        places = [at for at, char in enumerate(text) if char.isascii() and char.isalnum()]
        hidden = list(text)
        owners = set()
        for at, spelling, offset in hits:
            start, end = at - offset, at - offset + len(spelling.whole)
            if is_whole := start >= 0 and flat[start:end] == spelling.whole:
                first, last = places[start], places[end - 1]
            else:
                first, last = places[at], places[at + GRAM - 1]
            if last - first != (end - start if is_whole else GRAM) - 1:
                continue  # in pieces: see `found_in`
            if is_whole:
                first, last = max(first - spelling.before, 0), last + spelling.after
            elif hidden[first] != MASK:
                first, last = _run(text, first, last)
            hidden[first : last + 1] = MASK * (min(last + 1, len(text)) - first)
            owners.add(spelling.owner)
        return "".join(hidden), owners

    def found_in(self, text: str) -> set[object]:
        """Whose secrets are there in any way: in pieces, in another case, behind escapes that were escaped again."""
        owners = set()
        for view in self._views(text):
            owners |= {spelling.owner for _at, spelling, _offset in self._hits(self._flat(view))}
        return owners

    def _views(self, text: str) -> Iterator[str]:
        yield text
        for _round in range(ROUNDS):
            plain, count = _ESCAPE.subn(_character, text)
            self.budget.spend(count * ESCAPE_COST)
            if not count:
                return
            text = plain
            yield text

    def _flat(self, text: str) -> bytes:
        self.budget.spend(len(text) * CHARACTER_COST)
        return text.encode("ascii", "ignore").translate(_LOWER, _NO_LETTER)

    def _hits(self, flat: bytes) -> Iterator[tuple[int, _Spelling, int]]:
        """Where a piece of a secret stands, of which one, and where in it."""
        grams = self._grams
        self.budget.spend(len(flat) // STRIDE * LOOK_UP_COST)
        for at in range(0, len(flat) - GRAM + 1, STRIDE):
            met = grams.get(flat[at : at + GRAM])
            if met is not None:
                yield at, *met


def _spellings(owner: object, secret: bytes) -> Iterator[tuple[_Spelling, int]]:
    """How a secret may be written down, and of how many of its first characters pieces are kept."""
    whole = secret.translate(_LOWER, _NO_LETTER)
    if len(whole) < SHORTEST:
        return
    yield _Spelling(owner, whole), len(whole) - GRAM + 1
    yield _Spelling(owner, secret.hex().encode()), STRIDE
    for before in range(3):
        # What stands in front of it, such as "name:" of a Basic login, moves it within the groups of three bytes.
        # Of a character that holds bits of something else, too, nothing is known.
        start, end = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        known = base64.b64encode(bytes(before) + secret)[start:end].translate(_LOWER, _NO_LETTER)
        yield _Spelling(owner, known, min(before, 1), min((before + len(secret)) * 8 % 6, 1)), STRIDE


def _run(text: str, first: int, last: int) -> tuple[int, int]:
    """The place, and the letters and digits on both sides of it."""
    while first and text[first - 1].isascii() and text[first - 1].isalnum():
        first -= 1
    while last + 1 < len(text) and text[last + 1].isascii() and text[last + 1].isalnum():
        last += 1
    return first, last


def _character(match: re.Match[str]) -> str:
    kind = match.lastindex or 1
    number = int(match[kind], _BASES[kind])
    return chr(number) if number < 0x110000 else ""
