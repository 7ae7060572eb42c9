"""Text of somebody's choice in what leaves the portal: no link, nothing hidden; refused where it comes in."""

import io
import json
import unicodedata
from typing import Any

import pytest
from django.conf import settings as portal
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import RequestFactory
from django.urls import reverse
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts import audit
from accounts.audit import export as audit_export
from accounts.choices import approvals as choices_approvals
from accounts.choices.approvals import FREE_WORDS, SENTENCES, Approval
from accounts.choices.events import Event, SecurityEvent
from accounts.factors import sms_codes
from accounts.models import AuditEvent, Notice, User
from accounts.notifications import outbox, texts
from accounts.notifications.policy import MANDATORY
from accounts.profile.forms import EmailForm
from accounts.staff import export as staff_export
from accounts.staff.forms import ReasonForm
from apikeys.actions import lifecycle
from apikeys.models import ApiKey
from apikeys.pages import session_state
from apikeys.policy import names
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.events import KeyEvent
from apikeys.policy.notifications import ENDS
from apikeys.usage import export
from hitobit_portal.i18n.fields import FREE_TEXT
from hitobit_portal.i18n.free_text import JOINERS, Problem, has_link, one_line, plain, problem
from tests.support.people import Person, customer, key_of, logged_in, next_phone

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]

#: What a thief writes, and what of it must not arrive.
LINKS = {
    "https://evil.example/x": "evil.example",
    "see evil.example/x": "evil.example",
    "EVIL.EXAMPLE": "EVIL.EXAMPLE",
    "evil。example": "evil。example",
    "evil．example": "evil．example",
    "evil｡example": "evil｡example",
    "evil․example": "evil․example",
    "ｅｖｉｌ．ｅｘａｍｐｌｅ": "．",
    "evil.\u200cexample": "evil.",
    "ev\u200dil.example": "il.example",
    "سایت.ایران": "سایت.ایران",
    "evil.भारत": "evil.",
    "💩.la": "💩.la",
    "evil.xn--p1ai": "evil.xn",
    "www.x": "www.x",
    "me@evil.example": "evil.example",
    "custom://x": "://",
    "http://198.51.100.9": "198.51.100.9",
    "198.51.100.9/x": "198.51.100.9",
    "call 0900 123 4567 now": "0900 123 4567",
    "زنگ بزن ۰۹۰۰-۱۲۳۴۵۶۷": "۱۲۳۴۵۶۷",
    "+44 20 7946 0000": "7946 0000",
}
HIDDEN = {
    "a\x01b": "\x01",
    "a\x1b[2Jb": "\x1b",
    "a\u202eb": "\u202e",
    "a\u2067b": "\u2067b",
    "a\u00adb": "\u00ad",
    "a\u0600b": "\u0600",
    "a\U000e0041b": "\U000e0041",
    "a\U000e0101b": "\U000e0101",
    "a\ufe01b": "\ufe01",
    "a\u3164b": "\u3164",
    "a\u2028b": "\u2028",
    "a\ue000b": "\ue000",
    "a\u206ab": "\u206a",
}
HOSTILE = LINKS | HIDDEN
OURS = (
    "\u200f\u2067\u2068\u2069"  # isolates, which the portal puts around values (`hitobit_portal.i18n.bidi`)
)
SOUND = ["ربات معاملاتی", "bot v2.1", "می‌خرم", "قیمت: ۱۲.۵", ".NET bot", "🤖 ۱", "❤️", "خب...که", "2026-11-23"]
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148",
    "python-requests/2.31.0",
]


@pytest.fixture
def sara() -> Person:
    sara = customer()
    User.objects.filter(pk=sara.user.pk).update(email="sara@example.com", language="en")
    return sara


@pytest.fixture(params=HOSTILE)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def arrives_harmless(sent_text: str, text: str) -> None:
    """``sent_text`` has neither the core of ``text`` nor a hidden character."""
    assert HOSTILE[text] not in sent_text
    hidden = [char for char in sent_text if unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs")]
    assert set(hidden) <= set(JOINERS + OURS + "\n\r\ufeff")


def old_key(sara: Person, name: str) -> ApiKey:
    """A key that was named before there was a rule."""
    key = key_of(sara)
    ApiKey.objects.filter(pk=key.pk).update(label=name[:50], label_folded="old")
    key.refresh_from_db()
    return key


# --- the rule


def test_hostile_text_is_refused_for_what_is_wrong_with_it(text: str) -> None:
    assert problem(text) is (Problem.HIDDEN if text in HIDDEN else Problem.LINK)


@pytest.mark.parametrize("sound", [*SOUND, *AGENTS])
def test_sound_text_stays_as_it_is(sound: str) -> None:
    assert problem(sound) is None
    assert plain(sound) == sound


PIECES = st.text(st.sampled_from(list("ab.:/0129+ -()@wé۰\u200c\u3002\u0301\u00ad…\n")))


@given(st.one_of(PIECES, st.text()))
@settings(max_examples=500)
def test_what_goes_out_passes_the_rule_and_goes_out_unchanged_again(typed: str) -> None:
    sent_text = plain(typed)
    assert problem(sent_text) is None
    assert plain(sent_text) == sent_text
    assert problem(typed) is not None or sent_text == one_line(typed)


@given(PIECES)
def test_a_domain_is_found_in_any_surroundings(around: str) -> None:
    assert has_link(f"{around} evil.example {around}")


# --- messages, for rows that are older than the rule


def approvals(key: ApiKey) -> list[Approval]:
    change = KeyPurpose.CHANGE
    named = [
        lifecycle.resume_approval(key),
        lifecycle.renew_approval(key),
        session_state.create_approval(key.label),
        Approval(change, {}, {"name": key.label, "changes": "x"}),
        Approval(KeyPurpose.ROTATE, {}, {"name": key.label}),
        Approval(KeyPurpose.APPROVE_ADDRESS, {}, {"name": key.label, "address": "198.51.100.1"}),
        Approval(KeyPurpose.CONFIRM_REQUEST, {}, {"name": key.label, "terms": "x"}),
    ]
    assert {approval.purpose for approval in named} == {
        purpose
        for purpose, words in SENTENCES.items()
        if any(f"%({word})s" in str(words) for word in FREE_WORDS)
    }
    return named


def test_a_key_name_puts_nothing_into_the_sms_of_a_code_or_into_a_call(sara: Person, text: str) -> None:
    for approval in approvals(old_key(sara, text)):
        arrives_harmless(approval.sentence, text)
        arrives_harmless(sms_codes._sms_text(approval, "123456"), text)
        arrives_harmless(sms_codes._spoken_text(approval, "123456"), text)


@pytest.mark.parametrize(
    "address", ["thief@evil.example", '"call\\ 0900"@evil.example', "a\u00ad@evil.example"]
)
def test_an_address_of_an_e_mail_is_no_link_in_the_sms(address: str) -> None:
    sent_text = sms_codes._sms_text(choices_approvals.change_email(address), "123456")
    assert "evil.example" not in sent_text
    assert "\u00ad" not in sent_text


def test_no_notice_says_what_a_name_a_reason_a_change_or_a_browser_says(sara: Person, text: str) -> None:
    told_of(sara, text, [KeyEvent.CHANGED, KeyEvent.EXPIRES_SOON])


def test_no_kind_of_notice_says_it(sara: Person) -> None:
    told_of(sara, "https://evil.example/x", sorted(MANDATORY, key=str))


def told_of(sara: Person, text: str, kinds: list[SecurityEvent]) -> None:
    """Has ``kinds`` happen with ``text`` wherever somebody else puts it, and looks at every message of them."""
    staff = customer(is_staff=True)
    request = RequestFactory().get("/")
    request.META["HTTP_USER_AGENT"] = text
    request.client_address = "198.51.100.7"  # type: ignore[attr-defined]
    for event in kinds:
        detail: dict[str, Any] = {"reason": text, "changes": [f"+{text}"], "method": text, "purpose": text}
        detail |= {"days": 3, "date": "2026-11-22T09:04:00+00:00"} if event in ENDS else {}
        for actor in (None, staff.user):
            audit.record(
                event, request, customer=sara.user, actor=actor, label=text, target="7", left=3, **detail
            )
    ours = [portal.BASE_URL + reverse("thaw"), portal.BASE_URL + reverse("key_request", args=[7])]
    link = "https://"
    for notice in Notice.objects.select_related("event", "user"):
        letter = texts.mail(notice)
        for whole in (texts.sms_text(notice), letter.subject, letter.text, letter.html):
            sent_text = whole
            for page in ours:
                sent_text = sent_text.replace(page, "")
            arrives_harmless(sent_text.replace(texts.content_of(notice).link, ""), text)
            assert sent_text.count(link) <= (2 if whole == letter.html else 1)


def test_no_export_says_it(sara: Person, text: str) -> None:
    key = old_key(sara, text)
    request = RequestFactory().get("/")
    request.META["HTTP_USER_AGENT"] = text
    audit.record(KeyEvent.RENAMED, request, customer=sara.user, label=text, before=text, reason=text)
    events = AuditEvent.objects.filter(customer=sara.user)
    files = [
        "".join(audit_export.lines(events, "csv")),
        "".join(
            json.dumps(json.loads(line), ensure_ascii=False) for line in audit_export.lines(events, "jsonl")
        ),
        b"".join(staff_export.as_jsonl(staff_export.rows(events))).decode(),
        b"".join(staff_export.as_csv(staff_export.rows(events))).decode(),
        "".join(export.as_csv(export.KEY_COLUMNS, export.keys_of(sara.user))),
        "".join(export.as_json(export.EVENT_COLUMNS, export.events_of(sara.user))),
    ]
    for sent_text in files:
        arrives_harmless(sent_text, text)
    assert str(key.pk) in files[4]


def test_an_export_keeps_what_is_a_fact(sara: Person) -> None:
    facts: dict[str, Any] = {"changes": ["+203.0.113.0/24"], "purpose": "key.change", "text": "203.0.113.7"}
    audit.record(KeyEvent.CHANGED, None, customer=sara.user, **facts)
    line = json.loads(next(iter(audit_export.lines(AuditEvent.objects.all(), "jsonl"))))
    assert line["detail"] == facts


def test_a_browser_is_stored_without_what_it_hides_and_links(sara: Person) -> None:
    client = logged_in(sara)
    client.post("/keys/", {"name": ""}, headers={"user-agent": "evil.example/1\x7f\xad"})
    request = RequestFactory().get("/", headers={"user-agent": "https://evil.example/\x7f\xad x"})
    assert audit.record(Event.LOGIN, request, customer=sara.user).agent == "https:evil·example/ x"


# --- where it comes in


def test_a_new_key_and_a_renamed_one_say_what_is_wrong_next_to_the_field(sara: Person, text: str) -> None:
    client, key = logged_in(sara), key_of(sara)
    for path, fields in (("/keys/", {}), (f"/keys/{key.pk}/", {"rename": "1"})):
        response = client.post(path, {**fields, "name": text})
        # Direction marks and line breaks come along with what is copied: they are dropped, and the rest is a name.
        if problem(names.tidy(text)) is not None:
            form = response.context["rename" if "rename" in fields else "form"]
            assert form.errors["name"]
            assert form["name"].value() == text
            assert str(form.errors["name"][0]) in response.text
    for label in ApiKey.objects.values_list("label", flat=True):
        arrives_harmless(label, text)


def test_an_old_key_can_be_deleted_by_its_name(sara: Person) -> None:
    key = old_key(sara, "https://evil.example/x")
    ApiKey.objects.filter(pk=key.pk).update(label_folded=names.fold(key.label))
    logged_in(sara).post(f"/keys/{key.pk}/delete/", {"name": "https://evil.example/x"})
    assert ApiKey.objects.get(pk=key.pk).state == "revoked"


def test_a_reason_of_staff_is_refused_next_to_its_field_and_kept(text: str) -> None:
    form = ReasonForm({"reason": f"Ticket 4711 {text}"})
    if one_line(f"Ticket 4711 {text}") != f"Ticket 4711 {text}":
        return  # a line break becomes a space
    assert not form.is_valid()
    assert form.errors["reason"]
    assert form["reason"].value() == f"Ticket 4711 {text}"


BAD_ADDRESSES = [
    '"call\\ 0900"@example.com',
    '"x"@example.com',
    "a b@example.com",
    "a\u00ad@example.com",
    "sara@exa\u00admple.com",
    "sara@example.com\U000e0041",
    "sara@exa\u200cmple.com",
    "sara@[198.51.100.9]",
    "sara@ｅxample.com",
    "sara@example。com",
    "سارا@example.com",
    "s..a@example.com",
    "sara@example",
    f"{'a' * 65}@example.com",
    "sara@example.com\r\nBcc: thief@evil.example",
]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_an_address_that_says_something_is_refused(sara: Person, address: str) -> None:
    form = EmailForm(sara.user, {"email": address})
    assert not form.is_valid()
    assert form.errors.as_data()["email"][0].code in ("invalid", "max_length", "null_characters_not_allowed")
    response = logged_in(sara).post("/settings/email/", {"email": address})
    assert response.status_code == 200
    assert response.context["form"].errors["email"]


@pytest.mark.parametrize(
    "address", ["s.ara+hitobit@example.com", "sara@مثال.ایران", "o'neil@mail.example.co.uk"]
)
def test_an_address_that_is_one_is_taken(sara: Person, address: str) -> None:
    assert EmailForm(sara.user, {"email": address}).is_valid()


def test_commands_refuse_it_and_do_nothing(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sara = customer()
    if problem(text.strip()) is None:
        return
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery staple\n"))
    for command in (
        ["create_staff", next_phone(), "--superuser", "--password-stdin", "--name", text],
        ["freeze_account", sara.user.phone, "--reason", text],
        ["thaw_account", sara.user.phone, "--reason", text],
        ["reset_second_factor", sara.user.phone, "--yes", "--reason", text],
        ["verify_audit", "--restart", text],
    ):
        with pytest.raises(CommandError) as refused:
            call_command(*command)
        assert "link" in str(refused.value) or "invisible" in str(refused.value)
    assert not User.objects.filter(is_staff=True).exists()
    assert User.objects.get(pk=sara.user.pk).frozen_at is None
    assert not AuditEvent.objects.exists()


def test_a_letter_reaches_an_old_address_as_one_recipient(sara: Person) -> None:
    User.objects.filter(pk=sara.user.pk).update(email='"call\\ 0900"@example.com')
    audit.record(Event.PASSWORD_CHANGED, None, customer=User.objects.get(pk=sara.user.pk))
    before = len(mail.outbox)
    outbox.send_due()
    [letter] = mail.outbox[before:]
    assert "0900" not in letter.subject + str(letter.body)


def test_the_error_of_the_rule_is_a_sentence() -> None:
    for result in Problem:
        assert len(str(FREE_TEXT[result])) > 20
    with pytest.raises(ValidationError):
        EmailForm.base_fields["email"].clean('"x"@example.com')
