"""Keep the direction of a sentence when values are put into it. Pure.

A key that is called ``DCA phone`` would turn the end of a Persian sentence around: its Latin letters draw the
punctuation next to them to their side (UAX #9). So every value in a sentence is isolated: `fill` does it for the
sentences of Python code, with characters (U+2068 … U+2069), and the tag ``blocktranslate`` for those of templates, with
``<bdi>`` (`hitobit_portal.i18n.blocktranslate`). `tests/portal/test_bidi.py` checks that there is no other way.
"""

import html
import re
import unicodedata

from django.utils.functional import Promise
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language_bidi

FSI, RLI, PDI = "\u2068", "\u2067", "\u2069"
RLM = "\u200f"
_INITIATORS = "\u2066\u2067\u2068"
_ALL = re.compile("[\u2066-\u2069]")
_TAG = re.compile(r"<[^<>]*>")


class Isolated(str):
    """Plain text that has its isolates already, or must not have any."""


class IsolatedHtml(SafeString):
    """Markup that isolates itself."""


def fill(sentence: str | Promise, /, **values: object) -> str:
    """Return ``sentence``, a translated text, with its placeholders filled by ``values``, each isolated."""
    return str(sentence) % {name: isolated(value) for name, value in values.items()}


def fill_html(sentence: str | Promise, /, **values: object) -> SafeString:
    """Return ``sentence`` like `fill` as HTML, where people copy a value: a command, an address."""
    filled = conditional_escape(str(sentence)) % {
        name: isolated_html(value) for name, value in values.items()
    }
    return mark_safe(filled)  # nosec B308 B703


def isolated(value: object) -> Isolated:
    """Return a value for a sentence of plain text: an SMS, a text mail, ``<title>``, an attribute, a message."""
    if isinstance(value, Isolated):
        return value
    text = str(value)
    if not _is_balanced(text):
        text = without_isolates(text)
    if not _may_turn(text):
        return Isolated(text)
    return Isolated(f"{RLI if _runs_right_to_left(text) else FSI}{text}{PDI}")


def isolated_html(value: object) -> IsolatedHtml:
    """Return a value for a sentence of HTML. Nobody copies markup along with it, as they would copy characters."""
    if isinstance(value, IsolatedHtml):
        return value
    escaped = conditional_escape(value if isinstance(value, SafeString) else str(value))
    if not escaped:
        return IsolatedHtml("")
    direction = ' dir="rtl"' if _runs_right_to_left(html.unescape(_TAG.sub("", escaped))) else ""
    return IsolatedHtml(mark_safe(f"<bdi{direction}>{escaped}</bdi>"))  # nosec B308 B703


def verbatim(value: object) -> Isolated:
    """Return a value that a sentence takes without isolates, because people and programs copy it from there."""
    return Isolated(value)


def without_isolates(text: str) -> str:
    """Return ``text`` for what is not read as a line: a file, a terminal, JSON."""
    return _ALL.sub("", text)


def line(text: str) -> str:
    """Return a line of plain text that runs in the direction of its language, whichever letter it begins with.

    A program that shows plain text takes the direction of a line from its first letter outside isolates.
    """
    return f"{RLM}{text}" if _runs_right_to_left(text) else text


def closed(text: str) -> str:
    """Return ``text`` that was cut, with the isolates closed that the cut left open."""
    depth = 0
    for char in _ALL.findall(text):
        depth = max(0, depth - 1) if char == PDI else depth + 1
    return text + PDI * depth


def _may_turn(text: str) -> bool:
    """Whether ``text`` can turn its neighbours, or be turned by them.

    In a right-to-left line that is what begins or ends with a letter of the other direction or with a digit, which
    follows the word before it. Others get no isolates: each is a character that an SMS pays for, and makes one in
    English three times as long.
    """
    kinds = [unicodedata.bidirectional(char) for char in _outside(text)]
    if not get_language_bidi():
        return any(kind in ("R", "AL", "AN") for kind in kinds)
    strong = [kind for kind in kinds if kind in ("L", "R", "AL", "EN", "AN")]
    return any(kind not in ("R", "AL") for kind in (*strong[:1], *strong[-1:]))


def _runs_right_to_left(text: str) -> bool:
    """Whether a value of a right-to-left sentence is right-to-left text that begins with a Latin word.

    Its first letter, which ``<bdi>`` and U+2068 go by, would turn it: "IP of the office", "Chrome on Linux" in Persian.
    """
    return (
        get_language_bidi()
        and _first_strong(text) == "L"
        and any(unicodedata.bidirectional(char) in ("R", "AL") for char in _outside(text))
    )


def _first_strong(text: str) -> str:
    """Return "L" or "R" for the first letter that has a direction, "" if none has (UAX #9, P2)."""
    for char in _outside(text):
        if (direction := unicodedata.bidirectional(char)) in ("L", "R", "AL"):
            return direction[0].replace("A", "R")
    return ""


def _outside(text: str) -> str:
    """Return the characters of ``text`` that stand outside its isolates."""
    depth, outside = 0, []
    for char in text:
        if char in _INITIATORS:
            depth += 1
        elif char == PDI:
            depth = max(0, depth - 1)
        elif not depth:
            outside.append(char)
    return "".join(outside)


def _is_balanced(text: str) -> bool:
    depth = 0
    for char in _ALL.findall(text):
        depth += -1 if char == PDI else 1
        if depth < 0:
            return False
    return depth == 0
