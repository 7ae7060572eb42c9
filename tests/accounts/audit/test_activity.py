"""What the activity page tells of an event besides its title: from what to what, until when, for what."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.utils import translation

from accounts import audit
from accounts.audit import activity
from accounts.choices.approvals import ApprovalPurpose, all_purposes, past_text
from accounts.choices.events import Event, SecurityEvent
from accounts.models import User
from apikeys.policy.events import KeyEvent
from tests.support import people

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def user() -> User:
    return people.customer().user


def shown(user: User, event: SecurityEvent, **detail: Any) -> str:
    text = activity.row(audit.record(event, None, customer=user, label="bot", **detail)).detail
    return text.replace("\u2066", "").replace("\u2069", "")


@pytest.mark.parametrize("language", ["en", "fa"])
@pytest.mark.parametrize("purpose", all_purposes())
def test_every_purpose_of_a_code_has_words(purpose: ApprovalPurpose, language: str) -> None:
    with translation.override(language):
        assert past_text(purpose.value)


def test_a_renamed_key_shows_its_old_name(user: User) -> None:
    assert shown(user, KeyEvent.RENAMED, before="night bot") == "previously “night bot”"


def test_a_renewal_shows_its_new_end(user: User) -> None:
    assert shown(user, KeyEvent.RENEWED, until="2026-11-22T20:30:00+00:00") == "until 23 Nov 2026, 00:00"
    assert shown(user, KeyEvent.RENEWED, until="") == ""


def test_a_changed_number_shows_both_masked(user: User) -> None:
    numbers = {"old": "0912•••0001", "new": "0912•••0002"}
    assert shown(user, Event.PHONE_CHANGED, **numbers) == "0912•••0002 instead of 0912•••0001"
    assert shown(user, Event.PHONE_CHANGE_ASKED, new="0912•••0002") == "0912•••0002"


def test_a_code_that_was_refused_says_for_what(user: User) -> None:
    assert shown(user, Event.CODE_REFUSED, purpose="key.thaw") == "for resuming an API"


def test_a_used_recovery_code_says_how_many_are_left(user: User) -> None:
    assert shown(user, Event.RECOVERY_USED, left=3) == "codes left: 3"


@pytest.mark.parametrize("changes", [["ip:unrestricted"], ["+trade", "expires:2026-12-01T08:30:00+00:00>"]])
def test_an_event_that_took_a_protection_away_is_a_warning(user: User, changes: list[str]) -> None:
    event = audit.record(KeyEvent.CHANGED, None, customer=user, label="bot", changes=changes)
    assert activity.row(event).tone == "warn"


def test_an_event_that_took_no_protection_away_keeps_its_tone(user: User) -> None:
    event = audit.record(KeyEvent.CHANGED, None, customer=user, label="bot", changes=["+203.0.113.24"])
    assert activity.row(event).tone == KeyEvent.CHANGED.look.tone != "warn"


def test_an_event_of_a_latin_word_does_not_turn_its_persian_line(user: User) -> None:
    """Its details stand in the direction of the page, and what is Latin in them is isolated."""
    event = audit.record(KeyEvent.CHANGED, None, customer=user, label="DCA phone", changes=["-203.0.113.24"])
    with translation.override("fa"):
        row = activity.row(event)
        page = render_to_string("parts/event_rows.html", {"rows": [row]})
    assert row.title.endswith(": \u2068DCA phone\u2069")
    assert f"<p>{row.detail}</p>" in page.replace("\n", "")
