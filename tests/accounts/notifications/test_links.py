"""The one-time link in every notice: who may do what with it, how often and how long."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as portal
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts import audit
from accounts.choices.events import Event, SecurityEvent
from accounts.models import AuditEvent, DelayedChange, Notice
from accounts.notifications import links
from apikeys.policy.events import KeyEvent
from hitobit_portal.observability import logs
from hitobit_portal.security import crypto
from hitobit_portal.security.ratelimits import Rate
from tests.support import people
from tests.support.people import Person, browser, customer, logged_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def sara() -> Person:
    return customer()


def notice_of(person: Person, event: SecurityEvent = KeyEvent.CREATED) -> Notice:
    return Notice.objects.get(event=audit.record(event, None, customer=person.user))


def link(notice: Notice) -> str:
    return f"/n/{links.token_of(notice)}/"


def is_frozen(person: Person) -> bool:
    return person.reload().frozen_at is not None


def waiting_change(person: Person) -> DelayedChange:
    return DelayedChange.objects.create(
        user=person.user, kind="phone", phone="+989120000001", due_at=timezone.now() + timedelta(days=1)
    )


def test_a_link_is_short_and_finds_its_notice(sara: Person) -> None:
    notice = notice_of(sara)
    token = links.token_of(notice)
    assert len(token) <= 32
    assert links.find(token) == notice
    assert links.token_of(Notice.objects.get()) == token
    biggest = Notice(pk=16**9 - 1, user=sara.user, event=notice.event)
    assert len(links.token_of(biggest)) <= 32


def test_nothing_stored_makes_a_link(sara: Person, settings: Any) -> None:
    token = links.token_of(notice_of(sara))
    for row in Notice.objects.values():
        assert token.partition("-")[2] not in str(row)
    settings.MASTER_KEYS = {"other": b"x" * 32}
    assert links.find(token) is None


def test_a_link_outlives_a_change_of_the_master_key(sara: Person, settings: Any) -> None:
    token = links.token_of(notice_of(sara))
    settings.MASTER_KEYS = {"new": b"n" * 32, **portal.MASTER_KEYS}
    assert links.find(token) is not None


def test_looking_changes_nothing(sara: Person) -> None:
    notice = notice_of(sara)
    for _n in range(3):
        answer = browser().get(link(notice))
        assert answer.status_code == 200
        assert browser().head(link(notice)).status_code == 200
    notice.refresh_from_db()
    assert notice.link_used_at is None
    assert not is_frozen(sara)
    text = answer.content.decode()
    assert sara.user.phone not in text
    assert sara.user.phone[-4:] in text
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["Referrer-Policy"] == "same-origin"


def test_one_click_freezes_without_a_login_and_only_once(sara: Person) -> None:
    notice, full = notice_of(sara), logged_in(sara)
    assert browser().post(link(notice), {"freeze": "1"}).headers["Location"] == "/frozen/"
    assert is_frozen(sara)
    assert full.get("/dashboard/").headers["Location"].startswith("/login/")
    assert AuditEvent.objects.get(event="account.frozen").detail == {"via": "link"}
    assert browser().get(link(notice)).status_code == 404
    assert browser().post(link(notice), {"freeze": "1"}).status_code == 404
    assert AuditEvent.objects.filter(event="account.frozen").count() == 1


def test_the_links_of_other_notices_go_on_working(sara: Person) -> None:
    first, second = notice_of(sara), notice_of(sara, KeyEvent.REVOKED)
    browser().post(link(first), {"freeze": "1"})
    assert browser().get(link(second)).status_code == 200


def test_a_link_is_over_after_thirty_days(sara: Person) -> None:
    notice = notice_of(sara)
    Notice.objects.update(created_at=timezone.now() - timedelta(days=30, seconds=1))
    assert browser().post(link(notice), {"freeze": "1"}).status_code == 404
    Notice.objects.update(created_at=timezone.now() - timedelta(days=29, hours=23))
    assert browser().get(link(notice)).status_code == 200
    assert not is_frozen(sara)


def test_forged_expired_and_used_links_look_the_same(sara: Person) -> None:
    used, old = notice_of(sara), notice_of(sara, KeyEvent.REVOKED)
    Notice.objects.filter(pk=used.pk).update(link_used_at=timezone.now())
    Notice.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=31))
    forged = links.token_of(used)[:-1] + "~"
    answers = [browser().get(path) for path in (link(used), link(old), f"/n/{forged}/", "/n/1-x/")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.templates[0].name for answer in answers}) == 1


def test_a_link_of_one_notice_opens_no_other(sara: Person) -> None:
    mine, other = notice_of(customer()), notice_of(sara)
    tag = links.token_of(mine).partition("-")[2]
    assert links.find(f"{other.pk:x}-{tag}") is None
    moved = links.token_of(mine)
    Notice.objects.filter(pk=mine.pk).update(user=sara.user)
    assert links.find(moved) is None, "a row that came to belong to somebody else"


def test_every_changed_character_is_refused(sara: Person) -> None:
    token = links.token_of(notice_of(sara))
    for n, letter in enumerate(token):
        changed = token[:n] + ("0" if letter != "0" else "1") + token[n + 1 :]
        assert links.find(changed) is None
    for longer in ("0" + token, token + "0", token.upper()):
        assert links.find(longer) is None


@given(st.text(max_size=60))
def test_any_text_is_no_link(text: str) -> None:
    assert links.TOKEN.fullmatch(text) is None or not Notice.objects.exists()


@pytest.mark.parametrize(
    "token", ["%00", "%ff%fe", "١-" + "A" * 22, "f" * 5000, "f" * 9 + "-" + "A" * 22, "0"]
)
def test_odd_links_are_answered(token: str) -> None:
    assert browser().get(f"/n/{token}/").status_code == 404


def test_a_waiting_change_is_stopped_alone_or_with_freezing(sara: Person) -> None:
    change = waiting_change(sara)
    notice = notice_of(sara)
    assert b'name="stop"' in browser().get(link(notice)).content
    assert browser().post(link(notice), {"stop": "1"}).headers["Location"] == "/login/"
    change.refresh_from_db()
    assert change.stopped_at is not None
    assert not is_frozen(sara)
    other = customer()
    change = waiting_change(other)
    browser().post(link(notice_of(other, Event.PHONE_CHANGE_ASKED)), {"freeze": "1"})
    change.refresh_from_db()
    assert change.stopped_at is not None
    assert is_frozen(other)


def test_what_took_force_meanwhile_is_not_said_to_be_stopped(sara: Person) -> None:
    notice = notice_of(sara)
    assert browser().post(link(notice), {"stop": "1"}).headers["Location"] == link(notice)
    notice.refresh_from_db()
    assert notice.link_used_at is None


def test_nothing_is_offered_to_be_stopped_where_nothing_waits(sara: Person) -> None:
    waiting_change(customer())
    assert b'name="stop"' not in browser().get(link(notice_of(sara))).content


def test_a_form_of_another_site_uses_no_link_up(sara: Person) -> None:
    notice = notice_of(sara)
    answer = browser(csrf=True).post(
        link(notice), {"freeze": "1"}, headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    notice.refresh_from_db()
    assert notice.link_used_at is None
    assert not is_frozen(sara)


def test_wrong_links_are_slowed_down_by_address_and_a_right_one_is_never_refused(sara: Person) -> None:
    """SECURITY: else a neighbour behind the same address keeps an owner from freezing."""
    notice, other = notice_of(sara), notice_of(sara, KeyEvent.REVOKED)
    client = browser()
    for _n in range(Rate.NOTICE_LINK_ADDRESS.value.count):
        assert client.get(f"/n/1-{'A' * 22}/").status_code == 404
    assert client.get(f"/n/1-{'A' * 22}/").status_code == 429
    assert client.get(link(notice)).status_code == 200
    assert browser(people.address(7)).get(link(other)).status_code == 200
    assert client.post(link(notice), {"freeze": "1"}).headers["Location"] == "/frozen/"
    assert is_frozen(sara)


def test_the_page_names_the_number_that_was_told_and_not_the_one_that_came_after(sara: Person) -> None:
    notice = notice_of(sara, Event.PHONE_CHANGED)
    sara.user.phone = "+989359998877"
    sara.user.save()
    text = browser().get(link(notice)).content.decode()
    assert "8877" not in text
    assert notice.to[-4:] in text


def test_links_do_not_reach_the_log(sara: Person, caplog: pytest.LogCaptureFixture) -> None:
    notice = notice_of(sara)
    caplog.handler.setFormatter(logs.PlainLines())
    browser(csrf=True).post(link(notice), {}, headers={"origin": "https://evil.example"})
    Notice.objects.update(link_used_at=timezone.now())
    browser().get(link(notice))
    assert "/n/(hidden)" in caplog.text
    assert links.token_of(notice) not in caplog.text


@pytest.mark.parametrize(
    "path", ["/n/SECRET/", "/signup/invited/SECRET/", "/settings/email/confirm/SECRET/?a=b"]
)
def test_the_log_keeps_the_address_without_its_secret(path: str) -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s: %s", ("Not Found", path), None)
    for formatter in (logs.PlainLines(), logs.JsonLines()):
        line = formatter.format(record)
        assert "SECRET" not in line
        assert f"Not Found: {path.partition('SECRET')[0]}(hidden)/" in line


def test_a_tag_is_128_bits_and_of_its_use(settings: Any) -> None:
    settings.MASTER_KEYS = {"k": bytes(range(32))}
    tag = crypto.tag("a", "1", "2")
    assert len(tag) == 22
    assert crypto.tag_matches(tag, "a", "1", "2")
    for use, parts in (("b", ("1", "2")), ("a", ("12", "")), ("a", ("1",))):
        assert not crypto.tag_matches(tag, use, *parts)
    assert not crypto.tag_matches(tag + "A", "a", "1", "2")
