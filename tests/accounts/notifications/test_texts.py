"""What notices say, in both languages, as they arrive."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import RequestFactory
from django.utils import timezone, translation

from accounts import audit
from accounts.choices.events import Event, SecurityEvent
from accounts.models import AuditEvent, DelayedChange, Notice
from accounts.notifications import outbox
from accounts.notifications import texts as notifications_texts
from accounts.notifications.policy import MANDATORY, OPTIONAL
from accounts.sms import file
from apikeys.policy.events import KeyEvent
from apikeys.policy.notifications import ENDS
from hitobit_portal.i18n.free_text import plain
from hitobit_portal.i18n.jalali import date_local
from tests.support import audit_trail, people
from tests.support.people import Person

pytestmark = pytest.mark.django_db

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPV6 = "2001:db8:1234:5678:9abc:def0:1234:5678"
LONG_LABEL = "ربات معامله‌گر بسیار بلند با نامی که هیچ‌گاه تمام نمی"  # 50 characters
CHANGES = ["+read", "+trade", "+withdraw", "ip:trusted", *(f"+203.0.113.{n}" for n in range(26))]
MOMENT = datetime(2026, 11, 22, 9, 4, tzinfo=UTC)  # 12:34 in Tehran
LANGUAGES = ["fa", "en"]
#: Requests of the exchange, which come without a browser, and the pages that their notices lead to.
ANSWERED_AT = {KeyEvent.REQUESTED: "/keys/requests/1234567/", KeyEvent.THAW_REQUESTED: "/thaw/"}


@pytest.fixture(autouse=True)
def _phone(settings: Any, tmp_path: Any) -> None:
    settings.SMS_BACKENDS, settings.DATA_DIR = ["accounts.sms.file"], tmp_path
    settings.BASE_URL = "https://api-portal.hitobit.com"


def owner(language: str = "fa", *, email: str = "sara@example.com") -> Person:
    sara = people.customer()
    sara.user.language, sara.user.email = language, email
    sara.user.save()
    return sara


def request(address: str = "203.0.113.7", agent: str = FIREFOX) -> Any:
    result = RequestFactory().get("/", headers={"user-agent": agent})
    result.client_address = address  # type: ignore[attr-defined]
    return result


def happens(event: SecurityEvent, sara: Person, *, http_request: Any = ..., **more: Any) -> AuditEvent:
    """Record the event as it happened at MOMENT. ``http_request``: None if the portal acts by itself."""
    left = audit.record(event, request() if http_request is ... else http_request, customer=sara.user, **more)
    with audit_trail.unguarded() as cursor:
        cursor.execute("UPDATE accounts_auditevent SET at = %s WHERE id = %s", [MOMENT, left.pk])
    return left


def delivered() -> tuple[list[str], list[Any]]:
    """The texts of the SMS and the e-mails that go out now."""
    before = len(mail.outbox)
    outbox.send_due()
    return [message["text"] for message in file.messages()], mail.outbox[before:]


def text_of(message: Any) -> str:
    """Plain text and HTML, as their reader sees them."""
    return str(message.body) + "".join(str(part) for part, _kind in message.alternatives)


def detail_of(event: SecurityEvent, sara: Person) -> dict[str, Any]:
    """The longest that the event may hold."""
    if event.value.startswith("key."):
        soon = {"days": 30, "date": (MOMENT + timedelta(days=30)).isoformat()}
        return {"label": LONG_LABEL, **(soon if event in ENDS else {"changes": CHANGES})}
    if event is KeyEvent.REQUESTED:
        return {"label": LONG_LABEL, "target": "1234567", "changes": CHANGES}
    if event is Event.ERASURE_REQUESTED:
        return {"date": (MOMENT + timedelta(days=7)).isoformat()}
    kind = notifications_texts.WAITING.get(event)
    if kind is not None:
        phone = "+989359998877" if kind is DelayedChange.Kind.PHONE else ""
        due = MOMENT + timedelta(hours=72)
        DelayedChange.objects.create(user=sara.user, kind=kind, phone=phone, due_at=due)
    return {"method": "totp", "left": 3} if event is Event.RECOVERY_USED else {}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event", [*sorted(MANDATORY, key=str), *OPTIONAL])
def test_each_notice_says_what_when_from_where_and_how_to_stop_it(
    event: SecurityEvent, language: str
) -> None:
    sara = owner(language)
    sara.user.optional_notices = [optional.value for optional in OPTIONAL]
    sara.user.save()
    by_hand = event not in ENDS and event not in ANSWERED_AT
    happens(event, sara, http_request=request(IPV6) if by_hand else None, **detail_of(event, sara))
    [sms], [letter] = delivered()
    assert len(sms.encode("utf-16-le")) // 2 <= 4 * 67, "four parts of an SMS"
    assert sms.startswith(("Hitobit", "هیتوبیت"))
    with translation.override(language):
        title, ours = str(event.look.title), date_local(MOMENT)
    assert ("۱ آذر ۱۴۰۵، ۱۲:۳۴" if language == "fa" else "22 Nov 2026, 12:34") == ours
    for text in (sms, letter.body, letter.alternatives[0][0]):
        assert title in text
        assert ours in text
        assert (IPV6 in text) is by_hand
        links = set(re.findall(r"https?://[^\s<>\"]+", text))
        if event in ANSWERED_AT:
            links.remove(f"https://api-portal.hitobit.com{ANSWERED_AT[event]}")
        assert len(links) == 1
        assert links.pop().startswith("https://api-portal.hitobit.com/n/")
    assert ("Firefox, Windows" in letter.body) is by_hand
    assert title in letter.subject
    assert f'lang="{language}"' in letter.alternatives[0][0]
    if event.value.startswith("key"):
        assert LONG_LABEL[:20] in sms
        assert LONG_LABEL in letter.body
    if event is KeyEvent.CHANGED:
        assert "203.0.113.25" in letter.body


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event", [Event.PHONE_CHANGE_ASKED, Event.FACTORS_RESET_ASKED])
def test_a_change_that_waits_is_told_with_its_day_and_with_no_full_number(
    event: SecurityEvent, language: str
) -> None:
    sara = owner(language)
    happens(event, sara, **detail_of(event, sara))
    [sms], [letter] = delivered()
    due = "۴ آذر ۱۴۰۵، ۱۲:۳۴" if language == "fa" else "25 Nov 2026, 12:34"
    assert due in sms
    assert due in letter.body
    assert "It stops this change" in letter.body or language == "fa"
    for text in (sms, text_of(letter)):
        assert "9359998877" not in text
        assert sara.user.phone[3:] not in text
    assert ("0935•••8877" in letter.body) is (event is Event.PHONE_CHANGE_ASKED)


def test_a_change_that_was_stopped_meanwhile_takes_no_force() -> None:
    sara = owner("en")
    happens(Event.FACTORS_RESET_ASKED, sara, **detail_of(Event.FACTORS_RESET_ASKED, sara))
    DelayedChange.objects.update(stopped_at=timezone.now())
    [sms], _letters = delivered()
    assert "25 Nov" not in sms


def test_a_change_asked_for_later_lends_its_day_to_no_older_notice() -> None:
    sara = owner("en")
    happens(Event.FACTORS_RESET_ASKED, sara, target="999999", **detail_of(Event.FACTORS_RESET_ASKED, sara))
    [sms], _letters = delivered()
    assert "25 Nov" not in sms


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_end_of_a_key_is_told_with_days_and_date(language: str) -> None:
    sara = owner(language)
    date = (MOMENT + timedelta(days=7)).isoformat()
    happens(KeyEvent.EXPIRES_SOON, sara, http_request=None, label="bot", days=7, date=date)
    [sms], [letter] = delivered()
    for text in (sms, letter.body):
        assert ("۸ آذر ۱۴۰۵، ۱۲:۳۴" if language == "fa" else "29 Nov 2026, 12:34") in text
        assert ("۷" if language == "fa" else "in 7 days") in text


def test_language_is_the_persons_and_persian_where_none_is_known() -> None:
    for language, digits in (("en", "12:34"), ("fa", "۱۲:۳۴"), ("", "۱۲:۳۴"), ("xx", "۱۲:۳۴")):
        file.clear()
        with translation.override("en"):
            happens(Event.PASSWORD_CHANGED, owner(language))
            [sms], [letter] = delivered()
        assert digits in sms
        assert digits in letter.body


FORGED = "bot\r\nBcc: thief@evil.example\nHitobit: all is well\u2028\u2029\x85\x0b\x0c\x1b[2J\u202eevil\u2066"


def test_a_name_forges_no_line_no_header_and_no_link() -> None:
    """Names are free text. The form refuses these; the texts do not rely on it."""
    sara = owner("en")
    happens(KeyEvent.CREATED, sara, label=FORGED + " https://evil.example/n/x/")
    [sms], [letter] = delivered()
    assert letter.message().get_all("Bcc") is None
    assert "\n" not in letter.subject
    for text in (sms, letter.body):
        assert not [line for line in text.splitlines() if line.startswith(("Bcc", "Hitobit: all", "evil"))]
        assert not set(text) & set("\r\u2028\u2029\x85\x0b\x0c\x1b\u202e")
        assert "evil.example" not in text
        assert text.count("://") == 1
    assert letter.recipients() == ["sara@example.com"]


def test_a_name_is_no_markup_in_the_html_part() -> None:
    sara = owner("en")
    happens(KeyEvent.CREATED, sara, label='<img src=x onerror="alert(1)"><script>')
    _texts, [letter] = delivered()
    html = letter.alternatives[0][0]
    assert "<img" not in html
    assert "<script" not in html
    assert "src=" not in html.replace("src=x", "")
    assert "&lt;img src=x" in html


@pytest.mark.parametrize("label", ["🔑" * 50, "a" * 80, "“”«»" * 20, "", " . .. :// ", "ي\u200cك" * 16])
def test_any_name_fits_into_an_sms(label: str) -> None:
    sara = owner("fa")
    happens(KeyEvent.CHANGED, sara, label=label, changes=CHANGES, http_request=request(IPV6))
    [sms], _letters = delivered()
    assert len(sms.encode("utf-16-le", "strict")) // 2 <= 268
    assert re.search(r"/n/\S+/$", sms)


def test_names_that_are_harmless_stay_as_they_are() -> None:
    for name in ("ربات معاملاتی", "bot v2.1", "می‌خرم", "1.2.3", "a.b", "قیمت: ۱۲.۵"):
        assert plain(name) == name


def test_a_browsers_own_words_are_not_repeated() -> None:
    sara = owner("en")
    happens(Event.LOGIN_NEW_DEVICE, sara, http_request=request(agent="Call 0900-1234567 at once/1"))
    [sms], [letter] = delivered()
    assert "0900" not in sms + text_of(letter)


def test_staff_is_told_as_staff_without_its_address() -> None:
    sara, staff = owner("en"), people.customer(is_staff=True)
    happens(KeyEvent.REVOKED, sara, actor=staff.user, label="bot", http_request=request("198.51.100.9"))
    [sms], [letter] = delivered()
    for text in (sms, text_of(letter)):
        assert "staff" in text
        assert "198.51.100.9" not in text


def test_an_event_without_a_request_is_told_without_an_address() -> None:
    sara = owner("en")
    audit.record(Event.FACTORS_RESET, None, customer=sara.user)
    [sms], [letter] = delivered()
    assert "From" not in sms
    assert "From" not in letter.body


def test_what_the_details_hold_is_told_in_words() -> None:
    sara = owner("en")
    happens(KeyEvent.REVOKED, sara, label="bot", reason="it was\nleaked")
    happens(Event.RECOVERY_USED, sara, left=3)
    _texts, letters = delivered()
    assert "Reason: it was leaked" in letters[1].body
    assert "Recovery codes left: 3" in letters[0].body  # the sign of a theft goes first


def test_link_works_for_one_notice_only_and_its_text_is_stored_nowhere() -> None:
    sara = owner("en")
    happens(Event.PASSWORD_CHANGED, sara)
    happens(Event.TOTP_CHANGED, sara)
    texts, letters = delivered()
    links = [re.findall(r"\S+/n/(\S+)/", text)[0] for text in [*texts, *(letter.body for letter in letters)]]
    assert len(set(links)) == 4
    stored = repr([*Notice.objects.values(), *AuditEvent.objects.values()])
    assert not [link for link in links if link in stored]
