"""Keys under concurrent requests: their number, which settings apply, who sees the secret. On PostgreSQL."""

import signal
import time
import uuid
from contextlib import ExitStack

import pytest
from django.conf import settings as portal
from django.db import IntegrityError
from django_ratelimit.core import _get_window

from accounts.models import AuditEvent
from apikeys.models import ApiKey, Credential, KeyLimitReached
from apikeys.policy.choices import LIVE_KEYS
from apikeys.policy.events import KeyEvent
from hitobit_portal.security.ratelimits import Rate
from tests.support import people, sms_collector
from tests.support.child_tasks import DEATHS
from tests.support.concurrency import (
    MANY,
    RACES,
    SIXTY,
    WAIT_SECONDS,
    child_of,
    count_events,
    count_redirects,
    post_concurrently,
    room_for,
    run_concurrently,
    visiting,
)

pytestmark = RACES
_room = room_for(SIXTY)

PROCESSES = 4
TRIES = 200
ROUNDS = 20


def test_of_sixty_visits_one_shows_the_secret() -> None:
    sara = people.customer()
    key = people.key_of(sara)
    one = people.made_just_now(people.logged_in(sara), key)
    browsers = [people.clone_browser(one, people.address(n)) for n in range(SIXTY)]
    answers = run_concurrently([visiting(browser, f"/keys/{key.pk}/") for browser in browsers])
    assert {answer.status_code for answer in answers} == {200}
    secret = people.secret_of(key).encode()
    assert sum(secret in answer.content for answer in answers) == 1
    assert count_events(KeyEvent.REVEALED) == 1


@pytest.mark.parametrize("moment", DEATHS)
def test_a_process_killed_while_it_shows_the_secret_never_makes_it_seen_twice(moment: str) -> None:
    sara = people.customer()
    key = people.key_of(sara)
    browser = people.made_just_now(people.logged_in(sara), key)
    session, path = browser.cookies[portal.SESSION_COOKIE_NAME].value, f"/keys/{key.pk}/"
    with child_of("reveal", moment, session, path) as child:
        shown, errors = child.communicate(timeout=WAIT_SECONDS)
    assert child.returncode == -signal.SIGKILL, errors
    assert not shown
    assert (Credential.objects.get(key=key).revealed_at is None) == (moment == "before")
    secret = people.secret_of(key).encode()
    visits = [secret in browser.get(path).content for _n in range(3)]
    # Killed before the decision nothing was shown, and the owner still gets it, once; afterwards it is gone for good.
    assert visits == [moment == "before", False, False]


def test_forty_creations_at_29_keys_leave_30() -> None:
    sara = people.customer()
    for n in range(LIVE_KEYS - 1):
        people.key_of(sara, f"key {n}")

    def create(n: int) -> bool:
        try:
            people.key_of(sara, f"late {n}")
        except KeyLimitReached:
            return False
        return True

    made = run_concurrently([lambda n=n: create(n) for n in range(40)])  # type: ignore[misc]
    assert sum(made) == 1
    assert ApiKey.objects.live(sara.user).count() == LIVE_KEYS


def test_sixty_creations_of_one_name_make_one_key() -> None:
    sara = people.customer()

    def create(name: str) -> bool:
        try:
            people.key_of(sara, name, uuid.uuid4())
        except IntegrityError:
            return False
        return True

    names = ["bot", "BOT", " bot "]
    made = run_concurrently([lambda n=n: create(names[n % 3]) for n in range(SIXTY)])  # type: ignore[misc]
    assert sum(made) == 1
    assert ApiKey.objects.count() == Credential.objects.count() == 1


def test_of_sixty_first_settings_one_needs_no_codes() -> None:
    sara = people.customer()
    key = people.key_of(sara)
    one = people.made_just_now(people.logged_in(sara), key)
    posts = [
        (
            people.clone_browser(one, people.address(n)),
            f"/keys/{key.pk}/",
            {"permissions": ["read", "trade"], "ip_policy": "trusted", "network": people.address(n)},
        )
        for n in range(SIXTY)
    ]
    answers = post_concurrently(posts)
    saved = [n for n, answer in enumerate(answers) if answer.headers.get("Location") == f"/keys/{key.pk}/"]
    assert len(saved) == 1
    assert count_redirects(answers, f"/keys/{key.pk}/verify/") == SIXTY - 1
    assert list(key.networks.values_list("value", flat=True)) == [people.address(saved[0])]
    assert count_events(KeyEvent.CHANGED) == 1
    assert len(sms_collector.messages) <= Rate.SMS_PHONE.value.count


def test_a_permission_taken_away_is_not_given_back_by_a_page_that_still_showed_it() -> None:
    sara = people.customer()
    key = people.key_of(sara)
    key.apply(["read", "trade"], "trusted", [people.address(1), people.address(2)])
    # Both reduce what the key was, and need no codes; but the second one applied to the first one's work adds "trade".
    fields = {"ip_policy": "trusted", "networks": [people.address(1)]}
    without, within = {**fields, "permissions": ["read"]}, {**fields, "permissions": ["read", "trade"]}
    one = people.logged_in(sara)
    browsers = [people.clone_browser(one, people.address(n)) for n in range(MANY)]
    posts = [(b, f"/keys/{key.pk}/", without if n % 2 else within) for n, b in enumerate(browsers)]
    count_redirects(post_concurrently(posts), "")
    changes = [event.detail["changes"] for event in AuditEvent.objects.filter(event=KeyEvent.CHANGED.value)]
    taken = sum("-trade" in change for change in changes)
    assert taken <= 1
    assert not any("+trade" in change for change in changes)
    assert ("trade" in ApiKey.objects.get().permissions) == (taken == 0)


def test_sixty_deletions_leave_one_event() -> None:
    sara = people.customer()
    key = people.key_of(sara, "bot")
    one = people.logged_in(sara)
    browsers = [people.clone_browser(one, people.address(n)) for n in range(SIXTY)]
    answers = post_concurrently(
        [(browser, f"/keys/{key.pk}/delete/", {"name": "bot"}) for browser in browsers]
    )
    assert count_redirects(answers, "/keys/") == SIXTY
    assert count_events(KeyEvent.REVOKED) == 1
    assert ApiKey.objects.get().state == "revoked"


def test_a_key_deleted_while_it_is_changed_stays_deleted() -> None:
    sara = people.customer()
    key = people.key_of(sara, "bot")
    one = people.made_just_now(people.logged_in(sara), key)
    settings = {"permissions": ["read"], "ip_policy": "trusted", "network": people.address(1)}
    browsers = [people.clone_browser(one, people.address(n)) for n in range(MANY)]
    posts = [
        (browser, f"/keys/{key.pk}/", settings)
        if n % 2
        else (browser, f"/keys/{key.pk}/delete/", {"name": "bot"})
        for n, browser in enumerate(browsers)
    ]
    count_redirects(post_concurrently(posts), "")
    assert ApiKey.objects.get().state == "revoked"
    assert count_events(KeyEvent.REVOKED) == 1


def long_window(rate: Rate, name: str) -> str:
    """A value whose window of the rate does not end during the test, which would rightly let more through."""
    values = (f"{name}-{n}" for n in range(1000))
    return next(v for v in values if _get_window(v, rate.value.seconds) - time.time() > 60)


def test_of_200_in_4_processes_exactly_the_limit_passes() -> None:
    rate = Rate.LOGIN_PHONE_ADDRESS
    with ExitStack() as stack:
        limiter = "limiter", rate.name, str(TRIES // PROCESSES)
        children = [stack.enter_context(child_of(*limiter)) for _n in range(PROCESSES)]
        pipes = [(child.stdin, child.stdout) for child in children if child.stdin and child.stdout]
        assert [out.readline() for _in, out in pipes] == ["ready\n"] * PROCESSES
        for run in range(ROUNDS):
            value = long_window(rate, f"round {run}")
            for into, _out in pipes:
                into.write(f"{value}\n")
                into.flush()
            assert sum(int(out.readline()) for _in, out in pipes) == rate.value.count
