"""Scheduled changes: the two-factor reset by operators, stopping it, and applying it exactly once."""

import io
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import RequestFactory
from django.utils import timezone

from accounts import audit
from accounts.actions import freeze, scheduled_changes
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import (
    DelayedChange,
    FactorGuard,
    Notice,
    RecoveryCode,
    SmsDevice,
    TotpDevice,
    User,
)
from accounts.notifications import links, texts
from apikeys.policy.events import KeyEvent
from tests.support import sms_collector
from tests.support.concurrency import count_events
from tests.support.people import (
    Person,
    browser,
    customer,
    half_logged_in,
    logged_in,
    next_phone,
    recovery_codes,
    with_password,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("reset_second_factor", *arguments, stdout=out)
    return out.getvalue()


def requested(person: Person, *more: str) -> DelayedChange:
    command(person.user.phone, "--reason", "came with a passport", "--yes", *more)
    return DelayedChange.objects.latest("pk")


def a_moment_ago() -> datetime:
    """Not now: SQLite's clock counts milliseconds, so that a change may be due in a part of one."""
    return timezone.now() - timedelta(seconds=1)


def make_due() -> None:
    DelayedChange.objects.update(due_at=a_moment_ago())


def test_command_makes_a_change_that_waits_a_day_and_tells_every_channel() -> None:
    person = customer()
    User.objects.filter(pk=person.user.pk).update(email="sara@example.com")
    change = requested(person)
    assert change.due_at - change.asked_at == timedelta(hours=24)
    notified = Notice.objects.filter(event__event=Event.FACTORS_RESET_ASKED.value)
    assert set(notified.values_list("to", flat=True)) == {person.user.phone, "sara@example.com"}
    assert scheduled_changes.apply_due() == 0
    assert person.reload().has_both_factors


def test_command_prints_the_due_time_and_json_for_scripts() -> None:
    person = customer()
    due = json.loads(command(person.user.phone, "--reason", "r", "--yes", "--json"))
    change = DelayedChange.objects.get()
    assert due == {
        "phone": person.user.phone,
        "state": "waiting",
        "due_at": change.due_at.isoformat(timespec="seconds"),
    }
    scheduled_changes.stop_all(person.user, None)
    text = command(person.user.phone, "--reason", "r", "--yes")
    assert DelayedChange.objects.latest("pk").due_at.isoformat(timespec="seconds") in text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["{phone}", "--yes"], 2),
        (["{phone}", "--yes", "--reason", "x" * 201], 2),
        (["{phone}", "--stop"], 1),
        (["nobody", "--yes", "--reason", "r"], 1),
        (["+989120000000", "--yes", "--reason", "r"], 1),
    ],
)
def test_command_refuses_with_its_exit_code(arguments: list[str], code: int) -> None:
    person = customer()
    with pytest.raises(CommandError) as refused:
        command(*[argument.format(phone=person.user.phone) for argument in arguments])
    assert refused.value.returncode == code
    assert not DelayedChange.objects.exists()


@pytest.mark.parametrize("response", ["", "no", "y"])
def test_command_asks_and_takes_only_yes(monkeypatch: pytest.MonkeyPatch, response: str) -> None:
    person = customer()
    monkeypatch.setattr("builtins.input", lambda prompt: response)
    with pytest.raises(CommandError):
        command(person.user.phone, "--reason", "r")
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    command(person.user.phone, "--reason", "r")
    assert DelayedChange.objects.count() == 1


def test_second_reset_is_refused_while_one_waits_and_the_first_can_be_stopped() -> None:
    person = customer()
    requested(person)
    with pytest.raises(CommandError):
        requested(person)
    assert json.loads(command(person.user.phone, "--stop", "--json"))["state"] == "stopped"
    make_due()
    assert scheduled_changes.apply_due() == 0
    assert count_events(Event.DELAYED_STOPPED) == 1
    requested(person)


def at_clock(monkeypatch: pytest.MonkeyPatch, off: timedelta) -> None:
    """This process's clock from now on; the database keeps its own."""
    now = timezone.now
    monkeypatch.setattr("django.utils.timezone.now", lambda: now() + off)


@pytest.mark.postgres
def test_a_clock_that_is_ahead_ends_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    person = customer()
    requested(person)
    at_clock(monkeypatch, timedelta(hours=25))
    assert scheduled_changes.apply_due() == 0
    assert person.reload().has_both_factors


@pytest.mark.postgres
@pytest.mark.parametrize("seconds", [61, -61])
def test_a_process_whose_clock_is_wrong_applies_nothing_that_is_due_and_says_so(
    seconds: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    person = customer()
    requested(person)
    make_due()
    with monkeypatch.context() as patched:
        at_clock(patched, timedelta(seconds=seconds))
        assert scheduled_changes.apply_due() == 0
    assert "1 scheduled changes are due and not applied: the clock of this machine differs" in caplog.text
    assert person.reload().has_both_factors
    assert scheduled_changes.apply_due() == 1


@pytest.mark.postgres
def test_a_change_that_is_scheduled_by_a_clock_that_is_behind_waits_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person = customer()
    with monkeypatch.context() as patched:
        at_clock(patched, timedelta(hours=-25))
        requested(person)
    assert scheduled_changes.apply_due() == 0
    assert person.reload().has_both_factors


@pytest.mark.postgres
def test_a_quarantine_that_a_clock_that_is_behind_starts_lasts_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    person = customer()
    with monkeypatch.context() as patched:
        at_clock(patched, timedelta(hours=-25))
        freeze.quarantine(person.user)
    until = person.reload().quarantined_until
    assert until is not None
    assert until > timezone.now() + timedelta(hours=23)


def test_reset_takes_the_factors_their_codes_and_counters_and_quarantines_the_keys() -> None:
    person = customer()
    recovery_codes(person)
    client = logged_in(person)
    FactorGuard.objects.filter(user=person.user).update(
        failures=[time.time()] * 5, in_a_row=100, outside_failures=[1.0], outside_in_a_row=7
    )
    requested(person)
    make_due()
    assert scheduled_changes.apply_due() == 1
    for rows in (TotpDevice, SmsDevice, RecoveryCode):
        assert not rows.objects.exists()
    guard = FactorGuard.objects.get(user=person.user)
    assert (guard.failures, guard.in_a_row, guard.outside_failures, guard.outside_in_a_row) == ([], 0, [], 0)
    assert person.reload().in_quarantine
    assert client.get("/dashboard/").status_code == 302
    assert Notice.objects.filter(event__event=Event.FACTORS_RESET.value, to=person.user.phone).count() == 1


def test_after_the_reset_a_password_alone_goes_no_further_than_an_sms_to_the_own_number() -> None:
    """SECURITY: a thief with the password also needs the phone, and cannot wait unnoticed."""
    person = customer()
    requested(person)
    make_due()
    scheduled_changes.apply_due()
    client = half_logged_in(Person(person.reload(), ""))
    assert client.get("/dashboard/")["Location"] == "/enrol/sms/"
    client.get("/enrol/sms/")
    assert sms_collector.newest().to == person.user.phone
    assert client.get("/enrol/totp/")["Location"] == "/enrol/sms/"


def test_half_finished_login_of_before_the_reset_is_over() -> None:
    person = customer()
    client = half_logged_in(person)
    requested(person)
    make_due()
    scheduled_changes.apply_due()
    assert client.get("/enrol/sms/")["Location"].startswith("/login/")


def test_due_changes_are_applied_by_the_settings_page() -> None:
    person = customer()
    client = logged_in(person)
    requested(person)
    make_due()
    assert client.get("/settings/")["Location"] == "/login/"
    assert not person.reload().has_authenticator


def test_due_changes_are_applied_by_a_login_with_the_new_number() -> None:
    person, new = with_password(customer()), next_phone()
    DelayedChange.objects.create(user=person.user, kind="phone", phone=new, due_at=a_moment_ago())
    response = browser().post("/login/", {"phone": new, "password": person.password})
    assert response["Location"] == "/login/second-factor/"
    assert person.reload().phone == new


def test_settings_show_the_reset_and_its_owner_stops_it() -> None:
    person = customer()
    change = requested(person)
    client = logged_in(person)
    assert f"/settings/stop/{change.pk}/" in client.get("/settings/").content.decode()
    client.post(f"/settings/stop/{change.pk}/")
    assert not scheduled_changes.waiting(person.user).exists()
    client.post(f"/settings/stop/{change.pk}/")
    assert count_events(Event.DELAYED_STOPPED) == 1


def test_reset_of_both_factors_stops_a_waiting_number() -> None:
    person = customer()
    due = timezone.now() + timedelta(hours=40)
    DelayedChange.objects.create(user=person.user, kind="phone", phone=next_phone(), due_at=due)
    requested(person)
    DelayedChange.objects.filter(kind="factors").update(due_at=a_moment_ago())
    assert scheduled_changes.apply_due() == 1
    assert not scheduled_changes.waiting(person.user).exists()


def test_changes_of_others_are_left_alone() -> None:
    person, other = customer(), customer()
    requested(person)
    make_due()
    assert scheduled_changes.apply_due(user=other.user) == 0
    assert scheduled_changes.apply_due(number=other.user.phone) == 0
    assert scheduled_changes.apply_due(user=person.user) == 1
    assert other.reload().has_both_factors


def lost_phone(person: Person) -> DelayedChange | None:
    """Schedule the change that the lost-phone page schedules after password, authenticator, recovery code and the new
    number's code.
    """
    with transaction.atomic():
        verification.lock(person.user)
        return scheduled_changes.schedule_phone_change(RequestFactory().get("/"), person.user, next_phone())


def by_passport(person: Person) -> DelayedChange | None:
    return requested(person)


def newest_link(person: Person) -> str:
    """Return the link in the newest notice to the number, which a thief may read."""
    notice = Notice.objects.filter(user=person.user, to=person.user.phone, link_used_at=None).latest("pk")
    return f"/n/{links.token_of(notice)}/"


ASKS = pytest.mark.parametrize("ask", [lost_phone, by_passport])
HOW = pytest.mark.parametrize("how", ["stop", "freeze"])


@HOW
@ASKS
def test_a_link_stops_changes_once_and_later_requests_continue(
    ask: Callable[[Person], DelayedChange | None], how: str
) -> None:
    """SECURITY: links are sent to the number that is to be replaced; a thief with the phone could stop the change
    forever.
    """
    person = customer()
    first = ask(person)
    assert first is not None
    assert browser().post(newest_link(person), {how: "1"}).status_code == 302
    first.refresh_from_db()
    assert (first.stopped_at is not None, first.stopped_by_link) == (True, True)
    second = ask(person)
    assert second is not None
    for act in ("stop", "freeze"):
        page = browser().get(newest_link(person)).content.decode()
        assert 'name="stop"' not in page
        browser().post(newest_link(person), {act: "1"})
        audit.record(Event.LOGIN_NEW_DEVICE, None, customer=person.user)  # another notice, another link
    assert scheduled_changes.waiting(person.user).get() == second
    assert person.reload().frozen_at is not None, "links freeze"
    make_due()
    assert scheduled_changes.apply_due() == 1


@ASKS
def test_a_login_and_staff_stop_changes_any_number_of_times(
    ask: Callable[[Person], DelayedChange | None],
) -> None:
    person = customer()
    for _n in range(2):
        ask(person)
        browser().post(newest_link(person), {"stop": "1"})
    [change] = scheduled_changes.waiting(person.user)
    logged_in(person).post(f"/settings/stop/{change.pk}/")
    assert not scheduled_changes.waiting(person.user).exists()
    assert ask(person) is not None
    assert scheduled_changes.stop_all(person.user, None) == 1
    assert scheduled_changes.waiting(person.user).count() == 0


def test_a_stop_by_the_owner_does_not_use_the_stop_of_the_link() -> None:
    person = customer()
    change = requested(person)
    scheduled_changes.stop(person.user, change.pk, None)
    requested(person)
    browser().post(newest_link(person), {"stop": "1"})
    assert not scheduled_changes.waiting(person.user).exists()


def test_after_a_change_took_force_links_stop_once_again() -> None:
    person = customer()
    requested(person)
    browser().post(newest_link(person), {"stop": "1"})
    lost_phone(person)
    make_due()
    assert scheduled_changes.apply_due() == 1
    moved = Person(person.reload(), "", person.seed)
    requested(moved)
    browser().post(newest_link(moved), {"stop": "1"})
    assert not scheduled_changes.waiting(moved.user).exists()


def test_links_of_other_accounts_do_not_use_the_stop() -> None:
    person, other = customer(), customer()
    for one in (other, person):
        requested(one)
        browser().post(newest_link(one), {"stop": "1"})
        assert not scheduled_changes.waiting(one.user).exists()


def test_the_owner_reads_that_a_link_stops_nothing_more() -> None:
    person = customer()
    User.objects.filter(pk=person.user.pk).update(language="en", email="sara@example.com")
    requested(person)
    link = newest_link(person)
    [notice] = Notice.objects.filter(channel="email")
    assert "It stops this change" in texts.mail(notice).text
    assert "Stop it" in texts.sms_text(notice)
    browser().post(link, {"stop": "1"})
    requested(person)
    notice = Notice.objects.filter(channel="email").latest("pk")
    assert "does not stop this change" in " ".join(texts.mail(notice).text.split())
    assert "Stop it" not in texts.sms_text(notice)
    reader = browser()
    reader.cookies[settings.LANGUAGE_COOKIE_NAME] = "en"
    page = reader.get(newest_link(person)).content.decode()
    assert "To stop it, log in" in page


def test_a_link_ends_no_session_of_an_account_that_is_frozen_already() -> None:
    """SECURITY: each login sends a notice with a link; a thief could otherwise end the login that replaces the
    number.
    """
    person = customer()
    audit.record(KeyEvent.CREATED, None, customer=person.user)
    before = logged_in(person)
    browser().post(newest_link(person), {"freeze": "1"})
    assert before.get("/dashboard/").status_code == 302
    again = logged_in(person)
    audit.record(Event.LOGIN_NEW_DEVICE, None, customer=person.user)
    browser().post(newest_link(person), {"freeze": "1"})
    assert again.get("/settings/phone/lost/").status_code == 200
