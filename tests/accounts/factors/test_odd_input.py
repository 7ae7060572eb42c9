"""Unusual input as codes and names: it is accepted or refused, and never causes a server error."""

import random
import unicodedata
from urllib.parse import urlencode

import pytest
from django.core.exceptions import ValidationError

from accounts.choices import approvals
from apikeys.models import ApiKey
from hitobit_portal.i18n.fields import CodeField
from tests.support import people, sms_collector
from tests.support.people import Person
from tests.support.two_code_page import MEGABYTE, NAME, VERIFY, works

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("collected_sms")]

ALPHABETS = (
    "0123456789",
    "۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩",
    " +-_.eE\n\t\r\0",
    "²³①⑥𝟙𝟞೬６",
    "\u200f\u202e\u2066\ufeff",
    "aZ'\"<>%",
)
LENGTHS = (0, 1, 5, 6, 6, 6, 7, 12, 101, 1000)


def random_text(source: random.Random) -> str:
    return "".join(source.choice(source.choice(ALPHABETS)) for _n in range(source.choice(LENGTHS)))


def test_ten_thousand_odd_codes_are_six_digits_or_refused() -> None:
    source, field, taken = random.Random(6), CodeField(), 0
    for _n in range(10_000):
        text = random_text(source)
        try:
            code = field.clean(text)
        except ValidationError:
            continue
        taken += 1
        assert len(code) == 6
        assert set(code) <= set("0123456789")
        assert [unicodedata.digit(char) for char in text if unicodedata.category(char) == "Nd"] == [
            *map(int, code)
        ]
    assert 0 < taken < 5000


def test_odd_codes_are_answered_by_the_pages() -> None:
    source = random.Random(7)
    for n in range(25):
        # A new user from time to time: a locked account would not compare codes.
        person = people.customer()
        people.live_sms_code(person, approvals.LOGIN, "123456")
        people.recovery_codes(person)
        login, keys = (make(person, people.address(n)) for make in (people.half_logged_in, people.logged_in))
        keys.post("/keys/", {"name": NAME})
        posts = [
            *(
                (login, f"/login/second-factor/?method={m}", ["code"])
                for m in ("totp", "sms", "recovery", "x")
            ),
            *((keys, VERIFY, ["sms_code", "totp_code"]) for _time in range(4)),
        ]
        for browser, path, fields in posts:
            response = browser.post(path, {field: random_text(source) for field in fields})
            assert response.status_code == 200, (response.status_code, path)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  bot \n", "bot"),
        ("ro\u0301bot", "r\u00f3bot"),
        ("\u202egnp \u202cbot\u200f", "gnp bot"),
        ("ربات\u200cمن", "ربات\u200cمن"),
        ("<b>&\"'</b>", "<b>&\"'</b>"),
        ("%(name)s %s {0}", "%(name)s %s {0}"),
    ],
)
def test_invisible_characters_are_removed_from_names(typed: str, kept: str, sara: Person) -> None:
    browser = people.logged_in(sara)
    assert browser.post("/keys/", {"name": typed}).headers["Location"] == VERIFY
    assert browser.get(VERIFY).status_code == 200
    assert works(browser, sara, kept)
    assert b"<b>&" not in browser.get("/keys/").content


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " \u200f\u200c ",
        "x" * 51,
        "x" * MEGABYTE,
        "\u202e" * (MEGABYTE // 9),
        "a\0b",
        "a\ue000b",
    ],
)
def test_a_name_that_is_none_sends_no_message_and_comes_back_short(typed: str, sara: Person) -> None:
    body = urlencode({"name": typed})
    response = people.logged_in(sara).post("/keys/", body, content_type="application/x-www-form-urlencoded")
    assert response.status_code == 200
    assert response.context["form"].errors
    assert len(response.content) < 40_000
    assert not sms_collector.messages
