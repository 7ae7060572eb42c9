"""The settings page, and the changes of password and recovery codes."""

from typing import Any

import pytest
from django.test import Client

from accounts.choices.events import Event
from accounts.factors import step_up
from accounts.models import LoginSession, Notice, RecoveryCode
from tests.support import sms_collector
from tests.support.concurrency import count_events
from tests.support.people import (
    Person,
    clone_browser,
    customer,
    half_logged_in,
    logged_in,
    recovery_codes,
    set_session,
    with_password,
)

pytestmark = pytest.mark.django_db
PASSWORD, NEW = "/settings/password/", "/settings/password/new/"
RECOVERY, SHOWN = "/settings/recovery-codes/", "/settings/recovery-codes/new/"
EMAIL = "/settings/email/"
GOOD = "forty purple kettles hum"


@pytest.fixture(autouse=True)
def _collected_sms(settings: Any) -> None:
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    settings.EMAIL = True
    sms_collector.reset()


def codes(person: Person) -> dict[str, str]:
    return {"sms_code": sms_collector.newest().code, "totp_code": person.fresh_totp()}


def approve(person: Person, client: Client, path: str) -> Any:
    """Enter both codes on the page at ``path``, starting as the button of the settings does."""
    assert client.post(path, {"resend": "1"})["Location"] == path
    return client.post(path, codes(person))


def sara_with_password() -> Person:
    return with_password(customer(name="Sara"))


def change_password(client: Client, current: str, new: str = GOOD) -> Any:
    return client.post(NEW, {"current_password": current, "password": new})


def test_settings_lead_to_every_change() -> None:
    person = sara_with_password()
    recovery_codes(person)
    text = logged_in(person).get("/settings/").content.decode()
    for path in (PASSWORD, "/settings/phone/", "/settings/totp/", RECOVERY, EMAIL, "/sessions/", "/freeze/"):
        assert f'"{path}"' in text
    without_password = logged_in(customer()).get("/settings/").content.decode()
    assert f'"{PASSWORD}"' not in without_password, "an account that the exchange opened has none to change"
    assert "/settings/phone/lost/" in logged_in(person).get("/settings/phone/").content.decode()


def test_settings_say_how_many_recovery_codes_are_left() -> None:
    person = customer()
    recovery_codes(person)
    RecoveryCode.objects.filter(pk__in=RecoveryCode.objects.values_list("pk")[:8]).update(
        used_at="2026-01-01T00Z"
    )
    client = logged_in(person)
    client.cookies["language"] = "en"
    assert "<bdi>2</bdi> of <bdi>10</bdi> left" in client.get("/settings/").content.decode()


def test_both_codes_and_the_current_password_change_the_password() -> None:
    person = sara_with_password()
    client = logged_in(person)
    assert approve(person, client, PASSWORD)["Location"] == NEW
    assert change_password(client, person.password)["Location"] == "/settings/"
    assert person.reload().check_password(GOOD)
    assert count_events(Event.PASSWORD_CHANGED) == 1
    assert Notice.objects.filter(event__event="password.changed", to=person.user.phone).count() == 1


def test_change_of_password_ends_the_other_sessions_and_not_its_own() -> None:
    person = sara_with_password()
    client, other = logged_in(person), logged_in(person)
    waiting = half_logged_in(person)
    approve(person, client, PASSWORD)
    change_password(client, person.password)
    assert client.get("/settings/").status_code == 200
    assert other.get("/settings/").status_code == 302
    assert waiting.get("/login/second-factor/")["Location"].startswith("/login/?")
    assert LoginSession.objects.filter(user=person.user).count() == 1


def test_change_of_password_leaves_the_keys_at_work() -> None:
    person = sara_with_password()
    client = logged_in(person)
    approve(person, client, PASSWORD)
    change_password(client, person.password)
    assert not person.reload().in_quarantine


def test_password_page_needs_the_codes_first() -> None:
    person = sara_with_password()
    client = logged_in(person)
    assert client.get(NEW)["Location"] == PASSWORD
    assert change_password(client, person.password)["Location"] == PASSWORD
    assert person.reload().check_password(person.password)


def test_one_proof_changes_the_password_once() -> None:
    person = sara_with_password()
    client = logged_in(person)
    approve(person, client, PASSWORD)
    change_password(client, person.password)
    assert change_password(client, GOOD, "another long word entirely")["Location"] == PASSWORD
    assert person.reload().check_password(GOOD)


def test_proof_is_over_after_ten_minutes() -> None:
    person = sara_with_password()
    client = logged_in(person)
    approve(person, client, PASSWORD)
    set_session(client, **{step_up.SESSION_KEY: {**client.session[step_up.SESSION_KEY], "until": 0}})
    assert change_password(client, person.password)["Location"] == PASSWORD


@pytest.mark.parametrize("path", [RECOVERY, "/settings/totp/"])
def test_proof_for_one_thing_is_none_for_another(path: str) -> None:
    person = sara_with_password()
    client = logged_in(person)
    approve(person, client, path)
    assert change_password(client, person.password)["Location"] == PASSWORD
    assert person.reload().check_password(person.password)


def test_proof_of_one_browser_is_none_in_another() -> None:
    person = sara_with_password()
    client, other = logged_in(person), logged_in(person)
    approve(person, client, PASSWORD)
    assert change_password(other, person.password)["Location"] == PASSWORD


def test_wrong_current_password_changes_nothing_and_is_reported_at_its_field() -> None:
    person = sara_with_password()
    client = logged_in(person)
    approve(person, client, PASSWORD)
    response: Any = change_password(client, "not it")
    assert list(response.context["form"].errors) == ["current_password"]
    assert GOOD not in response.content.decode()
    assert change_password(client, person.password)["Location"] == "/settings/"


def test_guessing_of_the_current_password_is_held_off_after_five() -> None:
    person = sara_with_password()
    client = logged_in(person)
    approve(person, client, PASSWORD)
    assert [change_password(client, "not it").status_code for _n in range(6)] == [200] * 5 + [429]
    assert change_password(client, person.password).status_code == 429
    assert person.reload().check_password(person.password)


def test_weak_and_same_passwords_are_refused_and_cost_no_try() -> None:
    person = sara_with_password()
    client = logged_in(person)
    approve(person, client, PASSWORD)
    for weak in ("12345678", person.password, "short", "password", "qwertyui", "hitobit-hitobit"):
        response: Any = change_password(client, person.password, weak)
        assert list(response.context["form"].errors) == ["password"]
    assert change_password(client, person.password)["Location"] == "/settings/"


def test_code_of_another_purpose_approves_no_change() -> None:
    person = sara_with_password()
    client = logged_in(person)
    client.post(RECOVERY, {"resend": "1"})
    client.post(PASSWORD, codes(person))
    assert client.get(NEW)["Location"] == PASSWORD


def test_new_recovery_codes_are_shown_once_a_proof_and_void_the_old_ones() -> None:
    person = customer()
    recovery_codes(person)
    client = logged_in(person)
    assert approve(person, client, RECOVERY)["Location"] == SHOWN
    client.head(SHOWN)
    old = set(RecoveryCode.objects.values_list("digest", flat=True))
    assert len(client.get(SHOWN).context["codes"]) == 10
    assert not old & set(RecoveryCode.objects.values_list("digest", flat=True))
    assert client.get(SHOWN).context["codes"] == []
    assert clone_browser(client).get(SHOWN).context["codes"] == []
    assert count_events(Event.RECOVERY_MADE) == count_events(Event.RECOVERY_RENEWED) == 1


def test_recovery_codes_are_not_shown_without_codes() -> None:
    person = customer()
    recovery_codes(person)
    assert logged_in(person).get(SHOWN).context["codes"] == []
