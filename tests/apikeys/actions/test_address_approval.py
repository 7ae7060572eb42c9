"""Approval of new addresses: which requests open one and how often, that both codes add an address, and the switch."""

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.test import RequestFactory
from django.utils import timezone

from accounts.actions import freeze
from accounts.models import AuditEvent, Notice, User
from accounts.notifications import policy, texts
from apikeys.actions import address_approval, consent
from apikeys.models import ApiKey, RescueRequest
from apikeys.policy.account_freeze import AccountFrozen
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.verification.outcomes import Outcome
from tests.support import people, sms_collector
from tests.support.people import ADDRESS, Person, both_codes, customer, key_of, logged_in
from tests.support.signed_requests import WRONG, decided, send

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
NEW, OTHER = "198.51.100.77", "198.51.100.78"
HOUR = timedelta(hours=1)


@pytest.fixture
def key(sara: Person) -> ApiKey:
    key = key_of(sara, "bot")
    key.apply(["read", "trade"], "trusted", [ADDRESS])
    return key


def addresses(key: ApiKey) -> list[str]:
    return list(key.networks.values_list("value", flat=True))


def open_request(key: ApiKey, address: str = NEW) -> RescueRequest:
    """Open and return a request for ``address``."""
    assert send(key, address) is Outcome.ADDRESS_REFUSED
    return RescueRequest.objects.get(key=key, address=address)


def later(hours: float) -> None:
    """Move all requests ``hours`` into the past."""
    for row in RescueRequest.objects.all():
        RescueRequest.objects.filter(pk=row.pk).update(asked_at=row.asked_at - hours * HOUR)


def path(row: RescueRequest, rest: str = "") -> str:
    return f"/keys/{row.key_id}/rescue/{row.pk}/{rest}"


def notified() -> int:
    return Notice.objects.filter(event__event=KeyEvent.ADDRESS_REQUESTED.value).count()


def changes() -> list[tuple[str, list[str]]]:
    events = AuditEvent.objects.filter(event__startswith="key.").order_by("pk")
    return [(event.event, event.detail.get("changes", [])) for event in events]


# --- asking ---------------------------------------------------------------------------------------------------------


def test_a_signed_request_from_a_new_address_asks_and_tells_the_owner(key: ApiKey) -> None:
    row = open_request(key)
    assert (row.address, row.closed_at) == (NEW, None)
    assert notified() == 1
    assert addresses(key) == [ADDRESS]


def test_an_unsigned_or_stale_request_never_asks(key: ApiKey) -> None:
    send(key, NEW, secret=WRONG)
    send(key, NEW, skew_ms=-61_000)
    send(key, NEW, skew_ms=61_000)
    send(key, ADDRESS, "withdraw")
    assert not RescueRequest.objects.exists()


def test_asking_looks_at_the_signature_itself(key: ApiKey) -> None:
    for decision in (decided(key, NEW, secret=WRONG), decided(key, NEW, skew_ms=-61_000), decided(key)):
        assert address_approval.request_approval(key, decision, NEW) is None
    assert address_approval.request_approval(key, decided(key, NEW), NEW) is not None


def test_one_an_hour_whatever_the_address(key: ApiKey) -> None:
    open_request(key)
    for address in (NEW, OTHER):
        send(key, address)
    assert notified() == 1
    later(1.01)
    send(key, OTHER)
    assert notified() == RescueRequest.objects.count() == 2


def test_the_same_address_asks_once_a_day_answered_or_not(sara: Person, key: ApiKey) -> None:
    logged_in(sara).post(path(open_request(key), "dismiss/"))
    later(23)
    send(key, NEW)
    assert RescueRequest.objects.count() == 1
    later(1.01)
    send(key, NEW)
    assert RescueRequest.objects.count() == 2


@pytest.mark.parametrize("case", ["withdraws", "unrestricted", "turned off", "paused", "listed meanwhile"])
def test_keys_that_never_ask(case: str, key: ApiKey) -> None:
    decision = decided(key, NEW)
    if case == "withdraws":
        key.apply(["read", "withdraw"], "trusted", [ADDRESS])
    elif case == "unrestricted":
        key.apply(["read"], "unrestricted", [])
    elif case == "turned off":
        ApiKey.objects.update(allows_rescue=False)
    elif case == "paused":
        key.set_state(KeyState.FROZEN)
    else:
        key.apply(["read"], "trusted", [ADDRESS, "198.51.100.0/24"])
    assert address_approval.request_approval(key, decision, NEW) is None
    assert notified() == 0


# --- answering ------------------------------------------------------------------------------------------------------


def test_both_codes_let_the_address_in(sara: Person, key: ApiKey) -> None:
    row, client = open_request(key), logged_in(sara)
    assert client.post(path(row), {"resend": "1"})["Location"] == path(row)
    assert NEW in sms_collector.newest("key.rescue").text
    shown = client.get(path(row)).content.decode()
    assert NEW in shown
    answer = client.post(path(row), both_codes(sara, "key.rescue"))
    assert answer["Location"] == f"/keys/{key.pk}/"
    assert addresses(key) == [ADDRESS, NEW]
    assert send(key, NEW) is Outcome.ALLOWED
    assert changes()[-3:] == [
        ("key.approved", []),
        ("key.changed", [f"+{NEW}"]),
        ("key.rescue_closed", [f"+{NEW}"]),
    ]


@pytest.mark.parametrize("wrong", ["sms_code", "totp_code"])
def test_one_wrong_code_lets_nothing_in(wrong: str, sara: Person, key: ApiKey) -> None:
    row, client = open_request(key), logged_in(sara)
    client.post(path(row), {"resend": "1"})
    codes = {**both_codes(sara, "key.rescue"), wrong: sara.wrong_totp()}
    assert client.post(path(row), codes).status_code == 200
    assert addresses(key) == [ADDRESS]
    row.refresh_from_db()
    assert row.closed_at is None


def test_a_code_for_one_address_lets_no_other_in_nor_into_another_key(sara: Person, key: ApiKey) -> None:
    first = open_request(key)
    later(1.01)
    second = open_request(key, OTHER)
    other_key = key_of(sara, "second bot")
    other_key.apply(["read"], "trusted", [ADDRESS])
    third = open_request(other_key)
    client = logged_in(sara)
    code = people.live_sms_code(sara, address_approval.approval(first))
    for row in (second, third):
        codes = {"sms_code": code, "totp_code": sara.fresh_totp()}
        assert client.post(path(row), codes).status_code == 200
    assert addresses(key) == addresses(other_key) == [ADDRESS]


def test_a_second_click_after_the_approval_says_that_it_is_done(sara: Person, key: ApiKey) -> None:
    row, client = open_request(key), logged_in(sara)
    client.post(path(row), {"resend": "1"})
    codes = both_codes(sara, "key.rescue")
    for _n in range(2):
        assert client.post(path(row), codes)["Location"] == f"/keys/{key.pk}/"
    assert addresses(key) == [ADDRESS, NEW]
    assert changes().count(("key.changed", [f"+{NEW}"])) == 1


@pytest.mark.parametrize(
    "case", ["withdraws", "unrestricted", "paused", "deleted", "frozen", "dismissed", "old"]
)
def test_what_changed_meanwhile_is_not_let_in(case: str, sara: Person, key: ApiKey) -> None:
    row, client = open_request(key), logged_in(sara)
    if case == "frozen":
        freeze.freeze(None, sara.user)
        client = logged_in(sara)
    code = people.live_sms_code(sara, address_approval.approval(row))
    if case == "withdraws":
        key.apply(["read", "withdraw"], "trusted", [ADDRESS])
    elif case == "unrestricted":
        key.apply(["read"], "unrestricted", [])
    elif case == "paused":
        key.set_state(KeyState.FROZEN)
    elif case == "deleted":
        key.set_state(KeyState.REVOKED)
    elif case == "dismissed":
        client.post(path(row, "dismiss/"))
    elif case == "old":
        later(24.01)
    before = addresses(key)
    client.post(path(row), {"sms_code": code, "totp_code": sara.fresh_totp()})
    assert addresses(key) == before
    assert not RescueRequest.objects.filter(approved=True).exists()


@pytest.mark.parametrize(
    "case", ["withdraws", "unrestricted", "paused", "deleted", "frozen", "dismissed", "old", "approved"]
)
def test_the_approval_itself_looks_again(case: str, sara: Person, key: ApiKey) -> None:
    row = open_request(key)
    if case == "withdraws":
        key.apply(["read", "withdraw"], "trusted", [ADDRESS])
    elif case == "unrestricted":
        key.apply(["read"], "unrestricted", [])
    elif case in ("paused", "deleted"):
        key.set_state(KeyState.FROZEN if case == "paused" else KeyState.REVOKED)
    elif case == "frozen":
        # Set the column only: freezing also ends sessions and codes.
        type(sara.user).objects.filter(pk=sara.user.pk).update(frozen_at=timezone.now())
    elif case == "old":
        later(24.01)
    else:
        address_approval.close(row, approved=case == "approved")
    assert not address_approval.open_requests(sara.user).exists()
    with pytest.raises(ValidationError):
        address_approval.approve(RequestFactory().post("/"), row)
    assert addresses(key) == ([] if case == "unrestricted" else [ADDRESS])


def test_approval_looks_under_the_lock_whether_the_account_was_frozen(sara: Person, key: ApiKey) -> None:
    row = open_request(key)
    freeze.freeze(None, sara.user)
    with pytest.raises(AccountFrozen):
        address_approval.approve(RequestFactory().post("/"), row)
    assert addresses(key) == [ADDRESS]
    row.refresh_from_db()
    assert row.closed_at is None


def test_nothing_waits_while_the_account_is_frozen_and_its_page_says_why(sara: Person, key: ApiKey) -> None:
    row = open_request(key)
    freeze.freeze(None, sara.user)
    assert not address_approval.open_requests(sara.user).exists()
    client = logged_in(sara)
    client.cookies["language"] = "en"
    client.post(path(row), {"resend": "1"})
    assert not sms_collector.messages
    assert "Your account is frozen" in client.get(f"/keys/{key.pk}/").content.decode()
    freeze.thaw(None, sara.user)
    assert address_approval.open_requests(sara.user).get() == row


def test_code_for_an_address_is_void_once_the_key_can_do_more(sara: Person, key: ApiKey) -> None:
    """SECURITY: the SMS was about another state of the key; with the new address it would trade from two."""
    row, client = open_request(key), logged_in(sara)
    client.post(path(row), {"resend": "1"})
    codes = both_codes(sara, "key.rescue")
    key.apply(["read", "trade"], "trusted", [ADDRESS, OTHER])
    assert client.post(path(row), codes).status_code == 200
    assert addresses(key) == [ADDRESS, OTHER]
    assert client.post(path(row), {"resend": "1"})["Location"] == path(row)
    client.post(path(row), both_codes(sara, "key.rescue"))
    assert addresses(key) == [ADDRESS, OTHER, NEW]


def test_approval_is_given_for_the_key_as_it_was_shown(key: ApiKey) -> None:
    row = open_request(key)
    state = consent.state_of(key)
    key.apply(["read"], "trusted", [ADDRESS])
    with pytest.raises(consent.ChangedMeanwhile):
        address_approval.approve(RequestFactory().post("/"), row, state)
    assert addresses(key) == [ADDRESS]


def test_a_full_list_takes_no_more_and_the_codes_are_not_used_up(sara: Person, key: ApiKey) -> None:
    row, client = open_request(key), logged_in(sara)
    key.apply(["read"], "trusted", [people.address(n) for n in range(30)])
    code = people.live_sms_code(sara, address_approval.approval(row))
    client.post(path(row), {"sms_code": code, "totp_code": sara.fresh_totp()})
    assert len(addresses(key)) == 30
    row.refresh_from_db()
    assert row.closed_at is None
    assert sara.user.sms_codes.filter(purpose="key.rescue").exists()


def test_no_needs_no_code_and_is_said_once(sara: Person, key: ApiKey) -> None:
    row, client = open_request(key), logged_in(sara)
    for _n in range(2):
        assert client.post(path(row, "dismiss/"))["Location"] == f"/keys/{key.pk}/"
    assert addresses(key) == [ADDRESS]
    assert changes().count(("key.rescue_closed", [f"-{NEW}"])) == 1
    assert not sms_collector.messages


def test_visits_answer_nothing(sara: Person, key: ApiKey) -> None:
    row, client = open_request(key), logged_in(sara)
    client.get(path(row))
    assert client.get(path(row, "dismiss/")).status_code == 302
    assert client.get(f"/keys/{key.pk}/rescue/").status_code == 302
    row.refresh_from_db()
    key.refresh_from_db()
    assert row.closed_at is None
    assert key.allows_rescue
    assert not sms_collector.messages


def test_requests_of_others_do_not_exist(sara: Person, key: ApiKey) -> None:
    row = open_request(key)
    other_customer = customer()
    others_key = key_of(other_customer, "bot")
    client = logged_in(other_customer)
    for wrong in (path(row), path(row, "dismiss/"), f"/keys/{others_key.pk}/rescue/{row.pk}/"):
        assert client.get(wrong).status_code == client.post(wrong).status_code == 404
    assert client.post(f"/keys/{key.pk}/rescue/", {"asks": "off"}).status_code == 404


# --- where it is shown ----------------------------------------------------------------------------------------------


def test_every_waiting_address_is_shown_on_dashboard_and_key_page_until_answered(
    sara: Person, key: ApiKey
) -> None:
    open_request(key)
    later(1.01)
    second = open_request(key, OTHER)
    client = logged_in(sara)
    for page in ("/dashboard/", f"/keys/{key.pk}/"):
        shown = client.get(page).content.decode()
        assert path(second) in shown
        assert len(re.findall(r'action="/keys/[^"]*/rescue/\d+/"', shown)) == 2
    client.post(path(second, "dismiss/"))
    later(24)
    assert "/rescue/" not in client.get("/dashboard/").content.decode()


def test_a_waiting_address_is_shown_on_no_other_keys_page(sara: Person, key: ApiKey) -> None:
    row = open_request(key)
    other = key_of(sara, "second bot")
    assert path(row) not in logged_in(sara).get(f"/keys/{other.pk}/").content.decode()
    assert path(row) not in logged_in(customer()).get("/dashboard/").content.decode()


def test_asking_is_turned_off_and_on_with_an_event_each(sara: Person, key: ApiKey) -> None:
    client = logged_in(sara)
    for wanted in ("off", "off", "sideways", "on"):
        answer = client.post(f"/keys/{key.pk}/rescue/", {"asks": wanted})
        assert answer["Location"] == f"/keys/{key.pk}/settings/"
        key.refresh_from_db()
        assert key.allows_rescue == (wanted == "on")
        if wanted == "off":
            send(key, NEW)
    assert changes() == [("key.changed", ["rescue:off"]), ("key.changed", ["rescue:on"])]
    assert not RescueRequest.objects.exists()
    open_request(key)


def test_the_switch_counts_as_no_added_power(sara: Person, key: ApiKey) -> None:
    ApiKey.objects.update(allows_rescue=False)
    logged_in(sara).post(f"/keys/{key.pk}/rescue/", {"asks": "on"})
    # Otherwise anybody with a session could send the owner notices beyond the limit.
    assert policy.may_wait(AuditEvent.objects.get(event="key.changed"))


def test_the_switch_is_words_in_the_activities(sara: Person, key: ApiKey) -> None:
    client = logged_in(sara)
    client.cookies["language"] = "en"
    client.post(f"/keys/{key.pk}/rescue/", {"asks": "off"})
    assert "Stop asking about new IPs" in client.get("/activity/").content.decode()


def test_old_requests_do_not_wait(sara: Person, key: ApiKey) -> None:
    open_request(key)
    assert address_approval.open_requests(sara.user).count() == 1
    RescueRequest.objects.update(asked_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert address_approval.open_requests(sara.user).count() == 0


# --- the link in the notice -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["fa", "en"])
def test_sms_says_how_to_approve_and_links_to_the_page_that_takes_both_codes(
    key: ApiKey, sara: Person, language: str
) -> None:
    User.objects.filter(pk=sara.user.pk).update(language=language)
    ApiKey.objects.filter(pk=key.pk).update(label="trading bot of a name that is long")
    row = open_request(key, "2001:db8:1234:5678:9abc:def0:1234:5678")
    notice = Notice.objects.get(event__event=KeyEvent.ADDRESS_REQUESTED.value, channel="sms")
    text = texts.sms_text(notice)
    assert len(text.encode("utf-16-le")) // 2 <= texts.LONGEST_SMS
    link = f"{settings.BASE_URL}/keys/rescue/{row.pk}/"
    assert text.count(link) == 1
    client = logged_in(sara)
    assert client.get(f"/keys/rescue/{row.pk}/")["Location"] == path(row)
    page = client.get(path(row)).content.decode()
    assert 'name="resend"' in page
    assert 'name="sms_code"' not in page  # no code was sent yet
    assert sms_collector.messages == []
    assert client.post(path(row), {"resend": "1"})["Location"] == path(row)
    assert 'name="sms_code"' in client.get(path(row)).content.decode()


def test_link_of_another_customer_leads_nowhere(key: ApiKey) -> None:
    row = open_request(key)
    assert logged_in(customer()).get(f"/keys/rescue/{row.pk}/").status_code == 404


@pytest.mark.parametrize("language", ["fa", "en"])
def test_the_sms_names_the_address_and_the_key_with_the_longest_names(
    sara: Person, key: ApiKey, language: str
) -> None:
    """Without the address nobody could decide, however long the rest is."""
    User.objects.filter(pk=sara.user.pk).update(language=language)
    address = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:fff0"
    ApiKey.objects.update(label="W" * 50)
    key.refresh_from_db()
    open_request(key, address)
    notice = Notice.objects.get(event__event=KeyEvent.ADDRESS_REQUESTED.value, channel="sms")
    text = texts.sms_text(notice)
    assert len(text) <= texts.LONGEST_SMS
    assert address in text
    assert f"{settings.BASE_URL}/keys/rescue/" in text
    assert text.splitlines()[-1].startswith(f"{settings.BASE_URL}/n/")


def test_the_sms_in_persian_has_the_name_of_a_key_of_usual_length_too(sara: Person, key: ApiKey) -> None:
    User.objects.filter(pk=sara.user.pk).update(language="fa")
    ApiKey.objects.update(label="DCA phone")
    key.refresh_from_db()
    open_request(key)
    notice = Notice.objects.get(event__event=KeyEvent.ADDRESS_REQUESTED.value, channel="sms")
    text = texts.sms_text(notice)
    assert NEW in text
    assert "«\u2068DCA phone\u2069»" in text
