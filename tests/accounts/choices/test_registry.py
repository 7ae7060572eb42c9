"""What apps register at start: a closed vocabulary of events, of approvals, of rules and of words."""

import enum
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.choices import approvals, events, roles
from accounts.choices.approvals import Approval, ApprovalPurpose, Purpose
from accounts.choices.events import Event, Look, SecurityEvent
from accounts.choices.registry import RegistrationError, Registry
from accounts.notifications import policy
from apikeys.actions import expiry_reminders
from apikeys.operations import doctor, retention
from apikeys.policy import approvals as key_approvals
from apikeys.policy import detail_texts, notifications, rights
from apikeys.policy import events as key_events
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.events import KeyEvent

TITLE: Promise = _("API key created")


class Unknown(SecurityEvent):
    """Events of an app that did not register them."""

    OTHER = "other.happened"
    COPIED = "key.created"


class UnknownPurpose(ApprovalPurpose):
    """Purposes of an app that did not register them."""

    OTHER = "other.do"
    COPIED = "key.create"


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As while Django starts, for checks that come before anything is stored."""
    monkeypatch.setattr(apps, "ready", False)
    yield
    assert Unknown.OTHER not in events.LOOKS


@pytest.mark.django_db
def test_an_event_that_no_app_registered_is_not_recorded() -> None:
    with pytest.raises(ValueError, match="no registered event"):
        audit.record(Unknown.OTHER, None, customer=None)
    with pytest.raises(ValueError, match="no registered event"):
        events.event_of("other.happened")


def test_every_event_is_found_by_its_value() -> None:
    known = events.all_events()
    assert set(known) == {*Event, *KeyEvent}
    assert [events.event_of(event.value) for event in known] == known
    assert [value for value, _title in events.choices()] == [event.value for event in known]


def test_a_purpose_that_no_app_registered_approves_nothing() -> None:
    with pytest.raises(ValueError, match="no registered purpose"):
        Approval(UnknownPurpose.OTHER, {}, {})
    assert approvals.past_text("other.do") == ""
    assert set(approvals.all_purposes()) == {*Purpose, *KeyPurpose}


REGISTER: list[Callable[[], Any]] = [
    key_events.register,
    key_approvals.register,
    rights.register,
    expiry_reminders.register,
    doctor.register,
    retention.register,
    detail_texts.register,
    notifications.register,
    lambda: events.register({Unknown.COPIED: Look(TITLE, "key", "")}, awaited=False),
    lambda: approvals.register({UnknownPurpose.COPIED: TITLE}, {UnknownPurpose.COPIED: TITLE}),
]


@pytest.mark.parametrize("register", REGISTER)
def test_nothing_is_registered_twice(starting: None, register: Callable[[], Any]) -> None:
    with pytest.raises(RegistrationError, match="already"):
        register()


@pytest.mark.parametrize("register", REGISTER)
def test_nothing_is_registered_after_start(register: Callable[[], Any]) -> None:
    with pytest.raises(RegistrationError, match="has started"):
        register()


def test_what_is_held_back_must_be_told(starting: None) -> None:
    with pytest.raises(RegistrationError):
        policy.register(held_back=[Unknown.OTHER])
    with pytest.raises(RegistrationError):
        policy.register(mandatory=[Event.LOGIN])


def test_a_purpose_has_both_texts(starting: None) -> None:
    with pytest.raises(RegistrationError, match="words for the past"):
        approvals.register({UnknownPurpose.OTHER: TITLE}, {})


def test_rights_go_to_roles_that_exist(starting: None) -> None:
    class Other(roles.StaffRight):
        DO = "other.do"

    with pytest.raises(RegistrationError, match="No such role: chief"):
        roles.register({Other.DO: ["chief"]})
    assert {right for right in roles.all_rights() if not isinstance(right, roles.Right)} == {*rights.KeyRight}


def test_of_several_entries_all_or_none_are_registered(starting: None) -> None:
    table: Registry[int, str] = Registry({1: "one"})
    with pytest.raises(RegistrationError, match="1"):
        table.register({2: "two", 1: "first"})
    assert dict(table) == {1: "one"}
    table.register({2: "two"})
    assert [*table.items()] == [(1, "one"), (2, "two")]


def test_events_of_keys_and_of_tokens_hold_the_answer_until_gateways_know() -> None:
    prefixes = ("key.", "account.", "password.", "factor.", "gateway.", "staff.changed_user")
    expected = {event for event in events.all_events() if event.value.startswith(prefixes)}
    assert expected == events.AWAITED


def test_the_vocabularies_are_enumerations() -> None:
    assert issubclass(SecurityEvent, enum.Enum)
    assert not list(SecurityEvent)
