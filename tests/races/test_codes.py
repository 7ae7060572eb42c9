"""Codes under attack by many requests at once: each is used once, and every wrong one is counted. On PostgreSQL."""

import time

import pytest
from django.http import HttpResponse

from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.models import AuditEvent, FactorGuard, RecoveryCode, SmsCode, TotpDevice
from apikeys.models import ApiKey
from apikeys.pages import session_state
from apikeys.policy.events import KeyEvent
from tests.support import people, sms_collector
from tests.support.concurrency import (
    RACES,
    SIXTY,
    Post,
    count_events,
    count_redirects,
    failure_counts,
    post_concurrently,
    posting,
    room_for,
    run_concurrently,
    visiting,
)
from tests.support.people import Person

pytestmark = RACES
_room = room_for(SIXTY)

SECOND_FACTOR = "/login/second-factor/"
COMPARED_BEFORE_LOCK = 5


def compared(person: Person) -> int:
    """Submissions that were compared and refused; the one that closes the account is told apart in the trail."""
    refused = AuditEvent.objects.filter(event__in=[Event.CODE_REFUSED.value, Event.CODE_LOCKED.value])
    return refused.filter(customer=person.user).count()


def login_by(method: str, person: Person, code: str, *, same: bool = False) -> list[Post]:
    """Sixty logins of one person with one code: from sixty browsers and addresses, or (``same``) from one browser."""
    one = people.half_logged_in(person)
    browsers = [
        people.clone_browser(one, people.address(n))
        if same
        else people.half_logged_in(person, people.address(n))
        for n in range(SIXTY)
    ]
    return [(browser, f"{SECOND_FACTOR}?method={method}", {"code": code}) for browser in browsers]


def code_for(method: str, person: Person) -> str:
    """A right code for one login."""
    if method == "totp":
        return person.totp()
    return (
        people.live_sms_code(person, approvals.LOGIN) if method == "sms" else people.recovery_codes(person)[0]
    )


@pytest.mark.parametrize(
    ("method", "same"),
    [("totp", False), ("totp", True), ("sms", True), ("recovery", False), ("recovery", True)],
)
def test_one_code_makes_one_login(method: str, same: bool) -> None:
    sara = people.customer()
    posts = login_by(method, sara, "", same=same)
    code = code_for(method, sara)
    answers = post_concurrently([(browser, path, {"code": code}) for browser, path, _data in posts])
    assert count_redirects(answers, "/dashboard/") == 1
    assert count_events(Event.LOGIN) == 1
    assert compared(sara) <= COMPARED_BEFORE_LOCK
    assert failure_counts(sara)[0] == compared(sara)
    if method == "recovery":
        assert RecoveryCode.objects.filter(used_at=None).count() == 9
        assert count_events(Event.RECOVERY_USED) == 1


def test_sixty_recovery_codes_of_ten_make_ten_logins_at_most() -> None:
    sara = people.customer()
    codes = people.recovery_codes(sara)
    posts = [
        (client, path, {"code": codes[n % 10]})
        for n, (client, path, _data) in enumerate(login_by("recovery", sara, ""))
    ]
    used = count_redirects(post_concurrently(posts), "/dashboard/")
    assert 1 <= used <= 10
    assert RecoveryCode.objects.exclude(used_at=None).count() == used == count_events(Event.LOGIN)


def test_one_code_confirms_a_phone_once() -> None:
    nima = people.newcomer()
    one = people.half_logged_in(nima)
    code = people.live_sms_code(nima, approvals.ENROL_SMS)
    browsers = [people.clone_browser(one, people.address(n)) for n in range(SIXTY)]
    answers = post_concurrently([(browser, "/enrol/sms/", {"code": code}) for browser in browsers])
    assert count_redirects(answers, "/enrol/totp/") == 1
    assert count_events(Event.PHONE_CONFIRMED) == 1
    assert not SmsCode.objects.exists()


def test_one_code_confirms_an_authenticator_once_and_logs_nobody_in_afterwards() -> None:
    nima = people.half_enrolled()
    one = people.proved_in(nima, "sms")
    code = Person(nima.user, "", one.get("/enrol/totp/").context["secret"]).totp()
    browsers = [people.clone_browser(one, people.address(n)) for n in range(SIXTY)]
    answers = post_concurrently([(browser, "/enrol/totp/", {"code": code}) for browser in browsers])
    assert count_redirects(answers, "/enrol/recovery-codes/") == 1
    assert count_events(Event.TOTP_CONFIRMED) == 1
    assert TotpDevice.objects.get(user=nima.user).last_step > 0
    late = people.half_logged_in(nima).post(f"{SECOND_FACTOR}?method=totp", {"code": code})
    assert late.status_code == 200


def key_posts(person: Person, *, same: bool) -> list[Post]:
    """Sixty submissions of both codes for the key "bot", as one attempt (a double click) or as sixty attempts."""
    one = people.logged_in(person)
    assert one.post("/keys/", {"name": "bot"}).headers["Location"] == "/keys/new/verify/"
    codes = {"sms_code": sms_collector.newest("key.create").code, "totp_code": person.totp()}
    browsers = [people.clone_browser(one, people.address(n)) for n in range(SIXTY)]
    if not same:
        browsers = [people.logged_in(person, people.address(n)) for n in range(SIXTY)]
        for browser in browsers:
            browser.post("/keys/", {"name": "bot"})
    return [(browser, "/keys/new/verify/", codes) for browser in browsers]


def test_a_double_click_sixty_times_makes_one_key_and_every_click_arrives_at_it() -> None:
    sara = people.customer()
    answers = post_concurrently(key_posts(sara, same=True))
    key = ApiKey.objects.get()
    assert count_redirects(answers, f"/keys/{key.pk}/") == SIXTY
    assert count_events(KeyEvent.CREATED) == count_events(KeyEvent.APPROVED) == 1
    assert failure_counts(sara) == (0, 0)


def test_spent_code_sixty_times_at_once_makes_nothing_counts_nothing_and_leaves_the_sms_code_valid() -> None:
    sara = people.customer()
    posts = key_posts(sara, same=True)
    spent = posts[0][2]["totp_code"]
    login = people.half_logged_in(sara).post(f"{SECOND_FACTOR}?method=totp", {"code": spent})
    assert login.headers["Location"] == "/dashboard/"
    answers = post_concurrently(posts)
    assert [answer.status_code for answer in answers] == [200] * SIXTY
    assert not ApiKey.objects.exists()
    assert (failure_counts(sara), compared(sara)) == ((0, 0), 0)
    codes = {**posts[0][2], "totp_code": sara.totp(1)}
    answer = posts[0][0].post(posts[0][1], codes)
    assert answer.headers["Location"] == f"/keys/{ApiKey.objects.get().pk}/"


def test_wrong_codes_among_spent_ones_are_counted_exactly() -> None:
    sara = people.customer()
    posts = key_posts(sara, same=True)
    people.half_logged_in(sara).post(f"{SECOND_FACTOR}?method=totp", {"code": posts[0][2]["totp_code"]})
    wrong = [
        (browser, path, {**codes, "totp_code": sara.wrong_totp(n)} if n % 2 else codes)
        for n, (browser, path, codes) in enumerate(posts)
    ]
    count_redirects(post_concurrently(wrong), "")
    assert not ApiKey.objects.exists()
    assert failure_counts(sara)[0] == compared(sara) == COMPARED_BEFORE_LOCK


def test_one_pair_of_codes_makes_no_key_in_sixty_other_logins() -> None:
    sara = people.customer()
    posts = key_posts(sara, same=False)
    assert len(sms_collector.messages) == 1, "the same request from another browser sends no second message"
    count_redirects(post_concurrently(posts), "")
    assert not ApiKey.objects.exists()
    assert count_events(KeyEvent.CREATED) == 0
    assert failure_counts(sara)[0] == compared(sara) == COMPARED_BEFORE_LOCK


@pytest.mark.parametrize("same", [False, True], ids=["sixty browsers", "one browser"])
def test_one_pair_of_codes_changes_a_key_once_in_the_login_that_asked(same: bool) -> None:
    sara = people.customer()
    key = people.key_of(sara)
    one = people.logged_in(sara)
    requested = one.post(f"/keys/{key.pk}/", {"permissions": ["read", "trade"], "ip_policy": "unrestricted"})
    assert requested.headers["Location"] == f"/keys/{key.pk}/verify/"
    codes = {"sms_code": sms_collector.newest("key.change").code, "totp_code": sara.totp()}
    browsers = [people.clone_browser(one, people.address(n)) for n in range(SIXTY)]
    if not same:
        browsers = [people.logged_in(sara, people.address(n)) for n in range(SIXTY)]
        for browser in browsers:
            people.set_session(browser, **{session_state.CHANGE: one.session[session_state.CHANGE]})
    answers = post_concurrently([(browser, f"/keys/{key.pk}/verify/", codes) for browser in browsers])
    count_redirects(answers, "")
    assert count_events(KeyEvent.CHANGED) == count_events(KeyEvent.APPROVED) == int(same)
    assert ("trade" in ApiKey.objects.get().permissions) == same
    assert failure_counts(sara)[0] == compared(sara) <= COMPARED_BEFORE_LOCK


def test_sixty_wrong_codes_at_once_are_counted_exactly_and_five_are_compared() -> None:
    sara = people.customer()
    posts = login_by("totp", sara, "")
    posts = [(b, path, {"code": sara.wrong_totp(n)}) for n, (b, path, _data) in enumerate(posts)]
    assert count_redirects(post_concurrently(posts), "/dashboard/") == 0
    assert failure_counts(sara) == (COMPARED_BEFORE_LOCK, COMPARED_BEFORE_LOCK)
    assert compared(sara) == COMPARED_BEFORE_LOCK


def test_wrong_codes_count_together_whatever_they_were_meant_for() -> None:
    sara = people.customer()
    people.live_sms_code(sara, approvals.LOGIN, "000000")
    wrong = {"sms_code": "111111", "totp_code": sara.wrong_totp()}
    keys = [(b, path, wrong) for b, path, _codes in key_posts(sara, same=False)[:20]]
    totp = [(b, path, {"code": sara.wrong_totp()}) for b, path, _code in login_by("totp", sara, "")[:20]]
    sms = [(b, path, {"code": "111111"}) for b, path, _code in login_by("sms", sara, "")[:20]]
    count_redirects(post_concurrently([*keys, *totp, *sms]), "")
    # Of the half-finished logins together five, and of the finished ones, which have a count of their own.
    guard = FactorGuard.objects.get(user=sara.user)
    assert (len(guard.failures), guard.in_a_row) == (COMPARED_BEFORE_LOCK, COMPARED_BEFORE_LOCK)
    assert (len(guard.known_failures or ()), guard.known_in_a_row) == (
        COMPARED_BEFORE_LOCK,
        COMPARED_BEFORE_LOCK,
    )
    assert compared(sara) == 2 * COMPARED_BEFORE_LOCK


def test_the_right_code_behind_twelve_wrong_ones_in_one_burst_is_never_accepted() -> None:
    sara = people.customer()
    posts = login_by("totp", sara, "")[:13]
    wrong = [(b, path, {"code": sara.wrong_totp(n)}) for n, (b, path, _data) in enumerate(posts[:12])]
    behind, path, _data = posts[12]

    def right() -> HttpResponse:
        # "Behind": it leaves as soon as the fifth wrong one is stored, while the others are still on their way.
        deadline = time.monotonic() + 20
        while failure_counts(sara)[0] < COMPARED_BEFORE_LOCK and time.monotonic() < deadline:
            time.sleep(0.001)
        return posting(behind, path, {"code": sara.totp()})()

    answers = run_concurrently([right, *(posting(*post) for post in wrong)])
    assert count_redirects(answers, "/dashboard/") == 0
    assert count_events(Event.LOGIN) == 0
    assert failure_counts(sara) == (COMPARED_BEFORE_LOCK, COMPARED_BEFORE_LOCK)


@pytest.mark.parametrize("what", ["login", "enrolment", "key"])
def test_sixty_requests_for_an_sms_send_one(what: str) -> None:
    if what == "enrolment":
        nima = people.newcomer()
        browsers = [people.half_logged_in(nima, people.address(n)) for n in range(SIXTY)]
        posts: list[Post] = [(browser, "/enrol/sms/", {"resend": "1"}) for browser in browsers]
    else:
        sara = people.customer()
        posts = [(b, SECOND_FACTOR, {"switch": "sms"}) for b, _p, _d in login_by("sms", sara, "")]
        if what == "key":
            posts = [(b, path, {"resend": "1"}) for b, path, _codes in key_posts(sara, same=False)]
            SmsCode.objects.all().delete()  # as if the minute before the first resend had passed
            sms_collector.reset()
    count_redirects(post_concurrently(posts), "")
    assert (
        len(sms_collector.messages)
        == SmsCode.objects.count()
        == count_events(Event.SMS_SENT) - (what == "key")
    )


def test_of_sixty_visits_one_shows_the_recovery_codes() -> None:
    sara = people.customer()
    browsers = [people.proved_in(sara, "sms", "totp", from_address=people.address(n)) for n in range(SIXTY)]

    answers = run_concurrently([visiting(browser, "/enrol/recovery-codes/") for browser in browsers])
    assert {answer.status_code for answer in answers} == {200}
    assert sum(b'id="codes"' in answer.content for answer in answers) == 1
    assert RecoveryCode.objects.count() == 10
    assert count_events(Event.RECOVERY_MADE) == 1
