"""New passwords: what is refused and why, and the strength meter."""

import re
from pathlib import Path

import pytest
import zxcvbn
import zxcvbn.feedback
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils import translation

from accounts.access import breached, passwords
from accounts.models import AuditEvent, User
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate
from tests.accounts.registration.test_signup import requested
from tests.support import people
from tests.support.anonymous import GOOD_PASSWORD as GOOD

PHONE = "+989121234567"


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("a1b2c3d", "8"),
        ("x" * 129, "128"),
        ("password1", "common"),
        ("۱۲۳۴۵۶۷۸", "common"),
        ("zxcvbnm,./", "keyboard|keys"),
        ("aaaaaaaaaaaa", "Repeats"),
        ("abcdefghijkl", "Sequences"),
        ("my Hitobit account", "Hitobit"),
        ("رمز هیتوبیت من", "Hitobit"),
        ("x09121234567y", "mobile number"),
        ("برف ۰۹۱۲-۱۲۳-۴۵۶۷", "mobile number"),
    ],
)
def test_weak_passwords_are_refused_with_the_reason(password: str, reason: str) -> None:
    with translation.override("en"):
        result = passwords.strength(password, PHONE)
    assert re.search(reason, result.reason)
    assert result.score < 2


@pytest.mark.parametrize(
    "password", [GOOD, "correct horse battery", "x7#kPq2!", "ك" * 4 + "xhqz" + "پ" * 120, "é" * 3 + "vkw zqd"]
)
def test_any_characters_will_do_where_they_are_hard_to_guess(password: str) -> None:
    assert passwords.strength(password, PHONE).reason == ""


BREACHED = ["otmaro3ak", "BigMar992", "bigmar٩٩٢", "reutlingen", "resurection", "r4kesctql2"]


@pytest.mark.parametrize("password", BREACHED)
def test_a_password_of_a_breach_is_refused_however_strong_it_looks(password: str) -> None:
    with translation.override("en"):
        result = passwords.strength(password, PHONE)
    assert "breaches" in result.reason
    assert result.score == 0
    assert zxcvbn.zxcvbn(password)["score"] >= passwords.MIN_SCORE
    with pytest.raises(ValidationError):
        validate_password(password)


def test_the_list_of_breached_ones_is_whole_and_sorted() -> None:
    table = (Path(breached.__file__).parent / "passwords.bin").read_bytes()
    rows = [table[at : at + breached.PREFIX_BYTES] for at in range(0, len(table), breached.PREFIX_BYTES)]
    assert len(rows) > 450_000
    assert rows == sorted(set(rows))
    assert breached._contains(table, rows[0])
    assert breached._contains(table, rows[-1])
    assert not breached._contains(table, b"\xff" * 4)


def test_text_without_an_encoding_is_not_breached() -> None:
    assert not breached.is_breached("\udce2vkw zqd")
    assert not breached.is_breached("\udce2vkw zqd and more of it")


def test_every_warning_of_zxcvbn_has_words_of_ours() -> None:
    """zxcvbn's texts are in its source; a new or changed text needs a translation."""
    source = Path(zxcvbn.feedback.__file__).read_text(encoding="utf-8")
    source = re.sub(r"' \\\n\s*'", "", source)
    warnings = re.findall(r"""warning'?(?: =|:) _\((['"])(.*?)\1\)""", source)
    assert {text for _quote, text in warnings} == set(passwords.WARNINGS)


def test_django_asks_for_the_same_rules() -> None:
    user = User(phone=PHONE)
    validate_password(GOOD, user)
    for bad in ("12345678", "x09121234567y", "x" * 129):
        with pytest.raises(ValidationError):
            validate_password(bad, user)


@pytest.mark.django_db
def test_meter_gets_score_and_text_and_nothing_is_stored() -> None:
    client = people.browser()
    assert client.post("/password-strength/", {"password": GOOD}).json()["score"] == 4
    weak = client.post("/password-strength/", {"password": "qwertyuiop"}).json()
    assert weak["score"] < 2
    assert ":" in weak["text"]
    assert not AuditEvent.objects.exists()
    assert not client.cookies


@pytest.mark.django_db
def test_it_knows_the_number_that_was_typed() -> None:
    client = requested(PHONE)
    assert client.post("/password-strength/", {"password": "x09121234567y!K"}).json()["score"] == 0


@pytest.mark.django_db
def test_it_is_for_forms_of_this_site_and_posts_only() -> None:
    assert people.browser(csrf=True).post("/password-strength/", {"password": GOOD}).status_code == 403
    assert people.browser().get("/password-strength/").status_code == 405


@pytest.mark.django_db
def test_one_address_asks_sixty_times_a_minute() -> None:
    for _n in range(60):
        assert ratelimits.acquire(Rate.PASSWORD_STRENGTH_ADDRESS, people.ADDRESS) is None
    assert people.browser().post("/password-strength/", {"password": GOOD}).status_code == 429
