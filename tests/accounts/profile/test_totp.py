"""Replacing the authenticator: by both codes, or in the login after a recovery code; the old one works until then."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import Notice, TotpDevice, TrustedDevice
from hitobit_portal.security import crypto
from tests.support import sms_collector
from tests.support.concurrency import count_events
from tests.support.people import (
    Person,
    clone_browser,
    customer,
    half_enrolled,
    half_logged_in,
    logged_in,
    proved_in,
    recovery_codes,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
TOTP, NEW = "/settings/totp/", "/settings/totp/new/"
REPLACE, BY_RECOVERY = "/enrol/totp/replace/", "/login/second-factor/?method=recovery"


def approved(person: Person) -> Client:
    client = logged_in(person)
    client.post(TOTP, {"resend": "1"})
    codes = {"sms_code": sms_collector.newest("totp.change").code, "totp_code": person.fresh_totp()}
    assert client.post(TOTP, codes)["Location"] == NEW
    return client


def lost(person: Person) -> Client:
    client = half_logged_in(person)
    response = client.post(BY_RECOVERY, {"code": recovery_codes(person)[0], "lost": "1"})
    assert response["Location"] == REPLACE
    return client


def new_one(person: Person, client: Client, path: str = NEW) -> Person:
    """Return the user with the authenticator that the page shows."""
    return Person(person.user, person.password, client.get(path).context["secret"])


def back(person: Person) -> Client:
    """Return a new browser of the user after the right password, even if other sessions were ended."""
    return half_logged_in(Person(person.reload(), person.password, person.seed))


def test_code_of_the_new_authenticator_puts_it_in_the_place_of_the_old_one() -> None:
    person = customer()
    client = approved(person)
    new = new_one(person, client)
    code = new.totp()
    assert client.post(NEW, {"code": code})["Location"] == "/settings/"
    device = TotpDevice.objects.get(user=person.user)
    assert crypto.unseal(device.seed_sealed, verification.seal_owner(person.user)).decode() == new.seed
    assert device.next_seed_sealed == ""
    other = back(person)
    other.post("/login/second-factor/", {"code": code})
    assert other.get("/dashboard/").status_code == 302, "the code that turned it on is used"
    other.post("/login/second-factor/", {"code": new.fresh_totp()})
    assert other.get("/dashboard/").status_code == 200


def test_old_authenticator_works_until_then_and_no_longer() -> None:
    person = customer()
    client = approved(person)
    new = new_one(person, client)
    before = half_logged_in(person)
    before.post("/login/second-factor/", {"code": person.fresh_totp()})
    assert before.get("/dashboard/").status_code == 200
    client.post(NEW, {"code": new.totp()})
    after = back(person)
    after.post("/login/second-factor/", {"code": person.fresh_totp()})
    assert after.get("/dashboard/").status_code == 302


def test_code_of_the_old_authenticator_confirms_no_new_one() -> None:
    person = customer()
    client = approved(person)
    client.get(NEW)
    assert client.post(NEW, {"code": person.fresh_totp()}).status_code == 200
    assert count_events(Event.TOTP_CHANGED) == 0


def test_change_quarantines_the_keys_ends_other_sessions_and_every_trust() -> None:
    person = customer()
    other = logged_in(person)
    client = approved(person)
    TrustedDevice.objects.create(user=person.user, digest="x", expires_at="2100-01-01T00:00Z")
    client.post(NEW, {"code": new_one(person, client).totp()})
    assert person.reload().in_quarantine
    assert client.get("/settings/").status_code == 200
    assert other.get("/settings/").status_code == 302
    assert not TrustedDevice.objects.exists()
    assert Notice.objects.filter(event__event=Event.TOTP_CHANGED.value, to=person.user.phone).count() == 1


def test_new_seed_is_the_same_after_a_refresh_not_stored_and_another_one_after_new_codes() -> None:
    person = customer()
    client = approved(person)
    seed = new_one(person, client).seed
    assert new_one(person, client).seed == seed
    assert re.fullmatch("[A-Z2-7]{32}", seed)
    assert seed not in str(dict(client.session))
    assert TotpDevice.objects.get(user=person.user).next_seed_sealed == ""
    assert new_one(person, approved(person)).seed != seed


def test_new_seed_is_shown_after_the_codes_only_and_to_the_browser_that_gave_them() -> None:
    person = customer()
    client = approved(person)
    client.get(NEW)
    assert logged_in(person).get(NEW)["Location"] == TOTP
    assert logged_in(person).post(NEW, {"code": "123456"})["Location"] == TOTP


def test_proof_is_used_up_by_the_change() -> None:
    person = customer()
    client = approved(person)
    again = clone_browser(client)
    client.post(NEW, {"code": new_one(person, client).totp()})
    assert again.get(NEW).status_code == 302
    assert client.get(NEW)["Location"] == TOTP


def test_lost_authenticator_is_replaced_within_the_login_after_a_recovery_code() -> None:
    person = customer()
    trusted_elsewhere = logged_in(person)
    client = lost(person)
    assert client.get("/dashboard/")["Location"] == REPLACE
    new = new_one(person, client, REPLACE)
    assert client.post(REPLACE, {"code": new.totp()})["Location"] == "/dashboard/"
    assert client.get("/dashboard/").status_code == 200
    assert trusted_elsewhere.get("/dashboard/").status_code == 302
    assert person.reload().in_quarantine
    assert count_events(Event.TOTP_CHANGED) == count_events(Event.LOGIN) == 1


def test_second_factor_page_announces_the_next_step() -> None:
    person = customer()
    recovery_codes(person)
    text = half_logged_in(person).get(BY_RECOVERY).content.decode()
    assert 'name="lost"' in text
    assert 'id="lost-hint"' in text
    assert 'name="lost"' not in half_logged_in(person).get("/login/second-factor/").content.decode()


def test_wrong_recovery_code_replaces_nothing_and_is_not_shown_again() -> None:
    person = customer()
    recovery_codes(person)
    client = half_logged_in(person)
    response: Any = client.post(BY_RECOVERY, {"code": "aaaa-aaaa", "lost": "1"})
    assert "aaaa-aaaa" not in response.content.decode()
    assert client.get(REPLACE)["Location"] == "/login/second-factor/"
    assert TotpDevice.objects.get().seed_sealed == person.user.totp.seed_sealed


@pytest.mark.parametrize("method", ["totp", "sms"])
def test_lost_without_a_recovery_code_is_a_login_like_any_other(method: str) -> None:
    person = customer()
    client = half_logged_in(person)
    client.post("/login/second-factor/", {"switch": "sms"})
    code = person.totp() if method == "totp" else sms_collector.newest("login").code
    client.post(f"/login/second-factor/?method={method}", {"code": code, "lost": "1"})
    assert client.get(REPLACE)["Location"] == "/dashboard/"
    assert TotpDevice.objects.get().seed_sealed == person.user.totp.seed_sealed


def test_replacement_page_needs_a_recovery_login() -> None:
    assert logged_in(customer()).get(REPLACE)["Location"] == "/dashboard/"
    assert half_logged_in(customer()).get(REPLACE)["Location"] == "/login/second-factor/"
    assert proved_in(half_enrolled(), "sms").get(REPLACE)["Location"] == "/enrol/totp/"


def test_wrong_code_of_the_new_one_keeps_the_seed_and_changes_nothing() -> None:
    person = customer()
    client = lost(person)
    new = new_one(person, client, REPLACE)
    assert client.post(REPLACE, {"code": new.wrong_totp()}).context["secret"] == new.seed
    assert not person.reload().in_quarantine


def test_unconfirmed_seed_is_refused() -> None:
    person = customer()
    new = new_one(person, approved(person))
    client = half_logged_in(person)
    client.post("/login/second-factor/", {"code": new.fresh_totp()})
    assert client.get("/dashboard/").status_code == 302
