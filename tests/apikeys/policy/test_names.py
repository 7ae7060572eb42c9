"""Names of keys: the stored form, rejected names, and which names are equal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeys.policy.names import BIDI_MARKS, MAX_LENGTH, InvalidName, NameProblem, clean, fold


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("bot", "bot"),
        ("  ربات   معامله \n", "ربات معامله"),
        ("a\t\u00a0\u2003b", "a b"),
        ("e\u0301te\u0301", "été"),  # NFC
        ("می\u200cخواهم", "می\u200cخواهم"),  # ZWNJ is spelling
        ("\u202etxt exe\u202c", "txt exe"),  # Trojan Source
        ("a\u200b\u2066b\u2069\u061c\ufeff\u2060", "ab"),
        ("<script>'\"&amp;", "<script>'\"&amp;"),
        ("🤖 ۱", "🤖 ۱"),
        ("x" * 50, "x" * 50),
        (" " * 20 + "x" * 50 + " " * 20, "x" * 50),
    ],
)
def test_name_is_kept_clean(typed: str, kept: str) -> None:
    assert clean(typed) == kept


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("", NameProblem.EMPTY),
        (" \t\n", NameProblem.EMPTY),
        ("\u202e\u200f", NameProblem.EMPTY),
        ("\u200c\u200d \u200c", NameProblem.EMPTY),
        ("x" * 51, NameProblem.TOO_LONG),
        ("x" * 1_000_000, NameProblem.TOO_LONG),
        ("a\x00b", NameProblem.HIDDEN),
        ("a\x07b", NameProblem.HIDDEN),
        ("a\ue000b", NameProblem.HIDDEN),
        ("a\ud800b", NameProblem.HIDDEN),
        ("a\u0378b", NameProblem.HIDDEN),
        ("a\u00adb", NameProblem.HIDDEN),
        ("bot\U000e0041", NameProblem.HIDDEN),
        ("\u0600bot", NameProblem.HIDDEN),
        ("https://evil.example/x", NameProblem.LINK),
        ("evil。example", NameProblem.LINK),
        ("call 0900 123 4567", NameProblem.LINK),
    ],
)
def test_bad_name_is_rejected_with_its_problem(typed: str, problem: NameProblem) -> None:
    with pytest.raises(InvalidName) as error:
        clean(typed)
    assert error.value.problem is problem


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bot", "bOT"),
        ("علي", "علی"),
        ("كتاب", "کتاب"),
        ("می\u200cخواهم", "میخواهم"),
        ("ＢＯＴ", "bot"),
        ("Straße", "STRASSE"),
        ("①", "1"),
    ],
)
def test_names_that_people_take_for_the_same_are_the_same(one: str, other: str) -> None:
    assert fold(clean(one)) == fold(clean(other))


@pytest.mark.parametrize(("one", "other"), [("bot", "bot 2"), ("کتاب", "کباب"), ("a b", "ab")])
def test_different_names_stay_different(one: str, other: str) -> None:
    assert fold(clean(one)) != fold(clean(other))


@given(st.text(max_size=80))
def test_cleaned_name_is_short_visible_and_stable(typed: str) -> None:
    try:
        name = clean(typed)
    except InvalidName:
        return
    assert 1 <= len(name) <= MAX_LENGTH
    assert name == name.strip()
    assert not BIDI_MARKS.search(name)
    assert not any(unicodedata.category(char) in ("Cc", "Co", "Cs") for char in name)
    assert clean(name) == name


@given(st.text(min_size=1, max_size=MAX_LENGTH))
def test_folded_name_fits_its_column_and_is_stable(typed: str) -> None:
    try:
        folded = fold(clean(typed))
    except InvalidName:
        return
    assert fold(folded) == folded
