"""A customer's secrets are found in pasted text in every spelling, and all in one pass."""

import base64
import html
import json
import re
import secrets
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeys.debugger import secret_masking
from apikeys.debugger.budget import Budget

ALPHABET = string.ascii_letters + string.digits


def secret() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(64))


#: It does not start or end with letters that the texts below place beside a part of it.
ONE = f"Z{secret()[:53]}Z{secret()[:9]}"
SECRETS = [ONE if number == 17 else secret() for number in range(30)]
MASKER = secret_masking.SecretMasker(enumerate(text.encode() for text in SECRETS))


def b64(text: str, before: str = "", after: str = "") -> str:
    return base64.b64encode((before + text + after).encode()).decode()


#: Spellings of a secret in one piece, which can be masked.
IN_ONE_PIECE: dict[str, str] = {
    "plain": ONE,
    "hex": ONE.encode().hex(),
    "HEX": ONE.encode().hex().upper(),
    "base64": b64(ONE),
    "base64 without padding": b64(ONE).rstrip("="),
    "base64 of a Basic login": b64(ONE, "bot:"),
    "base64 with something on both sides": b64(ONE, "ab", "cde"),
    "lower case": ONE.lower(),
    "upper case": ONE.upper(),
    "without its first character": ONE[1:],
    "without its last characters": ONE[:-10],
}
#: Spellings in several pieces, for which nothing of the text is shown.
IN_PIECES: dict[str, str] = {
    "percent-encoded": "".join(f"%{ord(c):02x}" for c in ONE),
    "percent-encoded in part": "".join(f"%{ord(c):02X}" if c.islower() else c for c in ONE),
    "percent-encoded twice": "".join(f"%25{ord(c):02X}" for c in ONE),
    "percent-encoded three times": "".join(f"%2525{ord(c):02X}" for c in ONE),
    "escaped as in JSON": "".join(f"\\u{ord(c):04x}" for c in ONE),
    "escaped as in bash": "".join(f"\\x{ord(c):02x}" for c in ONE),
    "escaped in octal": "".join(f"\\{ord(c):03o}" for c in ONE),
    "as entities": "".join(f"&#{ord(c)};" for c in ONE),
    "as entities in hex": "".join(f"&#x{ord(c):x};" for c in ONE),
    "over two lines": f"{ONE[:30]}\n{ONE[30:]}",
    "over lines of bash": f"{ONE[:20]}\\\n  {ONE[20:]}",
    "over lines of cmd": f"{ONE[:20]}^\n{ONE[20:]}",
    "in quotes, in pieces": f"\"{ONE[:9]}\"'{ONE[9:40]}'{ONE[40:]}",
    "with what can't be seen": "\u200b".join(ONE),
    "in hex with spaces": ONE.encode().hex(" "),
    "as two parameters": f"a={ONE[:32]}&={ONE[32:]}",
    "in base64 with line breaks": re.sub("(.{20})", r"\1\n", b64(ONE)),
}


@pytest.mark.parametrize("name", IN_ONE_PIECE)
@pytest.mark.parametrize(
    "around", ["%s", "secret=%s,", "x\n'%s'", "GET /?a=%s&b=1", "Authorization: Basic %s\n"]
)
def test_a_secret_in_one_piece_is_masked_and_the_rest_kept(name: str, around: str) -> None:
    text = around % IN_ONE_PIECE[name]
    hidden, owners = MASKER.mask(text)
    assert owners == {17}
    assert len(hidden) == len(text)
    left, right = around.split("%s")
    assert hidden.startswith(left)
    assert hidden.endswith(right)
    assert not shows_a_part(hidden)
    assert MASKER.find(hidden) == set()


@pytest.mark.parametrize("name", IN_PIECES)
@pytest.mark.parametrize("around", ["%s", "secret=%s&b=1", "curl -X $'%s'"])
def test_a_secret_in_pieces_is_found(name: str, around: str) -> None:
    hidden, owners = MASKER.mask(around % IN_PIECES[name])
    assert owners == set()
    assert MASKER.find(hidden) == {17}


def shows_a_part(text: str, length: int = 16) -> bool:
    """Return whether ``text`` shows consecutive characters of the secret in one of its spellings."""
    text = text.casefold()
    spellings = (ONE, ONE.encode().hex(), *(b64(ONE, "x" * n)[2 * bool(n) : -4] for n in range(3)))
    return any(
        spelling.casefold()[at : at + length] in text
        for spelling in spellings
        for at in range(len(spelling) - length + 1)
    )


def test_several_secrets_are_distinguished_and_all_masked() -> None:
    text = "&".join(f"k{n}={one}" for n, one in enumerate(SECRETS))
    hidden, owners = MASKER.mask(text)
    assert owners == set(range(30))
    assert hidden == "&".join(f"k{n}={'*' * 64}" for n in range(30))


@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from(sorted(IN_ONE_PIECE)))
def test_a_secret_is_masked_wherever_it_stands(before: str, after: str, name: str) -> None:
    hidden, owners = MASKER.mask(f"{before} {IN_ONE_PIECE[name]} {after}")
    if not owners:  # the text around it continues the secret by chance
        assert MASKER.find(hidden) == {17}
        return
    assert owners == {17}
    assert hidden[: len(before)] == before
    assert hidden[len(hidden) - len(after) :] == after
    assert not shows_a_part(hidden)


@given(st.text(ALPHABET, max_size=100), st.text(ALPHABET, max_size=100))
def test_letters_beside_it_hide_nothing(before: str, after: str) -> None:
    hidden, owners = MASKER.mask(before + ONE + after)
    assert owners == {17}
    assert hidden == before + "*" * 64 + after


@given(st.text(max_size=400))
def test_what_holds_no_secret_is_left_as_it_is(text: str) -> None:
    assert MASKER.mask(text) == (text, set())
    assert MASKER.find(text) == set()


WRAPS: dict[str, Callable[[str], str]] = {
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent where needed": lambda text: text.replace("%", "%25").replace("\\", "%5C"),
    "json": lambda text: json.dumps(text)[1:-1],
    "json, all": lambda text: "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in text),
    "html": lambda text: html.escape(text),
    "html, all": lambda text: "".join(f"&#{ord(c)};" for c in text if ord(c) < 99_999),
    "quotes": lambda text: f"'{text}'",
    "cased": str.upper,
}


@given(
    st.lists(st.sampled_from(sorted(WRAPS)), max_size=3), st.sampled_from([ONE, ONE.encode().hex(), b64(ONE)])
)
def test_it_is_found_behind_up_to_three_layers(layers: list[str], spelling: str) -> None:
    text = spelling
    for name in layers:
        text = WRAPS[name](text)
    hidden, owners = MASKER.mask(text)
    assert owners or MASKER.find(hidden)


def test_a_text_is_gone_through_once_however_many_secrets_there_are() -> None:
    """Counted: the number of lookups does not grow with the number of keys."""
    text = "A" * 16_384
    spent = []
    for count in (1, 30, 300):
        budget = Budget()
        masker = secret_masking.SecretMasker(enumerate(secret().encode() for _ in range(count)), budget)
        before = budget.spent
        masker.mask(text)
        spent.append(budget.spent - before)
    assert spent[0] == spent[1] == spent[2]
    assert (
        spent[0]
        <= len(text) * secret_masking.CHARACTER_COST
        + len(text) // secret_masking.STRIDE * secret_masking.LOOK_UP_COST
    )


@pytest.mark.parametrize("piece", ["A", "%41", "%25", "\\x41", "&#65;", "aA0", "A'", "A\n"])
def test_the_work_on_any_text_is_proportional_to_its_length(piece: str) -> None:
    spent = []
    for length in (4_096, 8_192, 16_384):
        budget = Budget()
        masker = secret_masking.SecretMasker(enumerate(text.encode() for text in SECRETS), budget)
        before = budget.spent
        text = (piece * length)[:length]
        masker.mask(text)
        masker.find(text)
        spent.append(budget.spent - before)
    assert spent[2] <= 4.2 * spent[0]


def test_a_short_or_odd_secret_breaks_nothing() -> None:
    for odd in (b"", b"short", b"\xff" * 64, b"s" * 64, b"-" * 200):
        masker = secret_masking.SecretMasker([(1, odd)])
        assert masker.mask("x" * 100) == ("x" * 100, set())
    assert secret_masking.SecretMasker([(1, b"s" * 64)]).mask("s" * 64)[1] == {1}
