"""Rejections: the list on a key's page, its limits for unsigned requests, and the button that fixes each reason."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone, translation

from accounts.actions import freeze
from apikeys.actions import address_approval, key_loader
from apikeys.models import ApiKey, DailyUse, Refusal
from apikeys.policy.choices import KeyState
from apikeys.usage import queries, recorder, rejection_texts
from apikeys.usage.rejection_texts import Remedy
from apikeys.usage.request_line import RequestLine
from apikeys.verification import decision as verification_decision
from apikeys.verification import networks
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome
from tests.support import people, sms_collector
from tests.support.key_usage import OTHER, REFUSED, counted, page, rejection, text
from tests.support.people import ADDRESS, Person, both_codes, customer, key_of, logged_in
from tests.support.signed_requests import WRONG, decided, send

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]


# --- rejections -----------------------------------------------------------------------------------------------------


def test_a_flood_is_counted_whole_and_kept_in_part(key: ApiKey) -> None:
    decision = decided(key, secret=WRONG)
    for _n in range(60):
        recorder.record(key.key_id, decision, ADDRESS, "read")
    assert counted(key) == {"signature read": 60}
    assert Refusal.objects.count() == recorder.REJECTIONS_A_MINUTE


def test_unsigned_rejections_fill_the_list_but_do_not_replace_signed_ones(key: ApiKey) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    for _n in range(recorder.RESERVED_REJECTIONS):
        rejection(key, Outcome.PERMISSION, at=long_ago)
    decision = decided(key, secret=WRONG)
    for _n in range(60):
        recorder.record(key.key_id, decision, ADDRESS, "read")
        Refusal.objects.update(at=long_ago)
    kept = list(Refusal.objects.values_list("outcome", flat=True))
    assert len(kept) == recorder.KEPT_REJECTIONS
    assert kept.count("permission") == recorder.RESERVED_REJECTIONS


def test_signed_rejections_take_the_place_of_unsigned_ones(key: ApiKey) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    for _n in range(recorder.KEPT_REJECTIONS):
        rejection(key, Outcome.SIGNATURE, skew_ms=None, at=long_ago)
    newest = max(Refusal.objects.values_list("pk", flat=True))
    send(key, permission="trade")
    assert Refusal.objects.count() == recorder.KEPT_REJECTIONS
    assert Refusal.objects.first().outcome == "permission"  # type: ignore[union-attr]
    assert Refusal.objects.filter(pk=newest).exists()


@pytest.mark.parametrize("outcome", REFUSED, ids=lambda outcome: outcome.name)
def test_every_rejection_has_a_text_and_a_remedy_with_a_button(outcome: Outcome) -> None:
    words = rejection_texts.TEXTS[outcome]
    assert str(words.title)
    assert str(words.hint)
    assert words.remedy is Remedy.NONE or rejection_texts.LABELS[words.remedy]


def test_every_remedy_leads_somewhere(key: ApiKey) -> None:
    special = {*rejection_texts.POST_URLS, Remedy.RENEW, Remedy.NONE}
    assert special | set(rejection_texts.KEY_PAGES) | set(rejection_texts.PAGES) == set(Remedy)


def test_texts_of_rejections_stand_on_the_keys_page(sara: Person, key: ApiKey) -> None:
    for outcome in REFUSED:
        rejection(key, outcome)
    shown = text(page(sara, key))
    for outcome in REFUSED:
        with translation.override("en"):
            assert str(rejection_texts.TEXTS[outcome].title) in shown.replace("&#x27;", "'")
    assert OTHER in shown
    assert "Anyone who knows the API key can cause refusals without its secret" in shown


def test_an_outcome_that_is_no_more_is_still_shown(sara: Person, key: ApiKey) -> None:
    Refusal.objects.create(key=key, outcome="of_old", address=OTHER)
    assert "This reason is no longer known." in text(page(sara, key))


def test_an_address_is_offered_only_when_the_request_was_signed(key: ApiKey) -> None:
    send(key, OTHER)
    send(key, OTHER, secret=WRONG)
    unsigned, own = Refusal.objects.all()
    listed = networks.compile_networks([ADDRESS])
    button = rejection_texts.button(key, own, listed)
    assert button is not None
    assert button.posts
    other = rejection_texts.button(key, unsigned, listed)
    assert other is not None
    assert (other.url, other.posts) == (f"/keys/{key.pk}/settings/#ip", False)
    assert rejection_texts.text_of(unsigned) is rejection_texts.UNSIGNED_ADDRESS


@pytest.mark.parametrize(
    ("outcome", "leads_to"),
    [
        (Outcome.STALE, "usage/#clock"),
        (Outcome.AHEAD, "usage/#clock"),
        (Outcome.KEY_INACTIVE, None),
        (Outcome.TRADE_LAPSED, None),
        (Outcome.QUARANTINE, None),
        (Outcome.OWNER_FROZEN, None),
        (Outcome.KEY_DEGRADED, None),
        (Outcome.RATE_LIMITED, None),
        (Outcome.REPLAYED, None),
    ],
)
def test_a_button_leads_to_what_still_has_to_be_fixed(
    key: ApiKey, outcome: Outcome, leads_to: str | None
) -> None:
    button = rejection_texts.button(
        key, rejection(key, outcome, permission="trade"), networks.NetworkMatcher()
    )
    assert (button.url if button else None) == (leads_to and f"/keys/{key.pk}/{leads_to}")


def test_buttons_lead_to_what_stops_the_key_now(sara: Person, key: ApiKey) -> None:
    def url(outcome: Outcome) -> str:
        button = rejection_texts.button(
            ApiKey.objects.get(pk=key.pk), rejection(key, outcome), networks.compile_networks([ADDRESS])
        )
        assert button is not None
        return button.url

    now = timezone.now()
    ApiKey.objects.filter(pk=key.pk).update(expires_at=now - timedelta(days=1))
    assert url(Outcome.KEY_DEGRADED) == f"/keys/{key.pk}/settings/#expires"
    key.apply(["read", "trade"], "unrestricted", [])
    ApiKey.objects.filter(pk=key.pk).update(trade_until=now - timedelta(days=1), expires_at=None)
    assert url(Outcome.TRADE_LAPSED) == f"/keys/{key.pk}/renew/"
    freeze.quarantine(sara.user)
    assert url(Outcome.QUARANTINE) == "/quarantine/"
    freeze.freeze(None, sara.user)
    assert url(Outcome.OWNER_FROZEN) == "/freeze/"
    key.set_state(KeyState.FROZEN)
    assert url(Outcome.KEY_INACTIVE) == f"/keys/{key.pk}/#state"
    key.apply(["read"], "trusted", [ADDRESS])
    assert url(Outcome.ADDRESS_REFUSED) == f"/keys/{key.pk}/#state"


def test_rejections_are_counted_by_reason_and_day(sara: Person, key: ApiKey) -> None:
    today = recorder.today()
    for ago, outcome, count in ((0, "stale", 4), (6, "stale", 2), (0, "signature", 5), (7, "ahead", 9)):
        DailyUse.objects.create(
            key=key, day=today - timedelta(days=ago), outcome=outcome, permission="read", count=count
        )
    days, table = queries.week_of_rejections(key)
    assert days[0] == today
    assert table == {"stale": [4, 0, 0, 0, 0, 0, 2], "signature": [5, 0, 0, 0, 0, 0, 0]}
    assert "By reason and day, 7 days" in text(page(sara, key))


def test_the_last_ones_are_shown_at_once_and_older_ones_by_a_click(sara: Person, key: ApiKey) -> None:
    for _n in range(recorder.KEPT_REJECTIONS):
        rejection(key, Outcome.ADDRESS_REFUSED)
    html = page(sara, key)
    assert html.count("Add this IP</button>") == recorder.KEPT_REJECTIONS
    assert "47 older" in text(html)


def test_every_form_of_the_keys_page_holds_the_token_that_its_post_needs(sara: Person, key: ApiKey) -> None:
    for _n in range(10):
        rejection(key, Outcome.ADDRESS_REFUSED)
    forms = re.findall(r"<form.*?</form>", page(sara, key), re.DOTALL)
    assert len(forms) > 10
    assert [form for form in forms if "csrfmiddlewaretoken" not in form] == []


# --- what a rejection says of its request -----------------------------------------------------------------------------


def sent(key: ApiKey, query: str, line: RequestLine) -> Refusal:
    """A request with this query string, decided and recorded."""
    decision = verification_decision.decide(
        key_loader.load(key.key_id), api_key=key.key_id, query=query.encode(), body=b"", client_ip=ADDRESS,
        permission="read", now_ms=int(time.time() * 1000),
    )  # fmt: skip
    recorder.record(key.key_id, decision, ADDRESS, "read", line)
    row = Refusal.objects.first()
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("query", "outcome", "parameter"),
    [
        ("signature=5ecret", "parameter_missing", "timestamp"),
        ("timestamp=now", "parameter_missing", "timestamp"),
        ("timestamp=1700000000000", "parameter_missing", "signature"),
        ("timestamp=1700000000000&recvWindow=x&signature=5ecret", "parameter_missing", "recvWindow"),
        ("timestamp=1700000000000&symbol=A&signature=5ecret&symbol=B", "parameter_duplicate", "symbol"),
        ("timestamp=1700000000000&%73ide=A&signature=5ecret&side=B", "parameter_duplicate", "side"),
        ("timestamp=1700000000000&<5ecret>=1&<5ecret>=2&signature=5ecret", "parameter_duplicate", ""),
        ("timestamp=1700000000000&recvWindow=70000&signature=5ecret", "recv_window", "recvWindow"),
    ],
)
def test_the_parameter_that_is_missing_or_repeated_is_named_and_no_value_is_stored(
    sara: Person, key: ApiKey, query: str, outcome: str, parameter: str
) -> None:
    row = sent(key, query, RequestLine("POST", "/api/v3/order"))
    assert (row.outcome, row.parameter, row.method, row.path) == (
        outcome, parameter, "POST", "/api/v3/order",
    )  # fmt: skip
    stored = str([getattr(row, field.attname) for field in Refusal._meta.fields])
    assert "5ecret" not in stored
    assert "1700000000000" not in stored
    html = page(sara, key)
    assert "POST /api/v3/order" in html
    assert f'dir="ltr">{parameter}</bdi>' in html or not parameter


@pytest.mark.parametrize("secret", ["", WRONG])
def test_a_clock_that_is_off_is_told_with_its_error_whether_the_request_was_signed_or_not(
    sara: Person, key: ApiKey, secret: str
) -> None:
    assert send(key, secret=secret, skew_ms=-7400) is Outcome.STALE
    assert send(key, secret=secret, skew_ms=2600) is Outcome.AHEAD
    shown = text(page(sara, key))
    assert re.search(r"Its timestamp was 7\.[45] seconds behind our clock\.", shown)
    assert re.search(r"Its timestamp was 2\.[56] seconds ahead of our clock\.", shown)
    key.refresh_from_db()
    assert (key.skew_ms is None) == bool(secret), "the clock of the key is measured with its secret only"


def test_the_exact_time_is_shown(sara: Person, key: ApiKey) -> None:
    rejection(key, Outcome.SIGNATURE, at=datetime(2026, 11, 22, 10, 8, 51, tzinfo=UTC))
    assert "22 Nov 2026, 13:38:51" in text(page(sara, key))


def test_the_debugger_opens_with_the_key_and_what_is_known(sara: Person, key: ApiKey) -> None:
    row = rejection(key, Outcome.PERMISSION, method="DELETE", path="/api/v3/order", permission="trade")
    address = f"/debugger/?refusal={row.pk}"
    assert address in page(sara, key)
    html = logged_in(sara).get(address).content.decode()
    assert f"DELETE /api/v3/order?\nX-MBX-APIKEY: {key.key_id}" in html
    for selected in (f'value="{key.pk}" selected', 'value="trade" selected', f'value="{OTHER}"'):
        assert selected in html
    assert f'value="{round(row.at.timestamp() * 1000)}"' in html


def test_the_debugger_opens_nothing_of_the_rejections_of_others(sara: Person, key: ApiKey) -> None:
    row = rejection(key_of(customer()), Outcome.PERMISSION, method="DELETE", path="/api/v3/of-others")
    for number in (row.pk, 0, "x", "9" * 40, "١"):
        answer = logged_in(sara).get("/debugger/", {"refusal": number})
        assert answer.status_code == 200
        assert "of-others" not in answer.content.decode()


# --- an address of a rejection is added -----------------------------------------------------------------------------


def add(person: Person, key: ApiKey, row: Refusal) -> Any:
    return logged_in(person).post(f"/keys/{key.pk}/refusals/{row.pk}/add/")


def test_the_address_of_a_rejection_is_added_with_both_codes_and_then_passes(
    sara: Person, key: ApiKey
) -> None:
    assert send(key, OTHER) is Outcome.ADDRESS_REFUSED
    client = logged_in(sara)
    answer = client.post(f"/keys/{key.pk}/refusals/{Refusal.objects.get().pk}/add/")
    assert answer["Location"] == f"/keys/{key.pk}/verify/"
    assert list(key.networks.values_list("value", flat=True)) == [ADDRESS]
    wrong = {**both_codes(sara, "key.change"), "totp_code": sara.wrong_totp()}
    assert client.post(answer["Location"], wrong).status_code == 200
    assert send(key, OTHER) is Outcome.ADDRESS_REFUSED
    assert client.post(answer["Location"], both_codes(sara, "key.change")).status_code == 302
    assert list(key.networks.values_list("value", flat=True)) == [ADDRESS, OTHER]
    assert send(key, OTHER) is Outcome.ALLOWED


def test_no_address_is_added_by_a_visit(sara: Person, key: ApiKey) -> None:
    send(key, OTHER)
    answer = logged_in(sara).get(f"/keys/{key.pk}/refusals/{Refusal.objects.get().pk}/add/")
    assert answer["Location"] == f"/keys/{key.pk}/"
    assert not sms_collector.messages


def test_addresses_of_others_and_unsigned_ones_are_not_added(sara: Person, key: ApiKey) -> None:
    assert add(customer(), key, rejection(key, Outcome.ADDRESS_REFUSED)).status_code == 404
    assert add(sara, key, rejection(key_of(customer()), Outcome.ADDRESS_REFUSED)).status_code == 404
    assert add(sara, key, rejection(key, Outcome.ADDRESS_REFUSED, skew_ms=None)).status_code == 404
    assert add(sara, key, rejection(key, Outcome.SIGNATURE)).status_code == 404
    assert not sms_collector.messages


# --- a permission of a rejection is added ---------------------------------------------------------------------------


def test_the_missing_permission_is_given_with_both_codes_and_the_request_passes(
    sara: Person, key: ApiKey
) -> None:
    assert send(key, permission="trade") is Outcome.PERMISSION
    client = logged_in(sara)
    row = Refusal.objects.get()
    button = rejection_texts.button(key, row, networks.NetworkMatcher())
    assert button is not None
    assert (button.url, button.posts) == (f"/keys/{key.pk}/refusals/{row.pk}/grant/", True)
    assert client.get(button.url)["Location"] == f"/keys/{key.pk}/"
    answer = client.post(button.url)
    assert answer["Location"] == f"/keys/{key.pk}/verify/"
    assert send(key, permission="trade") is Outcome.PERMISSION
    # SECURITY: a session can remove a permission and list an address: a person who adds it again has to see which.
    assert ADDRESS in text(client.get(answer["Location"]).content.decode())
    assert ADDRESS in sms_collector.newest().text
    assert client.post(answer["Location"], both_codes(sara, "key.change")).status_code == 302
    assert send(key, permission="trade") is Outcome.ALLOWED
    assert rejection_texts.button(ApiKey.objects.get(), row, networks.NetworkMatcher()) is None


def test_withdrawing_from_anywhere_is_not_given_by_one_click(sara: Person, key: ApiKey) -> None:
    key.apply(["read"], "unrestricted", [])
    row = rejection(key, Outcome.PERMISSION, permission="withdraw")
    button = rejection_texts.button(key, row, networks.NetworkMatcher())
    assert button is not None
    assert (button.url, button.posts) == (f"/keys/{key.pk}/settings/", False)
    assert logged_in(sara).post(f"/keys/{key.pk}/refusals/{row.pk}/grant/")["Location"] == f"/keys/{key.pk}/"
    assert not sms_collector.messages


def test_permissions_of_others_and_of_other_rejections_are_not_given(sara: Person, key: ApiKey) -> None:
    own = rejection(key, Outcome.PERMISSION, permission="trade")
    other = rejection(key_of(customer()), Outcome.PERMISSION, permission="trade")
    wrong = rejection(key, Outcome.SIGNATURE, permission="trade")
    for person, row in ((customer(), own), (sara, other), (sara, wrong)):
        assert logged_in(person).post(f"/keys/{key.pk}/refusals/{row.pk}/grant/").status_code == 404
    assert not sms_collector.messages


@pytest.mark.parametrize("case", ["listed", "full", "unrestricted", "paused", "frozen"])
def test_an_address_that_cannot_be_added_sends_no_code(case: str, sara: Person, key: ApiKey) -> None:
    row = rejection(key, Outcome.ADDRESS_REFUSED)
    if case == "listed":
        key.apply(["read"], "trusted", ["198.51.100.0/24"])
    elif case == "full":
        key.apply(["read"], "trusted", [people.address(n) for n in range(30)])
    elif case == "unrestricted":
        key.apply(["read"], "unrestricted", [])
    elif case == "paused":
        key.set_state(KeyState.FROZEN)
    else:
        freeze.freeze(None, sara.user)
    assert add(sara, key, row)["Location"] == f"/keys/{key.pk}/"
    assert not sms_collector.messages


@pytest.mark.parametrize("address", ["unix:", "x", "203.0.113.9:80"])
def test_an_address_that_is_none_is_not_offered_and_breaks_nothing(
    sara: Person, key: ApiKey, address: str
) -> None:
    row = rejection(key, Outcome.ADDRESS_REFUSED, address=address)
    assert rejection_texts.button(key, row, networks.compile_networks([ADDRESS])) is None
    answer = logged_in(sara).post(f"/keys/{key.pk}/refusals/{row.pk}/add/")
    assert answer["Location"] == f"/keys/{key.pk}/"
    signed = replace(Decision.of(Outcome.ADDRESS_REFUSED), is_authentic=True)
    assert address_approval.request_approval(key, signed, address) is None
    assert address_approval.request_approval(key, signed, OTHER) is not None
