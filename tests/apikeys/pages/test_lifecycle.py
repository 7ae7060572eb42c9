"""The lifecycle of a key on its pages: rename, pause, resume, renew, delete; and the texts of its states."""

import re
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.actions import freeze
from accounts.models import AuditEvent
from apikeys.actions import lifecycle
from apikeys.actions.consent import CodesMissing
from apikeys.models import ApiKey, Credential
from apikeys.pages import session_state
from apikeys.policy.account_freeze import AccountFrozen
from apikeys.policy.choices import KeyState
from apikeys.policy.power import Codes
from apikeys.policy.settings_change import Settings, SettingsChange
from tests.support import people, sms_collector
from tests.support.people import Person, both_codes, customer, key_of, live_sms_code, logged_in, made_just_now

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
FREE, TRUSTED = "unrestricted", "trusted"
DAY = timedelta(days=1)
MOST_QUERIES = 9


@pytest.fixture
def key(sara: Person) -> ApiKey:
    return key_of(sara, "bot")


def now_of(key: ApiKey) -> ApiKey:
    return ApiKey.objects.get(pk=key.pk)


def page_of(key: ApiKey, rest: str = "") -> str:
    return f"/keys/{key.pk}/{rest}"


def save(client: Client, key: ApiKey, **fields: Any) -> HttpResponse:
    """Return the settings form as a browser sends it, with ``fields`` changed."""
    now = now_of(key)
    data = {
        "name": now.label,
        "permissions": sorted(now.permissions),
        "ip_policy": now.ip_policy,
        "networks": list(now.settings.networks),
        "network": "",
        "expiry": "keep",
        "expiry_date": "",
        "save": "1",
    }
    return client.post(page_of(key), {**data, **fields})  # type: ignore[return-value]


def in_english(person: Person) -> Client:
    client = logged_in(person)
    client.cookies["language"] = "en"
    return client


def events() -> list[str]:
    return list(AuditEvent.objects.order_by("pk").values_list("event", flat=True))


def trading(key: ApiKey, days: float) -> ApiKey:
    """Return the key, which may trade from any address for ``days`` more."""
    key.apply(["read", "trade"], FREE, [])
    ApiKey.objects.filter(pk=key.pk).update(trade_until=timezone.now() + days * DAY)
    return now_of(key)


def text(answer: Any) -> str:
    """Return the text of the page without direction marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", answer.content.decode()))


# --- another name ---------------------------------------------------------------------------------------------------


def test_renaming_takes_no_code_and_is_what_approvals_and_the_deletion_name(
    sara: Person, key: ApiKey
) -> None:
    client = logged_in(sara)
    assert save(client, key, name="  other   name ")["Location"] == page_of(key)
    assert now_of(key).label == "other name"
    assert events() == ["key.renamed"]
    assert AuditEvent.objects.get().detail == {"before": "bot"}
    save(client, key, permissions=["read", "trade"])
    assert "other name" in sms_collector.newest("key.change").text
    assert "bot" not in sms_collector.newest("key.change").text
    client.post(page_of(key, "delete/"), {"name": "bot"})
    assert now_of(key).state == "active"
    client.post(page_of(key, "delete/"), {"name": "Other name"})
    assert now_of(key).state == "revoked"


@pytest.mark.parametrize(
    "name", ["", "  ", "x" * 51, "a\x07b", "OTHER", "\u200cother", "x" * 100_000], ids=lambda name: name[:8]
)
def test_a_name_that_cannot_be_is_refused_beside_the_field_and_saves_nothing(
    sara: Person, key: ApiKey, name: str
) -> None:
    key_of(sara, "other")
    key.apply(["read", "trade"], FREE, [])
    answer: Any = save(logged_in(sara), key, name=name, permissions=["read"])
    assert answer.status_code == 200
    assert set(answer.context["rename"].errors) == {"name"}
    assert len(answer.content) < 100_000
    assert now_of(key).label == "bot"
    assert now_of(key).permissions == {"read", "trade"}
    assert events() == []


def test_a_name_that_was_taken_in_the_same_moment_is_refused_beside_the_field(
    sara: Person, key: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_of(sara, "other")
    empty = ApiKey.objects.none()
    monkeypatch.setattr(
        "apikeys.pages.forms.ApiKey.objects.live", lambda _owner: empty
    )  # not there when asked
    answer: Any = save(logged_in(sara), key, name="other")
    assert set(answer.context["rename"].errors) == {"name"}
    assert now_of(key).label == "bot"


def test_the_name_of_a_deleted_key_is_free_and_case_may_be_changed(sara: Person, key: ApiKey) -> None:
    client = logged_in(sara)
    key_of(sara, "old").set_state(KeyState.REVOKED)
    for name in ("old", "OLD"):
        save(client, key, name=name)
        assert now_of(key).label == name


def test_rename_with_more_power_renames_at_once_and_asks_codes_for_the_rest(
    sara: Person, key: ApiKey
) -> None:
    client = logged_in(sara)
    answer = save(client, key, name="other", permissions=["read", "trade"])
    assert answer["Location"] == page_of(key, "verify/")
    assert now_of(key).label == "other"
    assert now_of(key).permissions == {"read"}
    client.post(page_of(key, "verify/"), both_codes(sara, "key.change"))
    assert now_of(key).permissions == {"read", "trade"}


def test_saving_what_is_already_so_leaves_no_event(sara: Person, key: ApiKey) -> None:
    assert save(logged_in(sara), key)["Location"] == page_of(key)
    assert events() == []


# --- paused and resumed ---------------------------------------------------------------------------------------------


def test_pausing_is_at_once_and_without_a_code_and_looking_pauses_nothing(sara: Person, key: ApiKey) -> None:
    client = logged_in(sara)
    assert client.get(page_of(key, "pause/")).status_code == 200
    assert now_of(key).state == "active"
    assert client.post(page_of(key, "pause/"))["Location"] == page_of(key)
    assert now_of(key).state == "frozen"
    client.post(page_of(key, "pause/"))
    assert events() == ["key.frozen"]


def test_paused_key_says_that_its_settings_wait_and_changes_none(sara: Person, key: ApiKey) -> None:
    key.set_state(KeyState.FROZEN)
    client = in_english(sara)
    assert client.get(page_of(key, "settings/"))["Location"] == page_of(key)
    assert "settings of a paused key cannot be changed" in text(client.get(page_of(key)))
    save(client, key, name="other", permissions=["read", "trade"], expiry="30")
    assert now_of(key).settings == key.settings
    assert now_of(key).label == "bot"
    assert client.get(page_of(key, "delete/")).status_code == 200


def test_resuming_takes_both_codes(sara: Person, key: ApiKey) -> None:
    key.set_state(KeyState.FROZEN)
    client = logged_in(sara)
    client.post(page_of(key, "resume/"), {"resend": "1"})
    codes = both_codes(sara, "key.thaw")
    assert "bot" in sms_collector.newest("key.thaw").text
    for wrong in ("sms_code", "totp_code"):
        client.post(page_of(key, "resume/"), {**codes, wrong: f"{(int(codes[wrong]) + 7) % 1_000_000:06d}"})
        client.post(page_of(key, "resume/"), {wrong: codes[wrong]})
        assert now_of(key).state == "frozen"
    assert client.post(page_of(key, "resume/"), codes)["Location"] == page_of(key)
    assert now_of(key).state == "active"
    assert events()[-1] == "key.thawed"


def test_codes_that_resume_one_key_resume_no_other(sara: Person, key: ApiKey) -> None:
    other = key_of(sara, "other")
    for one in (key, other):
        one.set_state(KeyState.FROZEN)
    client = logged_in(sara)
    client.post(page_of(key, "resume/"), {"resend": "1"})
    client.post(page_of(other, "resume/"), both_codes(sara, "key.thaw"))
    assert now_of(other).state == "frozen"


def test_codes_are_void_after_another_name(sara: Person, key: ApiKey) -> None:
    """SECURITY: the SMS names a key; renaming needs no code, and could give that name to another key."""
    client = logged_in(sara)
    save(client, key, permissions=["read", "trade"])
    codes = both_codes(sara, "key.change")
    save(client, key, name="other")
    assert client.post(page_of(key, "verify/"), codes)["Location"] == page_of(key)
    assert now_of(key).permissions == {"read"}


def test_codes_for_a_change_do_not_resume(sara: Person, key: ApiKey) -> None:
    change = SettingsChange(key.settings, Settings(frozenset({"read", "trade"}), FREE, ()))
    client = logged_in(sara)
    code = live_sms_code(sara, session_state.change_approval(key, change))
    key.set_state(KeyState.FROZEN)
    client.post(page_of(key, "resume/"), {"sms_code": code, "totp_code": sara.fresh_totp()})
    assert now_of(key).state == "frozen"


def test_a_key_of_a_frozen_account_is_not_resumed_and_no_sms_is_sent(sara: Person, key: ApiKey) -> None:
    key.set_state(KeyState.FROZEN)
    freeze.freeze(None, sara.user)
    client, sent = logged_in(sara), len(sms_collector.messages)
    code = live_sms_code(sara, lifecycle.resume_approval(key))
    client.post(page_of(key, "resume/"), {"resend": "1"})
    client.post(page_of(key, "resume/"), {"sms_code": code, "totp_code": sara.fresh_totp()})
    assert now_of(key).state == "frozen"
    assert len(sms_collector.messages) == sent


def test_an_account_frozen_after_the_page_was_opened_still_keeps_its_keys_paused(
    sara: Person, key: ApiKey
) -> None:
    key.set_state(KeyState.FROZEN)
    freeze.freeze(None, sara.user)
    with pytest.raises(AccountFrozen):
        lifecycle.resume(RequestFactory().post("/"), key)
    assert now_of(key).state == "frozen"


def test_a_deleted_key_is_neither_paused_nor_resumed_nor_renewed(sara: Person, key: ApiKey) -> None:
    trading(key, 1).set_state(KeyState.REVOKED)
    client = logged_in(sara)
    code = live_sms_code(sara, lifecycle.resume_approval(key))
    codes = {"sms_code": code, "totp_code": sara.fresh_totp(), "code": sara.fresh_totp()}
    for page in ("pause/", "resume/", "renew/"):
        assert client.post(page_of(key, page), codes)["Location"] == page_of(key)
    assert now_of(key).state == "revoked"
    assert events() == []


# --- trading from any address ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "offered"), [(31, False), (29.9, True), (0.1, True), (-1, True), (-400, True)]
)
def test_renewal_is_offered_from_thirty_days_before_the_end(
    sara: Person, key: ApiKey, days: float, offered: bool
) -> None:
    trading(key, days)
    client = logged_in(sara)
    assert (page_of(key, "renew/") in client.get(page_of(key)).content.decode()) is offered
    assert client.get(page_of(key, "renew/")).status_code == (200 if offered else 302)


def test_renewal_of_running_trade_takes_the_authenticators_code_alone(sara: Person, key: ApiKey) -> None:
    until = trading(key, 10).trade_until
    client = logged_in(sara)
    for code in ("", "12345", sara.wrong_totp()):
        assert client.post(page_of(key, "renew/"), {"code": code}).status_code == 200
        assert now_of(key).trade_until == until
    assert client.post(page_of(key, "renew/"), {"code": sara.fresh_totp()})["Location"] == page_of(key)
    after = now_of(key).trade_until
    assert after is not None
    assert abs(after - timezone.now() - 90 * DAY) < DAY
    assert events()[-1] == "key.trade_renewed"
    client.post(page_of(key, "renew/"), {"code": sara.fresh_totp()})
    assert now_of(key).trade_until == after


def renew_both(client: Client, sara: Person, key: ApiKey) -> dict[str, str]:
    """Request the codes that renew a key whose trading has ended."""
    client.post(page_of(key, "renew/"), {"resend": "1"})
    return both_codes(sara, "key.renew")


@pytest.mark.parametrize("days", [-0.001, -10, -400])
def test_trading_that_has_ended_is_renewed_by_both_codes_and_by_neither_alone(
    sara: Person, key: ApiKey, days: float
) -> None:
    """SECURITY: a session and an authenticator must not reactivate trading of a key whose permission lapsed."""
    until = trading(key, days).trade_until
    client = logged_in(sara)
    client.post(page_of(key, "renew/"), {"code": sara.fresh_totp()})
    assert now_of(key).trade_until == until
    codes = renew_both(client, sara, key)
    assert "bot" in sms_collector.newest("key.renew").text
    for wrong in ("sms_code", "totp_code"):
        client.post(page_of(key, "renew/"), {**codes, wrong: f"{(int(codes[wrong]) + 7) % 1_000_000:06d}"})
        client.post(page_of(key, "renew/"), {wrong: codes[wrong]})
        assert now_of(key).trade_until == until
    assert client.post(page_of(key, "renew/"), codes)["Location"] == page_of(key)
    after = now_of(key).trade_until
    assert after is not None
    assert abs(after - timezone.now() - 90 * DAY) < DAY
    assert events()[-2:] == ["key.approved", "key.trade_renewed"]
    assert AuditEvent.objects.get(event="key.approved").detail == {"purpose": "key.renew"}


def test_page_of_ended_trading_offers_the_sms_first_and_says_what_is_approved(
    sara: Person, key: ApiKey
) -> None:
    trading(key, -1)
    client = in_english(sara)
    page = client.get(page_of(key)).content.decode()
    assert f'action="{page_of(key, "renew/")}"' in page
    before = client.get(page_of(key, "renew/")).content.decode()
    assert 'name="sms_code"' not in before
    assert "Send the code" in before
    client.post(page_of(key, "renew/"), {"resend": "1"})
    answer = client.get(page_of(key, "renew/"))
    assert "90 more days of trading for the API" in text(answer)
    assert 'name="sms_code"' in answer.content.decode()
    answer = client.post(page_of(key, "renew/"), {"sms_code": "000000", "totp_code": sara.wrong_totp()})
    assert 'name="sms_code"' in answer.content.decode()


def test_form_of_one_code_that_was_open_while_trading_ended_renews_nothing_and_asks_for_both(
    sara: Person, key: ApiKey
) -> None:
    trading(key, 0.1)
    client = in_english(sara)
    assert 'name="code"' in client.get(page_of(key, "renew/")).content.decode()
    until = trading(key, -0.001).trade_until
    code = sara.fresh_totp()
    answer = client.post(page_of(key, "renew/"), {"code": code})
    assert answer["Location"] == page_of(key, "renew/")
    assert "Trading has ended in the meantime" in text(client.get(answer["Location"]))
    assert now_of(key).trade_until == until
    codes = {**renew_both(client, sara, key), "totp_code": code}  # not used up before
    client.post(page_of(key, "renew/"), codes)
    assert now_of(key).trade_until != until


def test_which_codes_a_renewal_takes_is_decided_at_the_write(sara: Person, key: ApiKey) -> None:
    read_before = trading(key, 0.1)
    until = trading(key, -0.001).trade_until
    with pytest.raises(CodesMissing):
        lifecycle.renew(RequestFactory().post("/"), read_before, Codes.AUTHENTICATOR)
    assert now_of(key).trade_until == until
    assert events() == []


def test_codes_of_an_ended_trade_renew_no_other_key_and_no_later_end(sara: Person, key: ApiKey) -> None:
    other = key_of(sara, "other")
    for one in (key, other):
        trading(one, -1)
    client = logged_in(sara)
    codes = renew_both(client, sara, key)
    client.post(page_of(other, "renew/"), codes)
    assert now_of(other).trade_has_ended
    trading(key, -0.5)
    client.post(page_of(key, "renew/"), {**codes, "totp_code": sara.fresh_totp()})
    assert now_of(key).trade_has_ended


@pytest.mark.parametrize("state", ["trusted", "no trade", "paused", "expired", "account frozen"])
def test_nothing_is_renewed_that_would_not_trade_from_anywhere(sara: Person, key: ApiKey, state: str) -> None:
    row = trading(key, -1)
    if state == "trusted":
        row.apply(["read", "trade"], TRUSTED, ["192.0.2.1"])
    elif state == "no trade":
        row.apply(["read"], FREE, [])
    elif state == "paused":
        row.set_state(KeyState.FROZEN)
    elif state == "expired":
        ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - DAY)
    else:
        freeze.freeze(None, sara.user)
    before, client = now_of(key).trade_until, logged_in(sara)
    code = live_sms_code(sara, lifecycle.renew_approval(now_of(key)))
    for codes in ({"code": sara.fresh_totp()}, {"sms_code": code, "totp_code": sara.fresh_totp()}):
        assert client.post(page_of(key, "renew/"), codes).status_code == 302
        assert now_of(key).trade_until == before
    assert "key.trade_renewed" not in events()


@pytest.mark.parametrize("days", [-1, 50])
def test_the_end_of_trading_is_not_escaped_by_restricting_the_key_to_an_address(
    sara: Person, key: ApiKey, days: int
) -> None:
    """SECURITY: a thief with a session could restrict the key to their own address, and trade without an end."""
    trading(key, days)
    client, until = in_english(sara), now_of(key).trade_until
    answer = save(client, key, ip_policy=TRUSTED, network="198.51.100.66")
    assert answer["Location"] == page_of(key, "verify/")
    assert now_of(key).trade_until == until
    assert "90 days at a timewithout an end" in re.sub(
        r"\s+(?=without)", "", text(client.get(answer["Location"]))
    )
    client.post(page_of(key, "verify/"), both_codes(sara, "key.change"))
    assert now_of(key).settings == Settings(frozenset({"read", "trade"}), TRUSTED, ("198.51.100.66",))
    assert now_of(key).trade_until is None


def test_a_key_whose_trading_ended_is_reduced_without_codes(sara: Person, key: ApiKey) -> None:
    trading(key, -1)
    assert save(logged_in(sara), key, permissions=["read"])["Location"] == page_of(key)
    save(logged_in(sara), key, permissions=["read"], ip_policy=TRUSTED, network="192.0.2.1")
    assert now_of(key).settings == Settings(frozenset({"read"}), TRUSTED, ("192.0.2.1",))


# --- all keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["", "delete", "delete all key", "bot", "x" * 100_000], ids=lambda t: t[:9])
def test_another_phrase_deletes_nothing(sara: Person, key: ApiKey, typed: str) -> None:
    client = in_english(sara)
    answer = client.post("/keys/delete-all/", {"phrase": typed})
    assert answer.status_code == 200
    assert now_of(key).state == "active"


def test_the_phrase_deletes_all_keys_of_this_customer_in_every_state(sara: Person, key: ApiKey) -> None:
    paused, theirs = key_of(sara, "paused"), key_of(customer(), "bot")
    paused.set_state(KeyState.FROZEN)
    client = logged_in(sara)
    page: Any = client.get("/keys/delete-all/")
    assert {"bot", "paused"} <= {row.label for row in page.context["keys"]}
    answer = client.post("/keys/delete-all/", {"phrase": page.context["phrase"].upper() + " "})
    assert answer["Location"] == "/keys/"
    assert {now_of(key).state, now_of(paused).state} == {"revoked"}
    assert now_of(theirs).state == "active"
    assert events() == ["key.revoked", "key.revoked"]
    assert client.get("/keys/delete-all/")["Location"] == "/keys/"


def test_deleted_keys_stay_readable_for_their_owner_and_nothing_of_them_is_editable(
    sara: Person, key: ApiKey
) -> None:
    key.apply(["read"], TRUSTED, ["192.0.2.1"])
    key.set_state(KeyState.REVOKED)
    client = logged_in(sara)
    assert page_of(key) in client.get("/keys/").content.decode()
    page = client.get(page_of(key)).content.decode()
    assert key.key_id in page
    assert "192.0.2.1" in page
    main = page[page.index("<main") : page.index("</main>")]
    assert "<form" not in main
    assert not re.search(r"/(pause|resume|renew|delete|verify)/", main)
    assert logged_in(customer()).get(page_of(key)).status_code == 404


# --- texts of states ------------------------------------------------------------------------------------------------

AGO: dict[str, dict[str, Any]] = {
    "degraded": {"expires_at": timezone.now() - 3 * DAY},
    "expired": {"expires_at": timezone.now() - 8 * DAY},
    "lapsed": {"trade_until": timezone.now() - DAY, "can_trade": True},
    "frozen": {"state": "frozen"},
    "revoked": {"state": "revoked", "revoked_at": timezone.now()},
}
SAYS = {
    "active": "All requests that its settings allow are accepted.",
    "degraded": "read-only until",
    "expired": "every request is refused",
    "lapsed": "Trading from any IP ended on",
    "frozen": "refused until the key is resumed",
    "account_frozen": "until you unfreeze your account",
    "revoked": "cannot be restored",
}


BADGES = {
    "active": "Active",
    "degraded": "Expired, read-only",
    "expired": "Expired",
    "lapsed": "Trading ended",
    "frozen": "Paused",
    "account_frozen": "Account frozen",
}


@pytest.mark.parametrize("state", SAYS)
def test_every_state_has_a_sentence_on_the_page_and_a_badge_on_the_list(
    sara: Person, key: ApiKey, state: str
) -> None:
    ApiKey.objects.filter(pk=key.pk).update(first_settings_at=timezone.now(), **AGO.get(state, {}))
    if state == "account_frozen":
        freeze.freeze(None, sara.user)
    client = in_english(sara)
    assert now_of(key).shown_state == state
    assert SAYS[state] in text(client.get(page_of(key)))
    if state != "revoked":
        rows = client.get("/keys/").content.decode().partition("<tbody")[2].partition("</tbody>")[0]
        assert BADGES[state] in rows


def test_trading_from_anywhere_says_from_the_start_when_it_ends(sara: Person, key: ApiKey) -> None:
    client = in_english(sara)
    assert "trading ends after 90 days unless you renew it" in text(client.get(page_of(key, "settings/")))
    row = trading(key, 80)
    assert row.trade_until is not None
    page = text(client.get(page_of(key)))
    assert f"trading ends on {row.trade_until.astimezone(timezone.get_default_timezone()):%-d %b %Y}" in page


def test_kind_comes_from_the_credential(sara: Person, key: ApiKey) -> None:
    client = logged_in(sara)
    assert "HMAC-SHA256" in client.get(page_of(key)).content.decode()
    pair = Ed25519PrivateKey.generate().public_key()
    encoded = b64encode(pair.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    Credential.objects.filter(key=key).update(kind="ed25519", sealed="", public_key=encoded)
    page = client.get(page_of(key)).content.decode()
    assert "Ed25519" in page
    Credential.objects.filter(key=key).update(retires_at=timezone.now() - DAY)
    assert "Ed25519" in client.get(page_of(key)).content.decode()


def test_form_saved_in_place_goes_to_the_page_unless_a_new_keys_secret_may_be_on_it(
    sara: Person, key: ApiKey
) -> None:
    client = made_just_now(logged_in(sara), key)
    fields = {"permissions": ["read"], "ip_policy": FREE, "network": ""}
    for _again in range(2):
        swapped = client.post(page_of(key), fields, headers={"hx-request": "true"})
        assert (swapped.status_code, b'id="settings"' in swapped.content) == (200, True)
        assert b'name="name"' not in swapped.content
    moved = client.post(page_of(key), {**fields, "name": "bot"}, headers={"hx-request": "true"})
    assert (moved.status_code, moved["HX-Redirect"]) == (204, page_of(key))


@pytest.mark.parametrize("count", [1, 25])
@pytest.mark.parametrize("page", ["", "settings/", "usage/", "signing/", "danger/"])
def test_key_pages_cost_few_statements(sara: Person, page: str, count: int) -> None:
    keys = [key_of(sara, f"key {n}") for n in range(count)]
    keys[0].apply(["read", "trade"], TRUSTED, [people.address(n) for n in range(count)])
    client = logged_in(sara)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(page_of(keys[0], page)).status_code == 200
    assert len(captured) <= MOST_QUERIES, [query["sql"] for query in captured.captured_queries]
