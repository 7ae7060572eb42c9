"""Find and mask a customer's own secrets in pasted text, so that no page shows them again. Pure.

All secrets are searched in one pass. A text is reduced to its letters and digits in lower case, so that quotes, line
breaks and changed case hide nothing. Its pieces of GRAM characters are looked up in one table of the pieces of all
secrets, in plain, hex and base64 spelling. The text is sampled every STRIDE characters and the table has all pieces, so
any MIN_LENGTH consecutive characters of a spelling are found.

SECURITY: the table is a `dict` of `bytes`: it compares hashes (SipHash, with a key of this process) before it compares
texts, so the time of a lookup does not show how much of a guess is correct. A piece has 32 of 36 letters and digits
(165 bits), or 95 bits in hex: nobody learns a secret by pasting guesses of its pieces.
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
#: Minimum number of letters and digits; all secrets of the portal are longer.
MIN_LENGTH = GRAM + STRIDE - 1
#: Above the length of every spelling.
MAX_SPELLING_LENGTH = 1 << 12
#: How many levels of escaping are removed: of a shell, of a URL, and of a double encoding.
MAX_UNESCAPES = 3
#: Cost of a lookup, an escape and a character, in bytes hashed (see `budget`).
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
    """One spelling of the secret of ``owner``, reduced to letters and digits.

    ``before`` and ``after``: number of characters on each side that contain some of its bits.
    """

    owner: object
    whole: bytes = field(repr=False)
    before: int = 0
    after: int = 0


class SecretMasker:
    """Finds and masks the secrets of one customer, each with its owner (a key), in any number of texts."""

    def __init__(self, secrets: Iterable[tuple[object, bytes]], budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._spellings: list[_Spelling] = []
        # The value is the number of a spelling and the offset in it as one int: a tuple for each of 40,000 pieces would
        # trigger a full garbage collection at every third request.
        self._grams: dict[bytes, int] = {}
        for owner, secret in secrets:
            for spelling in _spellings(owner, secret):
                pieces = len(spelling.whole) - GRAM + 1
                self.budget.spend(pieces * LOOK_UP_COST)
                number = len(self._spellings) * MAX_SPELLING_LENGTH
                self._spellings.append(spelling)
                for at in range(pieces):
                    self._grams[spelling.whole[at : at + GRAM]] = number + at

    def mask(self, text: str) -> tuple[str, set[object]]:
        """Replace each character of a secret that the text contains in one piece by ``*``; return text and owners."""
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
            # SECURITY: a secret in several pieces is not masked, or its other pieces would be shown; `find` finds it.
            if last - first != end - 1 - start or hidden[first] == MASK:
                continue
            if is_whole:
                first, last = max(first - spelling.before, 0), min(last + spelling.after, len(text) - 1)
            else:
                first, last = _run(text, first, last)
            hidden[first : last + 1] = MASK * (last + 1 - first)
            owners.add(spelling.owner)
        return "".join(hidden), owners

    def find(self, text: str) -> set[object]:
        """Return the owners of secrets in the text in any form: in pieces, in another case, or escaped repeatedly."""
        owners = set()
        for view in self._views(text):
            # Case folding turns some letters outside ASCII into letters of a secret: U+017F into s, U+212A into k.
            for cased in (view,) if view.isascii() else (view, view.casefold()):
                owners |= {spelling.owner for _at, spelling, _offset in self._hits(self._flat(cased))}
        return owners

    def _views(self, text: str) -> Iterator[str]:
        yield text
        for _round in range(MAX_UNESCAPES):
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
        """Yield the position of each piece of a secret, its spelling, and the offset in the spelling."""
        grams = self._grams
        self.budget.spend(len(flat) // STRIDE * LOOK_UP_COST)
        for at in range(0, len(flat) - GRAM + 1, STRIDE):
            value = grams.get(flat[at : at + GRAM])
            if value is not None:
                number, offset = divmod(value, MAX_SPELLING_LENGTH)
                yield at, self._spellings[number], offset


def _spellings(owner: object, secret: bytes) -> Iterator[_Spelling]:
    """Yield the spellings of a secret."""
    whole = secret.translate(_LOWER, _NO_LETTER)
    if not MIN_LENGTH <= len(whole) < MAX_SPELLING_LENGTH:
        return
    yield _Spelling(owner, whole)
    yield _Spelling(owner, secret.hex().encode())
    for before in range(3):
        # Text before the secret, such as "name:" in Basic authentication, shifts it within the groups of three bytes.
        # A character that also contains bits of other text is unknown.
        start, end = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        known = base64.b64encode(bytes(before) + secret)[start:end].translate(_LOWER, _NO_LETTER)
        yield _Spelling(owner, known, min(before, 1), min((before + len(secret)) * 8 % 6, 1))


def _run(text: str, first: int, last: int) -> tuple[int, int]:
    """Extend a range by the letters and digits on both sides of it."""
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
