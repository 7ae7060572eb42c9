"""Find a customer's own secrets in what they pasted, so that no page shows them again. Pure.

All secrets are looked for in one pass. A text is reduced to its letters and digits in lower case, so that quotes, line
breaks and changed case hide nothing. Pieces of it, GRAM long, are then looked up in one table of pieces of all
secrets, written plain, in hex and in base64. The text gives a piece at each STRIDE, and the table has all, so any
SHORTEST characters of a spelling in a row are found.

SECURITY: the table is a `dict` of `bytes`: it compares hashes (SipHash, with a key of this process) before it compares
texts, so the time of a look-up does not tell how much of a guess was right. A piece is 32 of 36 letters and digits (165
bits), or 95 bits in hex: nobody learns a secret by pasting guesses at its pieces.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from apikeys.debugger.budget import Budget

MASK = "*"
GRAM = 32
STRIDE = 16
#: What has fewer letters and digits is no secret that the portal makes.
SHORTEST = GRAM + STRIDE - 1
#: More than a spelling has places.
PLACES = 1 << 12
#: How often an escape may be escaped once more: a shell's, then a URL's, then what was encoded twice.
ROUNDS = 3
#: What a look-up, an escape and a character cost, in bytes hashed (`budget`).
LOOK_UP_COST, ESCAPE_COST, CHARACTER_COST = 100, 350, 8

_KEPT = bytes(range(256))
_NO_LETTER = bytes(byte for byte in range(256) if not chr(byte).isascii() or not chr(byte).isalnum())
_LOWER = bytes(ord(chr(byte).lower()) if byte < 128 else byte for byte in _KEPT)
_ESCAPE = re.compile(
    r"%([0-9A-Fa-f]{2})|\\[xX]([0-9A-Fa-f]{1,2})|\\U([0-9A-Fa-f]{8})|\\[uU]\{?([0-9A-Fa-f]{4})\}?"
    r"|&#[xX]([0-9A-Fa-f]{1,4});?|&#([0-9]{1,5});?|\\([0-7]{1,3})|&[aA][mM][pP];|\\\\"
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
        self._spellings: list[_Spelling] = []
        # The value is a spelling's number and the place in it as one number: a tuple for each of 40,000 pieces would
        # make the garbage collector go through all of the process's memory at every third paste.
        self._grams: dict[bytes, int] = {}
        for owner, secret in secrets:
            for spelling in _spellings(owner, secret):
                pieces = len(spelling.whole) - GRAM + 1
                self.budget.spend(pieces * LOOK_UP_COST)
                number = len(self._spellings) * PLACES
                self._spellings.append(spelling)
                for at in range(pieces):
                    self._grams[spelling.whole[at : at + GRAM]] = number + at

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
            is_whole = start >= 0 and flat[start:end] == spelling.whole
            if not is_whole:
                start, end = at, at + GRAM
            first, last = places[start], places[end - 1]
            # SECURITY: in pieces it is not masked at all, or its other pieces were shown; `found_in` finds it.
            if last - first != end - 1 - start or hidden[first] == MASK:
                continue
            if is_whole:
                first, last = max(first - spelling.before, 0), min(last + spelling.after, len(text) - 1)
            else:
                first, last = _run(text, first, last)
            hidden[first : last + 1] = MASK * (last + 1 - first)
            owners.add(spelling.owner)
        return "".join(hidden), owners

    def found_in(self, text: str) -> set[object]:
        """Whose secrets are there in any way: in pieces, in another case, behind escapes that were escaped again."""
        owners = set()
        for view in self._views(text):
            # Letters beyond ASCII that case folding turns into letters of a secret: U+017F is an s, U+212A a k.
            for cased in (view,) if view.isascii() else (view, view.casefold()):
                owners |= {spelling.owner for _at, spelling, _offset in self._hits(self._flat(cased))}
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
                number, offset = divmod(met, PLACES)
                yield at, self._spellings[number], offset


def _spellings(owner: object, secret: bytes) -> Iterator[_Spelling]:
    """How a secret may be written down."""
    whole = secret.translate(_LOWER, _NO_LETTER)
    if not SHORTEST <= len(whole) < PLACES:
        return
    yield _Spelling(owner, whole)
    yield _Spelling(owner, secret.hex().encode())
    for before in range(3):
        # What stands in front of it, such as "name:" of a Basic login, moves it within the groups of three bytes.
        # Of a character that holds bits of something else, too, nothing is known.
        start, end = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        known = base64.b64encode(bytes(before) + secret)[start:end].translate(_LOWER, _NO_LETTER)
        yield _Spelling(owner, known, min(before, 1), min((before + len(secret)) * 8 % 6, 1))


def _run(text: str, first: int, last: int) -> tuple[int, int]:
    """The place, and the letters and digits on both sides of it."""
    while first and text[first - 1].isascii() and text[first - 1].isalnum():
        first -= 1
    while last + 1 < len(text) and text[last + 1].isascii() and text[last + 1].isalnum():
        last += 1
    return first, last


def _character(match: re.Match[str]) -> str:
    kind = match.lastindex
    if kind is None:
        return match[0][0]  # of "&amp;" and two backslashes
    number = int(match[kind], _BASES[kind])
    return chr(number) if number < 0x110000 else ""
