"""States of a key under concurrent requests: one pair of codes resumes once, one code renews once. On PostgreSQL."""

import threading
import time
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse
from django.utils import timezone

from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import SmsCode
from apikeys.actions import lifecycle
from apikeys.models import ApiKey, KeyLimitReached
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from tests.support import people
from tests.support.concurrency import (
    RACES,
    SIXTY,
    WAIT_SECONDS,
    count_events,
    count_redirects,
    post_concurrently,
    posting,
    room_for,
    run_concurrently,
)

pytestmark = RACES
_room = room_for(SIXTY)


def browsers(person: people.Person, count: int = SIXTY) -> list[Any]:
    one = people.logged_in(person)
    return [people.clone_browser(one, people.address(n)) for n in range(count)]


def test_one_pair_of_codes_resumes_once() -> None:
    sara = people.customer()
    key = people.key_of(sara)
    key.set_state(KeyState.FROZEN)
    crowd = browsers(sara)
    codes = {"sms_code": people.live_sms_code(sara, lifecycle.resume_approval(key)), "totp_code": sara.totp()}
    answers = post_concurrently([(browser, f"/keys/{key.pk}/resume/", codes) for browser in crowd])
    assert count_redirects(answers, f"/keys/{key.pk}/") == SIXTY  # the rest find it done
    assert count_events(KeyEvent.THAWED) == 1
    assert count_events(Event.CODE_REFUSED) == 0
    assert not SmsCode.objects.exists()
    key.refresh_from_db()
    key.set_state(KeyState.FROZEN)
    assert people.logged_in(sara).post(f"/keys/{key.pk}/resume/", codes).status_code == 200
    assert ApiKey.objects.get().state == "frozen"


def test_one_pair_of_codes_resumes_once_a_key_that_is_paused_meanwhile() -> None:
    sara = people.customer()
    key = people.key_of(sara)
    key.set_state(KeyState.FROZEN)
    crowd = browsers(sara)
    codes = {"sms_code": people.live_sms_code(sara, lifecycle.resume_approval(key)), "totp_code": sara.totp()}
    path = f"/keys/{key.pk}/"
    posts = [
        (browser, path + ("pause/" if n % 2 else "resume/"), {} if n % 2 else codes)
        for n, browser in enumerate(crowd)
    ]
    assert count_redirects(post_concurrently(posts), path) >= SIXTY // 2
    assert count_events(KeyEvent.THAWED) == 1
    assert count_events(KeyEvent.FROZEN) <= 1


def test_one_code_renews_once() -> None:
    sara = people.customer()
    key = people.key_of(sara)
    key.apply(["read", "trade"], "unrestricted", [])
    ApiKey.objects.filter(pk=key.pk).update(trade_until=timezone.now() + timedelta(days=1))
    code = {"code": sara.totp()}
    answers = post_concurrently([(browser, f"/keys/{key.pk}/renew/", code) for browser in browsers(sara)])
    assert count_redirects(answers, f"/keys/{key.pk}/") == SIXTY
    assert count_events(KeyEvent.RENEWED) == 1
    assert count_events(Event.CODE_REFUSED) == 0


def test_one_code_renews_one_of_many_keys() -> None:
    sara = people.customer()
    keys = [people.key_of(sara, f"key {n}") for n in range(20)]
    for key in keys:
        key.apply(["read", "trade"], "unrestricted", [])
    ApiKey.objects.update(trade_until=timezone.now() + timedelta(days=1))
    code = {"code": sara.totp()}
    posts = [
        (browser, f"/keys/{key.pk}/renew/", code)
        for key, browser in zip(keys, browsers(sara, 20), strict=True)
    ]
    count_redirects(post_concurrently(posts), "")
    assert count_events(KeyEvent.RENEWED) == 1
    assert ApiKey.objects.filter(trade_until__gt=timezone.now() + timedelta(days=2)).count() == 1


def test_one_pair_of_codes_renews_ended_trading_once() -> None:
    sara = people.customer()
    key = people.key_of(sara)
    key.apply(["read", "trade"], "unrestricted", [])
    ApiKey.objects.filter(pk=key.pk).update(trade_until=timezone.now() - timedelta(days=1))
    key.refresh_from_db()
    crowd = browsers(sara)
    codes = {"sms_code": people.live_sms_code(sara, lifecycle.renew_approval(key)), "totp_code": sara.totp()}
    answers = post_concurrently([(browser, f"/keys/{key.pk}/renew/", codes) for browser in crowd])
    assert count_redirects(answers, f"/keys/{key.pk}/") == SIXTY
    assert count_events(KeyEvent.RENEWED) == count_events(KeyEvent.APPROVED) == 1
    assert count_events(Event.CODE_REFUSED) == 0


def test_one_code_that_waits_for_its_turn_until_trading_has_ended_renews_nothing() -> None:
    """SECURITY: the page has decided that one code suffices; the write decides again."""
    sara = people.customer()
    key = people.key_of(sara)
    key.apply(["read", "trade"], "unrestricted", [])
    ApiKey.objects.filter(pk=key.pk).update(trade_until=timezone.now() + timedelta(days=1))
    browser, code = people.logged_in(sara), {"code": sara.totp()}
    is_held = threading.Event()

    def end_trading_while_the_code_waits() -> None:
        with transaction.atomic():
            verification.lock(sara.user)
            is_held.set()
            while not somebody_waits():
                time.sleep(0.01)
            ApiKey.objects.filter(pk=key.pk).update(trade_until=timezone.now())

    def renew() -> HttpResponse:
        assert is_held.wait(WAIT_SECONDS)
        return posting(browser, f"/keys/{key.pk}/renew/", code)()

    works: list[Any] = [end_trading_while_the_code_waits, renew]
    answer = run_concurrently(works)[1]
    assert count_redirects([answer], f"/keys/{key.pk}/renew/") == 1
    assert count_events(KeyEvent.RENEWED) == 0
    assert ApiKey.objects.get().trade_has_ended


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_sixty_renames_to_one_name_give_it_to_one_key() -> None:
    sara = people.customer()
    keys = [people.key_of(sara, f"key {n}") for n in range(20)]
    fields = {"permissions": ["read"], "ip_policy": "unrestricted", "network": ""}
    posts = [
        (browser, f"/keys/{key.pk}/", {**fields, "name": ("bot", "BOT", " bot ")[n % 3]})
        for n, (key, browser) in enumerate(zip(keys, browsers(sara, 20), strict=True))
    ]
    count_redirects(post_concurrently(posts), "")
    assert ApiKey.objects.filter(label_folded="bot").count() == 1
    assert count_events(KeyEvent.RENAMED) == 1


def test_keys_made_and_deleted_one_by_one_while_all_are_deleted_end_or_come_after() -> None:
    sara = people.customer()
    keys = [people.key_of(sara, f"key {n}") for n in range(20)]
    phrase = people.logged_in(sara).get("/keys/delete-all/").context["phrase"]
    crowd = browsers(sara)
    works: list[Any] = [posting(browser, "/keys/delete-all/", {"phrase": phrase}) for browser in crowd[:6]]
    for n, browser in enumerate(crowd[20:40]):
        works.append(posting(browser, f"/keys/{keys[n].pk}/delete/", {"name": f"key {n}"}))

    def create(n: int) -> None:
        try:
            people.key_of(sara, f"late {n}")
        except (KeyLimitReached, IntegrityError):
            return

    works += [lambda n=n: create(n) for n in range(20)]
    answers = [answer for answer in run_concurrently(works) if answer is not None]
    count_redirects(answers, "")
    assert set(ApiKey.objects.filter(label__startswith="key").values_list("state", flat=True)) == {"revoked"}
    assert count_events(KeyEvent.REVOKED) == ApiKey.objects.filter(state="revoked").count()
