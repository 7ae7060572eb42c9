"""Changing the mobile number: at once by both codes, after a day without the old phone, without revealing accounts."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.actions import pending_accounts, scheduled_changes
from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.models import AuditEvent, DelayedChange, Notice, SmsCode, SmsDevice, User
from tests.support import sms_collector
from tests.support.concurrency import count_events
from tests.support.people import (
    Person,
    clone_browser,
    customer,
    live_sms_code,
    logged_in,
    next_phone,
    recovery_codes,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
PHONE, CODES, CONFIRM, LOST = (
    "/settings/phone/",
    "/settings/phone/codes/",
    "/settings/phone/confirm/",
    "/settings/phone/lost/",
)


def codes(person: Person) -> dict[str, str]:
    return {"sms_code": sms_collector.newest("phone.change").code, "totp_code": person.fresh_totp()}


def approved(person: Person, number: str) -> Client:
    """Return a browser before the last step: the code that was sent to the new number."""
    client = logged_in(person)
    assert client.post(PHONE, {"phone": number})["Location"] == CODES
    assert client.post(CODES, codes(person))["Location"] == CONFIRM
    return client


def lost(person: Person, number: str) -> Client:
    client = logged_in(person)
    fields = {"phone": number, "recovery_code": recovery_codes(person)[0], "totp_code": person.fresh_totp()}
    assert client.post(LOST, fields)["Location"] == CONFIRM
    return client


def confirm(client: Client, code: str = "") -> Any:
    return client.post(CONFIRM, {"code": code or sms_collector.newest("phone.confirm").code})


def make_due() -> None:
    DelayedChange.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def test_both_codes_of_now_and_a_code_to_the_new_number_change_the_number() -> None:
    person, new = customer(), next_phone()
    client = approved(person, new)
    assert [message.to for message in sms_collector.messages] == [person.user.phone, new]
    assert confirm(client)["Location"] == "/settings/"
    user = person.reload()
    assert (user.phone, user.has_phone, user.sms.number) == (new, True, new)
    assert client.get("/settings/").status_code == 200


def test_sms_to_the_old_number_names_the_new_one() -> None:
    person, new = customer(), next_phone()
    logged_in(person).post(PHONE, {"phone": new})
    assert new in sms_collector.newest("phone.change").text


def test_change_of_number_quarantines_the_keys_and_ends_the_other_sessions() -> None:
    person = customer()
    other = logged_in(person)
    confirm(approved(person, next_phone()))
    assert person.reload().in_quarantine
    assert other.get("/settings/").status_code == 302


def test_old_and_new_number_and_email_are_notified_and_the_trail_holds_masked_numbers() -> None:
    person, new = customer(), next_phone()
    User.objects.filter(pk=person.user.pk).update(email="sara@example.com")
    confirm(approved(person, new))
    notified = Notice.objects.filter(event__event=Event.PHONE_CHANGED.value)
    assert set(notified.values_list("to", flat=True)) == {person.user.phone, new, "sara@example.com"}
    detail = AuditEvent.objects.get(event=Event.PHONE_CHANGED.value).detail
    assert "•••" in detail["old"]
    assert new not in str(detail)


def test_page_says_beforehand_that_the_keys_will_only_read() -> None:
    for path in (PHONE, LOST):
        text = logged_in(customer()).get(path).content.decode()
        assert 'data-tone="warn"' in text


def test_codes_for_one_number_approve_no_other() -> None:
    person, new = customer(), next_phone()
    client = logged_in(person)
    client.post(PHONE, {"phone": new})
    right = codes(person)
    client.post(PHONE, {"phone": next_phone()})
    response: Any = client.post(CODES, right)
    assert response.status_code == 200
    assert client.get(CONFIRM)["Location"] == PHONE


def test_last_step_needs_the_codes_and_the_form_its_number() -> None:
    client = logged_in(customer())
    assert client.get(CONFIRM)["Location"] == PHONE
    assert client.post(CONFIRM, {"code": "123456"})["Location"] == PHONE
    assert client.get(CODES)["Location"] == PHONE


def test_code_of_the_old_number_confirms_no_new_one() -> None:
    person, new = customer(), next_phone()
    client = approved(person, new)
    assert confirm(client, live_sms_code(person, approvals.change_phone(new))).status_code == 200
    assert person.reload().phone == person.user.phone


def test_own_number_and_invalid_numbers_are_refused_at_the_field_and_kept() -> None:
    person = customer()
    for typed in (person.user.phone, "12", ""):
        response: Any = logged_in(person).post(PHONE, {"phone": typed})
        assert "phone" in response.context["form"].errors
        assert response.context["form"]["phone"].value() == typed
    assert not sms_collector.messages


def trace(number: str) -> tuple[list[object], list[str]]:
    """Return all that is visible to a user who tries to use ``number``: responses and their own events."""
    person = customer()
    client = approved(person, number)
    page: Any = client.get(CONFIRM)
    refused: Any = confirm(client, "000000")
    assert 50 <= page.context["resend_in"] <= 60  # a second may pass between two of them
    seen = [page.status_code, str(refused.context["form"].errors)]
    events = AuditEvent.objects.filter(customer=person.user).order_by("pk").values_list("event", flat=True)
    return [*seen, len(page.content) - len(number)], list(events)


def test_number_of_another_account_looks_like_any_other() -> None:
    free, taken = trace(next_phone()), trace(customer().user.phone)
    assert free == taken


def test_owner_of_the_number_gets_a_message_and_no_code() -> None:
    owner, person = customer(), customer()
    client = approved(person, owner.user.phone)
    message = sms_collector.newest("phone.confirm")
    assert (message.to, message.code) == (owner.user.phone, "")
    assert not any(confirm(client, code).status_code == 302 for code in ("000000", "123456"))
    assert owner.reload().phone == owner.user.phone


def test_number_that_got_an_account_meanwhile_is_refused_like_a_wrong_code() -> None:
    person, new = customer(), next_phone()
    client = approved(person, new)
    User.objects.create_user(new)
    response: Any = confirm(client)
    assert response.context["form"].errors["code"] == confirm(client, "000000").context["form"].errors["code"]
    assert person.reload().phone == person.user.phone
    assert not person.reload().in_quarantine


def test_pending_account_of_the_number_is_no_obstacle() -> None:
    person, new = customer(), next_phone()
    row = pending_accounts.get_or_create_row(new)
    live_sms_code(Person(row, ""), approvals.SIGN_UP)
    confirm(approved(person, new))
    assert person.reload().phone == new
    assert not User.objects.filter(pk=row.pk).exists()


def test_codes_that_were_under_way_to_the_old_number_are_void() -> None:
    person = customer()
    client = approved(person, next_phone())
    live_sms_code(person, approvals.LOGIN)
    confirm(client)
    assert not SmsCode.objects.filter(user=person.user).exists()


def test_resend_waits_a_minute_and_then_sends_another_code() -> None:
    person = customer()
    client = approved(person, next_phone())
    client.post(CONFIRM, {"resend": "1"})
    assert len(sms_collector.messages) == 2


def test_lost_phone_takes_recovery_code_and_authenticator_and_no_sms_to_the_old_number() -> None:
    person, new = customer(), next_phone()
    client = lost(person, new)
    assert [message.to for message in sms_collector.messages] == [new]
    assert confirm(client)["Location"] == "/settings/"
    change = DelayedChange.objects.get()
    assert change.due_at - change.asked_at == scheduled_changes.WAIT
    assert person.reload().phone == person.user.phone
    notified = Notice.objects.filter(event__event=Event.PHONE_CHANGE_ASKED.value)
    assert list(notified.values_list("to", flat=True)) == [person.user.phone]
    assert count_events(Event.RECOVERY_USED) == 1


def test_lost_phone_is_refused_when_either_code_is_wrong_and_uses_neither_up() -> None:
    person, new = customer(), next_phone()
    recovery = recovery_codes(person)[0]
    client = logged_in(person)
    for fields in (
        {"recovery_code": recovery, "totp_code": person.wrong_totp()},
        {"recovery_code": "aaaa-aaaa", "totp_code": person.fresh_totp()},
    ):
        response: Any = client.post(LOST, {"phone": new, **fields})
        assert response.context["form"].non_field_errors()
        assert recovery not in response.content.decode()
    fields = {"recovery_code": recovery, "totp_code": person.fresh_totp()}
    assert client.post(LOST, {"phone": new, **fields})["Location"] == CONFIRM


def test_lost_phone_change_is_applied_after_a_day_and_ends_every_session() -> None:
    person, new = customer(), next_phone()
    client = lost(person, new)
    confirm(client)
    assert scheduled_changes.apply_due() == 0
    make_due()
    assert scheduled_changes.apply_due() == 1
    user = person.reload()
    assert (user.phone, user.has_phone, user.in_quarantine) == (new, True, True)
    assert client.get("/settings/").status_code == 302
    assert scheduled_changes.apply_due() == 0


def test_settings_show_the_waiting_number_and_stop_it_without_codes() -> None:
    person = customer()
    client = lost(person, next_phone())
    confirm(client)
    change = client.get("/settings/").context["waiting"].get()
    assert client.get(LOST)["Location"] == "/settings/"
    client.post(f"/settings/stop/{change.pk}/")
    assert not client.get("/settings/").context["waiting"]
    assert count_events(Event.DELAYED_STOPPED) == 1
    make_due()
    assert scheduled_changes.apply_due() == 0
    assert person.reload().phone == person.user.phone


def test_changes_of_other_accounts_cannot_be_stopped() -> None:
    person = customer()
    confirm(lost(person, next_phone()))
    change = DelayedChange.objects.get()
    logged_in(customer()).post(f"/settings/stop/{change.pk}/")
    assert scheduled_changes.waiting(person.user).exists()


def test_one_proof_asks_for_one_change_even_after_it_was_stopped() -> None:
    person = customer()
    client = lost(person, next_phone())
    again = clone_browser(client)
    confirm(client)
    client.post(f"/settings/stop/{DelayedChange.objects.get().pk}/")
    assert again.get(CONFIRM)["Location"] == PHONE


def test_number_with_an_account_by_then_stops_the_waiting_change() -> None:
    person, new = customer(), next_phone()
    confirm(lost(person, new))
    User.objects.create_user(new)
    make_due()
    assert scheduled_changes.apply_due() == 0
    assert not scheduled_changes.waiting(person.user).exists()
    assert person.reload().phone == person.user.phone
    assert SmsDevice.objects.get(user=person.user).number == person.user.phone


def test_change_by_both_codes_takes_the_place_of_a_waiting_one() -> None:
    person = customer()
    confirm(lost(person, next_phone()))
    confirm(approved(person, next_phone()))
    assert not scheduled_changes.waiting(person.user).exists()
