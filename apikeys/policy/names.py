"""Clean and compare the names that customers give to keys. Pure.

Names appear in SMS, e-mail and exports; `hitobit_portal.i18n.free_text` defines what they must not contain.
"""

import enum
import hashlib
import re
import unicodedata

from hitobit_portal.i18n import free_text

MAX_LENGTH = 50
MAX_FOLDED_LENGTH = 200
# Marks that reorder the text around them: with these a name can be displayed as another one (Trojan Source).
BIDI_MARKS = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
SPACES = re.compile(r"\s+")


class NameProblem(enum.Enum):
    EMPTY = "empty"
    TOO_LONG = "too long"
    HIDDEN = "hidden"  # control, format, private-use or unassigned characters
    LINK = "link"  # text that a phone displays as a link or a phone number


class InvalidName(ValueError):
    """A name is not acceptable; ``problem`` is the reason."""

    def __init__(self, problem: NameProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem


def clean(text: str) -> str:
    """Return the name in its stored form: NFC, single spaces, without direction marks; 1 to 50 characters.

    Raises `InvalidName`.
    """
    # Do not normalise a megabyte only to reject it.
    if len(text) > MAX_LENGTH * 20:
        raise InvalidName(NameProblem.TOO_LONG)
    name = tidy(text)
    # ZWNJ and ZWJ (Cf) are part of Persian spelling, but a name of these only is empty.
    if not name.strip("\u200c\u200d "):
        raise InvalidName(NameProblem.EMPTY)
    if len(name) > MAX_LENGTH:
        raise InvalidName(NameProblem.TOO_LONG)
    problem = free_text.problem(name)
    if problem is not None:
        raise InvalidName(NameProblem(problem.value))
    return name


def tidy(text: str) -> str:
    """Return the text in NFC with single spaces and without direction marks. Names of older keys are compared so."""
    return SPACES.sub(" ", BIDI_MARKS.sub("", unicodedata.normalize("NFC", text))).strip()


def fold(name: str) -> str:
    """Return a form that is equal for names that look alike: ignores case, width, Arabic letters and joiners."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    text = unicodedata.normalize(
        "NFKC", folded.translate({0x064A: "ی", 0x0649: "ی", 0x0643: "ک", 0x200C: None, 0x200D: None})
    )
    # One character may expand to 18 (U+FDFA), and the column has 200 characters.
    return text if len(text) <= MAX_FOLDED_LENGTH else hashlib.sha256(text.encode()).hexdigest()
