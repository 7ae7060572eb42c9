"""docs/glossary-fa.md: its columns, and that no text uses a word that the glossary replaces."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from hitobit_portal.i18n import catalogue

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "glossary-fa.md"
COLUMNS = ["term", "Persian", "English", "never"]
# The labels of the product's guide: other people's scripts and tests look for exactly these.
CONTRACT = {
    "API Management": "مدیریت APIها",
    "Create API": "ایجاد API",
    "Verification code": "کد تایید",
    "Authenticator code": "کد احراز هویت",
    "Submit": "ارسال",
    "API key": "کلید API",
    "Secret key": "کلید مخفی",
    "Unrestricted": "بدون محدودیت",
    "Restricted to trusted IPs only": "دسترسی محدود فقط به IP های قابل اعتماد",
    "Confirm": "تایید",
    "Save": "ذخیره",
    "Dashboard": "داشبورد",
}
ISOLATES = re.compile("[\u2066-\u2069]")
PERSIAN = re.compile("[\u0600-\u06ff]")
#: A word begins here: neither a letter nor a zero-width non-joiner is before it.
BEGINNING = r"(?<![\w\u200c])"


class Term(NamedTuple):
    name: str
    persian: list[str]
    never: list[str]


def terms() -> list[Term]:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in GLOSSARY.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    header, _rule, *body = rows
    assert header == COLUMNS
    assert {len(row) for row in body} == {len(COLUMNS)}
    return [Term(row[0], cells(row[1]), cells(row[3])) for row in body]


def cells(text: str) -> list[str]:
    return [part.strip() for part in text.split(";")]


def forbidden(text: str, glossary: list[Term]) -> list[str]:
    """Return each word of the column "never" in ``text``, unless it is a part of what the glossary asks for."""
    plain = ISOLATES.sub("", text)
    allowed = [
        match.span()
        for word in {word for term in glossary for word in term.persian}
        for match in re.finditer(rf"{BEGINNING}{re.escape(word)}(?!\w)", plain)
    ]
    return [
        f"{never!r} ({term.name})"
        for term in glossary
        for never in term.never
        if bool(PERSIAN.search(never)) == bool(PERSIAN.search(text))
        for match in re.finditer(rf"{BEGINNING}{re.escape(never)}", plain, re.IGNORECASE)
        if not any(
            start < match.start() < end or (start == match.start() and match.end() <= end)
            for start, end in allowed
        )
    ]


def texts(language: str) -> dict[str, str]:
    """Return every text of ``language`` by its place: messages, and pages of the customers' help."""
    result = {
        f"message {catalogue.label(message)}": "\n".join(catalogue.forms(message.string))
        for message in catalogue.messages(catalogue.load(language))
    }
    for path in sorted((ROOT / "docs" / "help" / language).glob("*.md")):
        result[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
    return result


@pytest.mark.parametrize("language", catalogue.LANGUAGES)
def test_no_text_uses_a_word_that_the_glossary_replaces(language: str) -> None:
    glossary = terms()
    assert [
        (place, word) for place, text in texts(language).items() for word in forbidden(text, glossary)
    ] == []


def test_every_term_is_used_or_replaces_something_once() -> None:
    glossary = terms()
    assert [term.name for term in glossary if not all(term.persian) or not all(term.never)] == []
    every = [word for term in glossary for word in term.never]
    assert sorted(every) == sorted(set(every))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("رمز عبور خود را بنویسید", "رمز عبور"),
        ("یکی را برگزینید", "برگزین"),
        ("احراز هویت دو عاملی", "دو عاملی"),
        ("هشدار امنیتی", "هشدار"),
        ("Take away the permission", "take away"),
    ],
)
def test_a_word_of_the_column_is_reported(text: str, word: str) -> None:
    assert any(word in fault for fault in forbidden(text, terms()))


@pytest.mark.parametrize(
    "text",
    ["چگونه", "همان دستور در خط فرمان", "با Google Authenticator وارد شوید", "An Authenticator app"],
)
def test_parts_of_other_words_and_what_the_glossary_asks_for_are_allowed(text: str) -> None:
    assert forbidden(text, terms()) == []


def test_the_labels_of_the_guide_are_exact() -> None:
    persian = {message.id: message.string for message in catalogue.messages(catalogue.load("fa"))}
    assert {english: persian.get(english) for english in CONTRACT} == CONTRACT
