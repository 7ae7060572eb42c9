"""Freezing, thawing, links and trust under many requests at once. On PostgreSQL."""

import threading

import pytest
from django.db import connection, transaction
from django.http import HttpResponse

from accounts import audit
from accounts.actions import freeze, scheduled_changes
from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import DelayedChange, LoginSession, Notice
from accounts.notifications import links as notifications_links
from apikeys.policy.events import KeyEvent
from tests.support import people
from tests.support.concurrency import (
    MANY,
    RACES,
    count_events,
    count_redirects,
    failure_counts,
    post_concurrently,
    posting,
    room_for,
    run_concurrently,
)

pytestmark = RACES
_room = room_for(2 * MANY)


@pytest.mark.parametrize("what", ["thaw", "quarantine"])
def test_one_pair_of_codes_gives_power_back_once(what: str) -> None:
    sara = people.customer()
    if what == "thaw":
        freeze.freeze(None, sara.user)
        approval, event = approvals.THAW, Event.ACCOUNT_THAWED
    else:
        freeze.quarantine(sara.user)
        approval, event = approvals.LIFT_QUARANTINE, Event.QUARANTINE_LIFTED
    one = people.logged_in(sara)
    codes = {"sms_code": people.live_sms_code(sara, approval), "totp_code": sara.totp()}
    browsers = [people.clone_browser(one, people.address(n)) for n in range(MANY)]
    answers = post_concurrently([(browser, f"/{what}/", codes) for browser in browsers])
    assert count_redirects(answers, "/dashboard/") == MANY, "every click arrives where the first one did"
    assert count_events(event) == 1
    assert failure_counts(sara) == (0, 0)


def test_a_link_is_used_once_by_many_at_once() -> None:
    sara = people.customer()
    notice = Notice.objects.get(event=audit.record(KeyEvent.CREATED, None, customer=sara.user))
    path = f"/n/{notifications_links.token_of(notice)}/"
    posts = [(people.browser(people.address(n)), path, {"freeze": "1"}) for n in range(MANY)]
    answers = post_concurrently(posts)
    assert count_redirects(answers, "/frozen/") == 1
    assert sum(answer.status_code == 404 for answer in answers) == MANY - 1
    assert count_events(Event.ACCOUNT_FROZEN) == 1


def test_freezing_many_times_at_once_is_one_event_and_leaves_no_session() -> None:
    sara = people.customer()
    browsers = [people.logged_in(sara, people.address(n)) for n in range(MANY)]
    answers = post_concurrently([(browser, "/freeze/", {}) for browser in browsers])
    count_redirects(answers, "/frozen/")
    assert count_events(Event.ACCOUNT_FROZEN) == 1
    assert not LoginSession.objects.exists()


def test_of_many_links_at_once_one_stops_a_change_and_what_is_asked_for_meanwhile_goes_on() -> None:
    sara = people.customer()
    scheduled_changes.schedule_factor_reset(sara.user, "asked first")
    events = [audit.record(Event.LOGIN_NEW_DEVICE, None, customer=sara.user) for _n in range(MANY)]
    links = [
        f"/n/{notifications_links.token_of(notice)}/" for notice in Notice.objects.filter(event__in=events)
    ]
    assert len(links) == MANY
    stops = [posting(people.browser(people.address(n)), path, {"stop": "1"}) for n, path in enumerate(links)]

    def ask_again() -> HttpResponse:
        scheduled_changes.schedule_factor_reset(sara.user, "asked again")
        return HttpResponse()

    answers = run_concurrently([work for stop in stops for work in (stop, ask_again)])
    assert not [answer.status_code for answer in answers if answer.status_code >= 500]
    assert DelayedChange.objects.filter(user=sara.user, stopped_by_link=True).count() == 1
    scheduled_changes.schedule_factor_reset(sara.user, "asked after all of them")
    assert scheduled_changes.waiting(sara.user).count() == 1


def test_a_link_waits_for_whoever_asks_or_stops_at_this_moment() -> None:
    """Else it looks at the stops of before, and stops what was asked for after one of them."""
    sara = people.customer()
    scheduled_changes.schedule_factor_reset(sara.user, "asked first")
    notice = Notice.objects.get(event=audit.record(Event.LOGIN_NEW_DEVICE, None, customer=sara.user))
    path = f"/n/{notifications_links.token_of(notice)}/"
    held, done = threading.Event(), threading.Event()

    def hold() -> HttpResponse:
        with transaction.atomic():
            verification.lock(sara.user)
            held.set()
            assert done.wait(60)
        return HttpResponse()

    def stop() -> HttpResponse:
        assert held.wait(60)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '300ms'")
            return posting(people.browser(), path, {"stop": "1"})()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
            done.set()

    [_held, answer] = run_concurrently([hold, stop])
    assert answer.status_code == 503
    assert scheduled_changes.waiting(sara.user).exists()
    assert people.browser().post(path, {"stop": "1"}).status_code == 302
    assert not scheduled_changes.waiting(sara.user).exists()
