"""The one rule for text that a customer, a stranger or a member of staff chose, wherever it leaves the portal. Pure.

SECURITY: a message from Hitobit is believed. Whoever names a key, an e-mail address or a browser must not put a link, a
number to call, or characters that hide or reorder words into one. `problem` is asked where such text comes in, so that
its author is told; `plain` is applied where it goes out (SMS, e-mail, call, export), because rows that were stored
before the rule, or around a form, are not trusted.

The check is made on a folded copy (NFKC, without joiners, full stops of other scripts as ".", every digit as ASCII), so
that another spelling of the same link is the same link. It knows no list of top-level domains: a full stop between a
letter or digit and two letters counts.
"""

import enum
import re
import unicodedata

#: ZWNJ and ZWJ: part of Persian spelling and of emoji.
JOINERS = "\u200c\u200d"
#: What renders as nothing although its category is a letter, a mark or a symbol (Default_Ignorable_Code_Point, and the
#: blank Braille pattern). The two variation selectors of emoji, U+FE0E and U+FE0F, are not among them.
INVISIBLE = frozenset(
    [
        *map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)),
        *map(chr, (0x180B, 0x180C, 0x180D, 0x180F)),
        *map(chr, range(0xFE00, 0xFE0E)),
        *map(chr, range(0xE0100, 0xE01F0)),
    ]
)
#: Removed from the folded copy, in which they could stand inside a domain.
_SKIPPED = frozenset(JOINERS + "\ufe0e\ufe0f")
#: Full stops that IDNA (RFC 3490, 3.1) or NFKC take for ".".
_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61\u2024\ufe52", "."))
# After letters of every script have become "a": between what can end a label (no ASCII punctuation but "-" and "_") and
# two letters. ".NET" and "v2.1" are no domains.
_DOMAIN = re.compile(r"(?<=[^\s!-,./:-@\[-^`{-~])\.(?=[A-Za-z]{2})|(?<![A-Za-z0-9])[Ww]{3}\.(?=\S)")
_SCHEME = re.compile(r":/{2,}")
# A version of a browser ("Chrome/120.0.0.0") is no address.
_ADDRESS = re.compile(r"(?<![\w./])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\.?\w)")
# Not within a word: the hexadecimal digits of an id are no number to call.
_DIGITS = re.compile(r"(?<![A-Za-z0-9])\+?\(?[0-9](?:[ ().\-]{0,3}[0-9]){6,}(?![A-Za-z0-9])")
_MOBILE = re.compile(r"(?:98)?9[0-9]{9}")  # of Iran, without the zero
_LEAST_WITH_PLUS, _LEAST_WITH_ZERO = 7, 10
_TIMES = 4


class Problem(enum.Enum):
    HIDDEN = "hidden"  # control, format, private-use, unassigned or invisible characters
    LINK = "link"  # a scheme, a domain, an e-mail or IP address, a phone number


def problem(text: str) -> Problem | None:
    """What is wrong with one line of text; None when it may leave the portal as it is."""
    if any(map(_is_hidden, text)):
        return Problem.HIDDEN
    return Problem.LINK if has_link(text) else None


def one_line(text: str) -> str:
    """White space of every kind and length as one space."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """``text`` as it may leave the portal: one line, nothing hidden, and nothing that a phone turns into a link.

    What passes `problem` is unchanged, but for its white space.
    """
    kept = one_line("".join(map(_printable, text)))
    for _time in range(_TIMES):
        if not has_link(kept):
            return kept
        kept = one_line("".join(map(_printable, _cut(_folded(kept)))))
    # What is a link after that is not worth reading.
    return re.sub(r"[./:0-9]", "·", _folded(kept))


def has_link(text: str) -> bool:
    """Whether telephones or mail programs would make something in ``text`` a link, or a number to call."""
    folded = _folded(text)
    found = _SCHEME.search(folded) or _ADDRESS.search(folded) or _DOMAIN.search(_letters(folded))
    return bool(found) or any(_is_phone(run.group()) for run in _DIGITS.finditer(folded))


def has_hidden(text: str) -> bool:
    return any(map(_is_hidden, text))


def _is_hidden(char: str) -> bool:
    return char in INVISIBLE or (
        char not in JOINERS and unicodedata.category(char) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
    )


def _printable(char: str) -> str:
    if not _is_hidden(char):
        return char
    # A format character stands between two letters of one word; the others separate.
    return "" if char in INVISIBLE or unicodedata.category(char) == "Cf" else " "


def _folded(text: str) -> str:
    kept = unicodedata.normalize("NFKC", text).translate(_DOTS)
    return "".join(map(_ascii_digit, (char for char in kept if char not in _SKIPPED)))


def _ascii_digit(char: str) -> str:
    return char if char.isascii() else str(unicodedata.decimal(char, char))


def _letters(folded: str) -> str:
    """The same length, with letters and marks of other scripts as "a": a domain may end in भारत."""
    return "".join(
        char if char.isascii() or unicodedata.category(char)[0] not in "LM" else "a" for char in folded
    )


def _is_phone(run: str) -> bool:
    digits = re.sub(r"[^0-9]", "", run)
    least = _LEAST_WITH_PLUS if run.startswith("+") else _LEAST_WITH_ZERO
    is_dialled = run.startswith("+") or digits.startswith("0")
    return (is_dialled and len(digits) >= least) or _MOBILE.fullmatch(digits) is not None


def _cut(folded: str) -> str:
    """Breaks each link: "·" for its full stops, one colon for "://", and of a number the first and last four digits."""
    dots = {found.end() - 1 for found in _DOMAIN.finditer(_letters(folded))}
    dots |= {at for found in _ADDRESS.finditer(folded) for at in range(*found.span()) if folded[at] == "."}
    broken = "".join("·" if at in dots else char for at, char in enumerate(folded))
    return _DIGITS.sub(_masked, _SCHEME.sub(":", broken))


def _masked(run: re.Match[str]) -> str:
    digits = re.sub(r"[^0-9]", "", run.group())
    return f"{digits[:4]}•••{digits[-4:]}" if _is_phone(run.group()) else run.group()
