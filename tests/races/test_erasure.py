"""Erasures of customers against requests of many at once: logins, new keys, a second decision. On PostgreSQL."""

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from accounts import audit
from accounts.actions import erasure
from accounts.actions.erasure import Decider
from accounts.audit import chain
from accounts.audit.verify import Walk
from accounts.choices.events import Event
from accounts.models import AuditEvent, Erasure, User
from apikeys.models import ApiKey
from apikeys.verification.outcomes import Outcome
from tests.support import people
from tests.support.concurrency import MANY, RACES, WAIT_SECONDS, count_events, room_for, run_concurrently
from tests.support.signed_requests import decided

pytestmark = RACES
_room = room_for(2 * MANY)
ONE, OTHER = Decider(operator="one"), Decider(operator="other")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting period is over when the request is made."""
    monkeypatch.setattr(erasure, "WAIT", timedelta(seconds=-1))


def findings() -> list[Any]:
    return [one for one in Walk().findings() if one.kind != "missing_number"]


def test_no_login_and_no_key_of_the_same_moment_outlives_a_request() -> None:
    sara = people.customer()

    def log_in() -> object:
        return people.logged_in(sara).get("/dashboard/").status_code

    names = itertools.count()

    def create() -> object:
        return people.key_of(sara, f"bot {next(names)}")

    works: list[Callable[[], object]] = [log_in, create] * (MANY // 2)
    run_concurrently([*works, lambda: erasure.request_erasure(sara.user, "leaves", ONE)])
    assert ApiKey.objects.exists()
    assert {decided(key).outcome for key in ApiKey.objects.all()} == {Outcome.OWNER_INACTIVE}
    assert erasure.confirm(sara.user, "checked", OTHER)
    assert erasure.apply_due() == 1
    assert not ApiKey.objects.exists()
    assert not User.objects.filter(pk=sara.user.pk).exists()


def test_a_browser_that_finishes_its_login_meanwhile_is_out() -> None:
    sara = people.customer()
    browsers: list[Any] = []

    def log_in() -> None:
        browsers.append(people.logged_in(sara))

    run_concurrently([*[log_in] * MANY, lambda: erasure.request_erasure(sara.user, "leaves", ONE)])
    assert len(browsers) == MANY
    assert {browser.get("/dashboard/").status_code for browser in browsers} == {302}


def test_of_many_requests_confirmations_and_runs_each_has_one_effect() -> None:
    sara = people.customer()
    made = run_concurrently([lambda: erasure.request_erasure(sara.user, "leaves", ONE)] * MANY)
    assert sum(one is not None for one in made) == count_events(Event.ERASURE_REQUESTED) == 1
    assert sum(run_concurrently([lambda: erasure.confirm(sara.user, "checked", OTHER)] * MANY)) == 1
    assert sum(run_concurrently([erasure.apply_due] * MANY)) == 1
    assert count_events(Event.CUSTOMER_ERASED) == 1
    chain.seal_pending()
    assert findings() == []


def test_a_cancellation_at_the_same_moment_wins_as_a_whole_or_not_at_all() -> None:
    for _n in range(10):
        sara = people.customer()
        erasure.request_erasure(sara.user, "leaves", ONE)
        erasure.confirm(sara.user, "checked", OTHER)

        def cancel(person: people.Person = sara) -> int:
            try:
                return int(erasure.cancel(person.user, "stays", ONE))
            except User.DoesNotExist:
                return 0

        cancelled, applied = run_concurrently([cancel, erasure.apply_due])
        assert cancelled + applied == 1
        person = User.objects.filter(pk=sara.user.pk).first()
        assert (person is not None and person.is_active) == bool(cancelled)
        assert Erasure.objects.filter(user_id=sara.user.pk, done_at=None).exists() == bool(cancelled)


def test_an_event_that_commits_after_the_erasure_is_erased_by_the_next_run() -> None:
    sara = people.customer()
    erasure.request_erasure(sara.user, "leaves", ONE)
    erasure.confirm(sara.user, "checked", OTHER)
    is_recorded, is_erased = threading.Event(), threading.Event()

    def record() -> None:
        with transaction.atomic():
            audit.record(Event.LOGOUT, None, customer=sara.user, address="198.51.100.24")
            is_recorded.set()
            assert is_erased.wait(WAIT_SECONDS)

    def apply() -> None:
        assert is_recorded.wait(WAIT_SECONDS)
        assert erasure.apply_due() == 1
        is_erased.set()

    run_concurrently([record, apply])
    assert AuditEvent.objects.get(event=Event.LOGOUT.value).address == "198.51.100.24"
    erasure.apply_due()
    assert AuditEvent.objects.get(event=Event.LOGOUT.value).address == ""
    chain.seal_pending()
    assert findings() == []
