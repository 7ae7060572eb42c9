"""The rule for text that users choose (customers, visitors, staff) and that leaves the portal. Pure.

SECURITY: people trust messages from Hitobit. An attacker who chooses the name of a key, an e-mail address or the name
of a browser must not get a link, a number to call, or characters that hide or reorder words into a message. `problem`
checks such text when it is entered, so that its author is told. `plain` makes it harmless when it is sent (SMS, e-mail,
call, export), because rows that are older than the rule, or did not come through a form, are not trusted.

The check uses a folded copy (NFKC, without joiners, full stops of other scripts as ".", all digits as ASCII), so that
different spellings of a link are found. It has no list of top-level domains: a full stop between a letter or digit and
two letters is a link.
"""

import enum
import re
import unicodedata

#: ZWNJ and ZWJ: part of Persian spelling and of emoji.
JOINERS = "\u200c\u200d"
#: Characters that are invisible although their category is a letter, a mark or a symbol (Default_Ignorable_Code_Point
#: and the blank Braille pattern), without the two variation selectors of emoji, U+FE0E and U+FE0F.
INVISIBLE = frozenset(
    [
        *map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)),
        *map(chr, (0x180B, 0x180C, 0x180D, 0x180F)),
        *map(chr, range(0xFE00, 0xFE0E)),
        *map(chr, range(0xE0100, 0xE01F0)),
    ]
)
#: Removed from the folded copy, because they could split a domain.
_SKIPPED = frozenset(JOINERS + "\ufe0e\ufe0f")
#: Characters that IDNA (RFC 3490, 3.1) or NFKC treat as ".".
_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61\u2024\ufe52", "."))
# Applied after letters of every script were replaced by "a": a full stop between a character that can end a label (no
# ASCII punctuation but "-" and "_") and two letters. ".NET" and "v2.1" are not domains.
_DOMAIN = re.compile(r"(?<=[^\s!-,./:-@\[-^`{-~])\.(?=[A-Za-z]{2})|(?<![A-Za-z0-9])[Ww]{3}\.(?=\S)")
_SCHEME = re.compile(r":/{2,}")
# The version of a browser ("Chrome/120.0.0.0") is not an IP address.
_ADDRESS = re.compile(r"(?<![\w./])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\.?\w)")
# Not inside a word: the hexadecimal digits of an id are not a phone number.
_DIGITS = re.compile(r"(?<![A-Za-z0-9])\+?\(?[0-9](?:[ ().\-]{0,3}[0-9]){6,}(?![A-Za-z0-9])")
_MOBILE = re.compile(r"(?:98)?9[0-9]{9}")  # of Iran, without the zero
_LEAST_WITH_PLUS, _LEAST_WITH_ZERO = 7, 10
_MOST_ROUNDS = 4


class Problem(enum.Enum):
    HIDDEN = "hidden"  # control, format, private-use, unassigned or invisible characters
    LINK = "link"  # a scheme, a domain, an e-mail or IP address, a phone number


def problem(text: str) -> Problem | None:
    """Return what is wrong with one line of text; None if it may leave the portal unchanged."""
    if any(map(_is_hidden, text)):
        return Problem.HIDDEN
    return Problem.LINK if has_link(text) else None


def one_line(text: str) -> str:
    """Replace each run of white space by one space."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """Return ``text`` in a form that may leave the portal: one line, nothing hidden, nothing that a phone makes a link.

    Text that passes `problem` is unchanged, except for its white space.
    """
    harmless = one_line(text if _is_plain_ascii(text) else "".join(map(_printable, text)))
    for _round in range(_MOST_ROUNDS):
        if not has_link(harmless):
            return harmless
        harmless = one_line("".join(map(_printable, _break_links(_folded(harmless)))))
    # Text that still has a link was made to get one through.
    return re.sub(r"[./:0-9]", "·", _folded(harmless))


def has_link(text: str) -> bool:
    """Return whether a phone or mail program would show something in ``text`` as a link or a number to call."""
    folded = _folded(text)
    link = _SCHEME.search(folded) or _ADDRESS.search(folded) or _DOMAIN.search(_letters(folded))
    return bool(link) or any(_is_phone(run.group()) for run in _DIGITS.finditer(folded))


def has_hidden(text: str) -> bool:
    return any(map(_is_hidden, text))


def _is_hidden(char: str) -> bool:
    return char in INVISIBLE or (
        char not in JOINERS and unicodedata.category(char) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
    )


def _is_plain_ascii(text: str) -> bool:
    """Whether nothing in the text is hidden or has another spelling. Most texts of an export are such."""
    return text.isascii() and text.isprintable()


def _printable(char: str) -> str:
    if not _is_hidden(char):
        return char
    # Format and invisible characters occur inside words; the others separate words.
    return "" if char in INVISIBLE or unicodedata.category(char) == "Cf" else " "


def _folded(text: str) -> str:
    if text.isascii():
        return text
    normalized = unicodedata.normalize("NFKC", text).translate(_DOTS)
    return "".join(map(_ascii_digit, (char for char in normalized if char not in _SKIPPED)))


def _ascii_digit(char: str) -> str:
    return char if char.isascii() else str(unicodedata.decimal(char, char))


def _letters(folded: str) -> str:
    """Replace letters and marks of other scripts by "a", one for one: a domain may end in भारत."""
    if folded.isascii():
        return folded
    return "".join(
        char if char.isascii() or unicodedata.category(char)[0] not in "LM" else "a" for char in folded
    )


def _is_phone(run: str) -> bool:
    digits = re.sub(r"[^0-9]", "", run)
    least = _LEAST_WITH_PLUS if run.startswith("+") else _LEAST_WITH_ZERO
    is_dialled = run.startswith("+") or digits.startswith("0")
    return (is_dialled and len(digits) >= least) or _MOBILE.fullmatch(digits) is not None


def _break_links(folded: str) -> str:
    """Replace full stops of links by "·", "://" by ":", and the middle digits of phone numbers."""
    dots = {match.end() - 1 for match in _DOMAIN.finditer(_letters(folded))}
    dots |= {at for match in _ADDRESS.finditer(folded) for at in range(*match.span()) if folded[at] == "."}
    broken = "".join("·" if at in dots else char for at, char in enumerate(folded))
    return _DIGITS.sub(_mask_phone, _SCHEME.sub(":", broken))


def _mask_phone(run: re.Match[str]) -> str:
    digits = re.sub(r"[^0-9]", "", run.group())
    return f"{digits[:4]}•••{digits[-4:]}" if _is_phone(run.group()) else run.group()
