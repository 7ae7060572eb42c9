"""Parse a curl command as a shell and curl do. Pure.

The shell is recognised by its line continuation: `\\` (bash), `^` (cmd), a backtick (PowerShell). Nothing is executed,
and no variable or file is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote

from apikeys.debugger.causes import Cause

_FORM = "application/x-www-form-urlencoded"
# Short options with a value, from curl's manual; all others are flags.
_SHORT_VALUES = frozenset("XHdFAbcemouxwTErtyYzCKDPQU")
_LONG_FLAGS = frozenset(
    "compressed fail get globoff head http1.0 http1.1 http2 http3 include insecure ipv4 ipv6 location no-buffer"
    " no-keepalive no-progress-meter path-as-is progress-bar remote-name silent show-error tlsv1.2 tlsv1.3"
    " verbose".split()
)
_SHORT_NAMES = {"X": "request", "H": "header", "d": "data", "F": "form", "G": "get", "I": "head"}
_ANSI_C = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "e": "\033",
    "E": "\033",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "?": "?",
}
_CODE = re.compile(r"u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|x([0-9A-Fa-f]{1,2})|([0-7]{1,3})")
#: Characters without a special meaning in any shell.
_PLAIN = re.compile(r"[^\s\\;|&$'\"^`]+")


@dataclass(slots=True)
class Command:
    """The request of a curl command. ``data``: values of ``-d`` and similar options, which curl joins with ``&``."""

    method: str = ""
    url: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    in_query: bool = False
    json: bool = False
    causes: list[Cause] = field(default_factory=list)

    @property
    def body(self) -> str:
        return ("" if self.json else "&").join(self.data)


def parse(text: str) -> Command:
    """Parse the command; words that curl does not understand are ignored."""
    words, cut = split(text)
    command = Command()
    if cut:
        command.causes.append(Cause.AMPERSAND_CUT)
    rest = iter(words[1:])
    for word in rest:
        if word.startswith("--"):
            name = word[2:]
            _option(command, name, "" if name in _LONG_FLAGS else next(rest, ""))
        elif word.startswith("-") and len(word) > 1:
            _cluster(command, word[1:], rest)
        elif not command.url:
            command.url = word
    _finish(command)
    return command


def _cluster(command: Command, letters: str, rest: object) -> None:
    """Process ``-sXPOST``: flags, until an option that takes the rest of the word or the next word as its value."""
    for at, letter in enumerate(letters):
        if letter in _SHORT_VALUES:
            value = letters[at + 1 :] or next(rest, "")  # type: ignore[call-overload]
            _option(command, _SHORT_NAMES.get(letter, ""), value)
            return
        _option(command, _SHORT_NAMES.get(letter, ""), "")


def _option(command: Command, name: str, value: str) -> None:
    if name == "request":
        command.method = value
    elif name == "url":
        command.url = value
    elif name == "header":
        key, _, content = value.partition(":")
        command.headers.append((key.strip(), content.strip()))
    elif name in ("data", "data-ascii", "data-binary", "data-raw", "json"):
        if value.startswith("@") and name != "data-raw":
            command.causes.append(Cause.BODY_FILE)
        else:
            command.data.append(value)
        command.json = command.json or name == "json"
    elif name == "data-urlencode":
        key, separator, content = value.partition("=")
        command.data.append(f"{key}={quote(content, safe='')}" if separator else quote(value, safe=""))
        if key == "":
            command.data[-1] = command.data[-1].removeprefix("=")
    elif name in ("form", "form-string"):
        command.causes.append(Cause.MULTIPART)
    elif name == "get":
        command.in_query = True
    elif name == "head":
        command.method = "HEAD"


def _finish(command: Command) -> None:
    if command.in_query and command.data:
        command.url += ("&" if "?" in command.url else "?") + "&".join(command.data)
        command.data = []
    has_body = bool(command.data) or Cause.MULTIPART in command.causes
    command.method = command.method or ("POST" if has_body else "GET")
    named = {name.casefold() for name, _value in command.headers}
    if command.data and "content-type" not in named:
        command.headers.append(("Content-Type", "application/json" if command.json else _FORM))


def split(text: str) -> tuple[list[str], bool]:
    """Return the words of a command, and whether an unquoted ``&`` ended it in the middle of a word."""
    if re.search(r"\^[ \t]*\n", text) or '^"' in text:
        plain = re.sub(r"\^[ \t]*\n", " ", text)
        return _words(re.sub(r"\^(.)", r"\1", plain), escape="", single=False)
    if re.search(r"`[ \t]*\n", text):
        return _words(re.sub(r"`[ \t]*\n", " ", text), escape="`", single=True)
    return _words(re.sub(r"\\[ \t]*\n", " ", text), escape="\\", single=True)


def _words(text: str, *, escape: str, single: bool) -> tuple[list[str], bool]:
    # Collect pieces and join them once: appending to a string character by character copies it each time.
    words: list[str] = []
    word: list[str] | None = None
    at = 0
    while at < len(text):
        char = text[at]
        if plain := _PLAIN.match(text, at):
            piece, at = plain[0], plain.end()
        elif char.isspace():
            if word is not None:
                words.append("".join(word))
            word, at = None, at + 1
            continue
        elif char in ";|&" and escape == "\\":
            last = "".join(word or ())
            return [*words, *([last] if last else [])], char == "&" and bool(last)
        elif char == escape:
            piece, at = text[at + 1 : at + 2], at + 2
        elif text.startswith("$'", at) and escape == "\\":
            piece, at = _ansi_c(text, at + 2)
        elif char == '"' or (char == "'" and single):
            piece, at = _quoted(text, at + 1, char, escape)
        else:
            piece, at = char, at + 1
        word = word or []
        word.append(piece)
    return [*words, *(["".join(word)] if word is not None else [])], False


def _quoted(text: str, at: int, quote_char: str, escape: str) -> tuple[str, int]:
    """Return the text up to the closing quote (or the end), and the position after it."""
    piece = []
    while at < len(text) and text[at] != quote_char:
        if plain := _PLAIN.match(text, at):
            piece.append(plain[0])
            at = plain.end()
            continue
        following = text[at + 1 : at + 2]
        # bash: only these can be escaped within double quotes; cmd: the program itself parses \" as a quote.
        escapes = text[at] == "\\" and following and following in '"\\$`'
        if quote_char == '"' and escapes and (escape == "\\" or following == '"'):
            at += 1
        piece.append(text[at])
        at += 1
    return "".join(piece), at + 1


def _ansi_c(text: str, at: int) -> tuple[str, int]:
    """Parse ``$'…'`` of bash, which browsers use for bodies with line breaks in "Copy as cURL"."""
    piece = []
    while at < len(text) and text[at] != "'":
        if plain := _PLAIN.match(text, at):
            piece.append(plain[0])
            at = plain.end()
            continue
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
            if code := _CODE.match(text, at):
                kind = code.lastindex or 1
                number = int(code[kind], 8 if kind == 4 else 16)
                piece.append(chr(number) if number < 0x110000 else "\ufffd")
                at = code.end()
                continue
            piece.append(_ANSI_C.get(text[at], "\\" + text[at]))
        else:
            piece.append(text[at])
        at += 1
    return "".join(piece), at + 1
