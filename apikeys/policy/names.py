"""Names that people give to keys: cleaned, compared. Pure.

A name stands in SMS, e-mail and exports; what it may not hold is the rule of `hitobit_portal.i18n.free_text`.
"""

import enum
import hashlib
import re
import unicodedata

from hitobit_portal.i18n import free_text

LONGEST = 50
LONGEST_FOLDED = 200
# Marks that reorder text around them: a name with one of these can show other words than it holds (Trojan Source).
BIDI_MARKS = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
SPACES = re.compile(r"\s+")


class Problem(enum.Enum):
    EMPTY = "empty"
    TOO_LONG = "too long"
    HIDDEN = "hidden"  # control, format, private-use or unassigned characters
    LINK = "link"  # what a phone would turn into a link or a call


class InvalidName(ValueError):
    """A name was refused; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.value)
        self.problem = problem


def clean(text: str) -> str:
    """The name as it is kept: NFC, single spaces, without direction marks; 1 to 50 characters."""
    # 20 times the limit: no reason to normalise a megabyte in order to refuse it.
    if len(text) > LONGEST * 20:
        raise InvalidName(Problem.TOO_LONG)
    name = tidy(text)
    # ZWNJ and ZWJ (Cf) belong to Persian spelling, but a name of nothing else is empty.
    if not name.strip("\u200c\u200d "):
        raise InvalidName(Problem.EMPTY)
    if len(name) > LONGEST:
        raise InvalidName(Problem.TOO_LONG)
    found = free_text.problem(name)
    if found is not None:
        raise InvalidName(Problem(found.value))
    return name


def tidy(text: str) -> str:
    """NFC, single spaces, without direction marks: what the name of an older key is compared in, whatever it holds."""
    return SPACES.sub(" ", BIDI_MARKS.sub("", unicodedata.normalize("NFC", text))).strip()


def fold(name: str) -> str:
    """What two names have in common when people take them for the same: case, width, Arabic letters, joiners."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    text = unicodedata.normalize(
        "NFKC", folded.translate({0x064A: "ی", 0x0649: "ی", 0x0643: "ک", 0x200C: None, 0x200D: None})
    )
    # One character may stand for 18 (U+FDFA), and the column holds 200.
    return text if len(text) <= LONGEST_FOLDED else hashlib.sha256(text.encode()).hexdigest()
