"""What people type as codes and phone numbers."""

import random

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from hitobit_portal.i18n.fields import CodeField, PhoneField, RecoveryCodeField, ascii_digits, parse_phone

SEED = 20_260_101


@pytest.mark.parametrize(
    "typed",
    [
        "123456",
        "۱۲۳۴۵۶",
        "١٢٣٤٥٦",
        "۱۲۳٤٥6",
        "123 456",
        "123-456",
        "۱۲۳‌۴۵۶",
        "\u200e123456\u200f",
        "\u2066123456\u2069",
        " 1 2 3 4 5 6 \r\n",
        "12–34—56",
        "\ufeff123456",
    ],
)
def test_code_is_read_in_any_digits_and_with_what_copying_adds(typed: str) -> None:
    assert CodeField().clean(typed) == "123456"


@pytest.mark.parametrize(
    "typed",
    [
        "12345",
        "1234567",
        "+123456",
        "1_2_3_4_5_6",
        "0x1234",
        "1e5000",
        "12345a",
        "１２３４５６",  # full-width
        "१२३४५६",  # Devanagari
        "²23456",
        "①23456",
        "123456\x00",
        "12.3456",
        "123456 " + "0" * 100,
        " " * 100 + "123456",
        "9" * 1_000_000,
    ],
)
def test_what_is_not_six_digits_is_no_code(typed: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CodeField().clean(typed)
    assert refused.value.code in ("invalid", "required")


@pytest.mark.parametrize("typed", [None, "", "   ", "---", "\u200e\u200f"])
def test_missing_code_is_required(typed: str | None) -> None:
    with pytest.raises(ValidationError) as refused:
        CodeField().clean(typed)
    assert refused.value.code == "required"


def test_ten_thousand_random_inputs_are_six_ascii_digits_or_refused() -> None:
    """Digits of many scripts, signs, marks and halves of surrogate pairs; accepted are ``[0-9]{6}`` only."""
    chance = random.Random(SEED)
    pieces = [*"0123456789۰۱۲۳۴۵۶۷۸۹٠١٢٣", *" -_+.\n\x00\u200e\u200f१²½Ⅷ\ud800\U0001d7d8abc", "1", "2", "3"]
    accepted = 0
    for _n in range(10_000):
        typed = "".join(
            chance.choices(pieces[: 24 if chance.random() < 0.5 else None], k=chance.randint(0, 9))
        )
        try:
            code = CodeField().clean(typed)
        except ValidationError:
            continue
        accepted += 1
        assert len(code) == 6
        assert set(code) <= set("0123456789")
    assert 100 < accepted < 5_000


@given(st.text())
def test_any_text_is_a_code_or_refused(typed: str) -> None:
    try:
        code = CodeField().clean(typed)
    except ValidationError:
        return
    assert len(code) == 6
    assert code.isascii()


@pytest.mark.parametrize("typed", ["k7pm-2xq9", "K7PM2XQ9", " k7pm 2xq9 ", "k۷pm–۲xq۹"])
def test_recovery_code_is_read_without_case_and_dashes(typed: str) -> None:
    assert RecoveryCodeField().clean(typed) == "k7pm2xq9"


@pytest.mark.parametrize("typed", ["k7pm-2xq", "k7pm-2xq99", "k7pm_2xq9", "ık7pm2xq", "k7pm2xqß", "123456"])
def test_what_is_no_recovery_code_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError):
        RecoveryCodeField().clean(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "09121234567",
        "+989121234567",
        "989121234567",
        "00989121234567",
        "9121234567",
        "۰۹۱۲۱۲۳۴۵۶۷",
        "٠٩١٢١٢٣٤٥٦٧",
        "+۹۸ ۹۱۲ ۱۲۳ ۴۵۶۷",
        "0912-123-4567",
        "(0912) 123 4567",
        "\u202a+98 912 123 4567\u202c",
        " 09121234567\n",
    ],
)
def test_phone_is_read_in_every_usual_spelling(typed: str) -> None:
    assert PhoneField().clean(typed) == "+989121234567"


def test_phone_of_another_country_keeps_its_country() -> None:
    assert parse_phone("+49 1512 3456789") == "+4915123456789"


@pytest.mark.parametrize(
    "typed",
    [
        "0912",
        "abc",
        "+98912123456789012",
        "09121234567;ext=5",
        "tel:09121234567",
        "09121234567\x00",
        "++989121234567",
        "+",
        "0912123456७",
        "0" * 101,
        "0912 123 4567" + " " * 100 + "1",
        "00000000000",
    ],
)
def test_what_is_no_phone_number_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError) as refused:
        PhoneField().clean(typed)
    assert refused.value.code == "invalid"


@given(st.text())
def test_any_text_is_a_phone_number_or_none(typed: str) -> None:
    phone = parse_phone(typed)
    assert phone is None or parse_phone(phone) == phone


def test_only_persian_and_arabic_digits_are_translated() -> None:
    assert ascii_digits("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩") == "0123456789" * 2
    assert ascii_digits("a१²½") == "a१²½"


def test_codes_tell_browsers_and_phones_what_they_are() -> None:
    assert {
        "autocomplete": "one-time-code",
        "inputmode": "numeric",
    }.items() <= CodeField().widget.attrs.items()
    assert RecoveryCodeField().widget.attrs["autocomplete"] == "off"
