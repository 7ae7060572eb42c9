"""The pages of a key: creation with both codes, secret shown once, settings; adding power needs both codes again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import AuditEvent
from apikeys.models import AllowedNetwork, ApiKey
from apikeys.policy.choices import LIVE_KEYS, KeyState
from apikeys.policy.power import Codes, Power, codes_for
from apikeys.policy.settings_change import Settings, SettingsChange
from apikeys.verification.networks import compile_networks
from tests.support import sms_collector
from tests.support.people import Person, customer, key_of, logged_in, made_just_now, secret_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
FREE, TRUSTED = "unrestricted", "trusted"
VERIFY_NEW = "/keys/new/verify/"


def page_of(key: ApiKey, rest: str = "") -> str:
    return f"/keys/{key.pk}/{rest}"


def save(
    client: Client, key: ApiKey, permissions: list[str], policy: str = FREE, **fields: Any
) -> HttpResponse:
    data = {"permissions": permissions, "ip_policy": policy, "network": "", "save": "1", **fields}
    return client.post(page_of(key), data)  # type: ignore[return-value]


def both(person: Person, purpose: str) -> dict[str, str]:
    return {"sms_code": sms_collector.newest(purpose).code, "totp_code": person.fresh_totp()}


def settings_of(key: ApiKey) -> Settings:
    return ApiKey.objects.get(pk=key.pk).settings


def set_to(
    key: ApiKey, permissions: list[str], policy: str = FREE, networks: list[str] | None = None
) -> ApiKey:
    key.apply(permissions, policy, networks or [])
    return ApiKey.objects.get(pk=key.pk)


# --- a new key ------------------------------------------------------------------------------------------------------


def test_guides_way_ends_with_a_key_and_its_secret(sara: Person) -> None:
    client = logged_in(sara)
    assert client.post("/keys/", {"name": " ربات "})["Location"] == VERIFY_NEW
    assert "ربات" in sms_collector.newest("key.create").text
    answer = client.post(VERIFY_NEW, both(sara, "key.create"))
    key = ApiKey.objects.get()
    assert answer["Location"] == page_of(key)
    page = client.get(page_of(key)).content.decode()
    assert f">{key.key_id}<" in page
    assert f">{secret_of(key)}<" in page
    assert secret_of(key) not in client.get(page_of(key)).content.decode()
    save(client, key, ["read", "trade"], TRUSTED, network="203.0.113.7")
    assert settings_of(key) == Settings(frozenset({"read", "trade"}), TRUSTED, ("203.0.113.7",))


@pytest.mark.parametrize("wrong", ["sms_code", "totp_code"])
def test_one_wrong_code_makes_no_key_and_does_not_say_which(sara: Person, wrong: str) -> None:
    client = logged_in(sara)
    client.post("/keys/", {"name": "bot"})
    codes = both(sara, "key.create")
    answer = client.post(VERIFY_NEW, {**codes, wrong: f"{(int(codes[wrong]) + 7) % 1_000_000:06d}"})
    form = answer.context["form"]
    assert set(form.errors) == {"__all__"}
    assert not ApiKey.objects.exists()


def test_name_in_the_session_is_what_the_codes_approve(sara: Person) -> None:
    """SECURITY: a code that was sent for one name does not create a key with another one."""
    client = logged_in(sara)
    client.post("/keys/", {"name": "harmless"})
    code = sms_collector.newest("key.create").code
    client.post("/keys/", {"name": "dangerous"})
    client.post(VERIFY_NEW, {"sms_code": code, "totp_code": sara.totp(), "name": "harmless"})
    assert not ApiKey.objects.filter(label="dangerous").exists()


def test_secret_is_shown_to_the_session_that_made_the_key_only(sara: Person) -> None:
    key = key_of(sara)
    assert secret_of(key) not in logged_in(sara).get(page_of(key)).content.decode()
    assert secret_of(key) in made_just_now(logged_in(sara), key).get(page_of(key)).content.decode()


def test_head_request_does_not_use_the_reveal_up(sara: Person) -> None:
    key = key_of(sara)
    client = made_just_now(logged_in(sara), key)
    client.head(page_of(key))
    assert secret_of(key) in client.get(page_of(key)).content.decode()


def test_page_with_the_secret_is_kept_by_nobody(sara: Person) -> None:
    key = key_of(sara)
    answer = made_just_now(logged_in(sara), key).get(page_of(key))
    assert secret_of(key) in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]


def test_key_of_somebody_else_does_not_exist(sara: Person) -> None:
    key, mallory = key_of(sara), logged_in(customer())
    for path in (page_of(key), page_of(key, "verify/"), page_of(key, "delete/")):
        assert mallory.get(path).status_code == 404
        assert mallory.post(path, {"name": "bot"}).status_code == 404
    assert ApiKey.objects.get().state == "active"


def test_thirty_first_key_is_refused_before_any_message(sara: Person) -> None:
    for number in range(LIVE_KEYS):
        key_of(sara, f"bot {number}")
    assert logged_in(sara).post("/keys/", {"name": "one more"}).status_code == 200
    assert sms_collector.messages == []


# --- changes that add power -----------------------------------------------------------------------------------------


def change(before: tuple[str, str, str], after: tuple[str, str, str]) -> SettingsChange:
    one, other = (
        Settings(frozenset(p.split()), policy, tuple(n.split())) for p, policy, n in (before, after)
    )
    return SettingsChange(one, other)


@pytest.mark.parametrize(
    ("before", "after", "adds"),
    [
        (("read", FREE, ""), ("read", FREE, ""), False),
        (("read", FREE, ""), ("read trade", FREE, ""), True),
        (("read trade", FREE, ""), ("read", FREE, ""), False),
        (("read", FREE, ""), ("trade", FREE, ""), True),
        (("read", FREE, ""), ("read", TRUSTED, "192.0.2.1"), False),
        (("read", TRUSTED, "192.0.2.1"), ("read", FREE, ""), True),
        (("read", TRUSTED, "192.0.2.1"), ("read", TRUSTED, "192.0.2.1 192.0.2.2"), True),
        (("read", TRUSTED, "192.0.2.1 192.0.2.2"), ("read", TRUSTED, "192.0.2.1"), False),
        (("read", TRUSTED, "192.0.2.0/24"), ("read", TRUSTED, "192.0.2.128/25 192.0.2.1"), False),
        (("read", TRUSTED, "192.0.2.0/24"), ("read", TRUSTED, "192.0.0.0/16"), True),
        (("read", TRUSTED, "192.0.2.0/24"), ("read", TRUSTED, "2001:db8::/32"), True),
        (("read", TRUSTED, "2001:db8::/32"), ("read", TRUSTED, "2001:db8:1::/48"), False),
        (("read trade", FREE, ""), ("read withdraw", TRUSTED, "192.0.2.1"), True),
        # Trading from any address ends after 90 days; of a restricted key it has no end.
        (("read trade", FREE, ""), ("trade", TRUSTED, "192.0.2.1"), True),
        (("read trade", FREE, ""), ("read", TRUSTED, "192.0.2.1"), False),
    ],
)
def test_what_adds_power(before: tuple[str, str, str], after: tuple[str, str, str], adds: bool) -> None:
    assert change(before, after).adds_power is adds


NOW = datetime(2027, 1, 1, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(days=90), NOW - timedelta(seconds=1)
RUNS = Power(frozenset({"read", "trade"}), None, None, NOW + timedelta(seconds=1), frozenset({("a", LATER)}))


@pytest.mark.parametrize(
    ("before", "changed", "codes"),
    [
        (RUNS, {}, Codes.NONE),
        (RUNS, {"trades_until": LATER}, Codes.AUTHENTICATOR),
        (replace(RUNS, trades_until=NOW), {"trades_until": LATER}, Codes.BOTH),
        (replace(RUNS, trades_until=EARLIER), {"trades_until": LATER}, Codes.BOTH),
        (RUNS, {"trades_until": None}, Codes.BOTH),
        (RUNS, {"trades_until": EARLIER}, Codes.NONE),
        (RUNS, {"permissions": frozenset({"read"}), "trades_until": None}, Codes.NONE),
        (RUNS, {"networks": ("192.0.2.1",)}, Codes.NONE),
        (RUNS, {"until": LATER}, Codes.NONE),
        (replace(RUNS, until=NOW), {"until": LATER}, Codes.BOTH),
        (replace(RUNS, until=NOW), {"permissions": frozenset({"read", "trade", "withdraw"})}, Codes.BOTH),
        (RUNS, {"credentials": frozenset()}, Codes.NONE),
        (RUNS, {"credentials": frozenset({("a", NOW)})}, Codes.NONE),
        (RUNS, {"credentials": frozenset({("a", None)})}, Codes.BOTH),
        (RUNS, {"credentials": frozenset({("a", LATER), ("b", NOW)})}, Codes.BOTH),
        (RUNS, {"runs": False}, Codes.NONE),
        (replace(RUNS, runs=False), {"runs": True}, Codes.BOTH),
        (
            replace(RUNS, runs=False),
            {"trades_until": LATER, "permissions": frozenset({"withdraw"})},
            Codes.BOTH,
        ),
    ],
)
def test_codes_that_more_power_takes(before: Power, changed: dict[str, Any], codes: Codes) -> None:
    assert codes_for(before, replace(before, **changed), NOW) is codes


SETTINGS = st.builds(
    Settings,
    st.frozensets(st.sampled_from(["read", "trade", "withdraw"])),
    st.sampled_from([FREE, TRUSTED]),
    st.lists(st.sampled_from(["192.0.2.0/24", "192.0.2.7", "2001:db8::/32", "0.0.0.0/1"]), unique=True).map(
        tuple
    ),
)


@given(SETTINGS, SETTINGS)
def test_no_change_that_opens_anything_goes_without_codes(before: Settings, after: Settings) -> None:
    def admits(settings: Settings, address: str) -> bool:
        return settings.ip_policy == FREE or compile_networks(settings.networks).contains(address)

    probes = ("192.0.2.7", "192.0.2.8", "1.2.3.4", "200.1.1.1", "2001:db8::1", "2001:db9::1")
    opened = after.permissions - before.permissions or any(
        admits(after, probe) and not admits(before, probe) for probe in probes
    )
    assert SettingsChange(before, after).adds_power or not opened


@given(SETTINGS)
def test_settings_survive_the_session(settings: Settings) -> None:
    again = Settings.from_json(settings.as_json())
    assert again.as_json() == settings.as_json()
    assert not SettingsChange(settings, again).adds_power


def test_adding_power_asks_for_both_codes_and_changes_nothing_before(sara: Person) -> None:
    key, client = key_of(sara), logged_in(sara)
    answer = save(client, key, ["read", "trade"])
    assert answer["Location"] == page_of(key, "verify/")
    assert settings_of(key).permissions == {"read"}
    client.post(page_of(key, "verify/"), both(sara, "key.change"))
    assert settings_of(key).permissions == {"read", "trade"}


def test_reducing_power_asks_for_no_code(sara: Person) -> None:
    key, client = (
        set_to(key_of(sara), ["read", "trade"], TRUSTED, ["192.0.2.1", "192.0.2.2"]),
        logged_in(sara),
    )
    assert save(client, key, ["read"], TRUSTED, networks=["192.0.2.1"])["Location"] == page_of(key)
    assert settings_of(key) == Settings(frozenset({"read"}), TRUSTED, ("192.0.2.1",))
    assert sms_collector.messages == []


@pytest.mark.parametrize(
    "codes", [{}, {"sms_code": "", "totp_code": ""}, {"sms_code": "000000"}, {"totp_code": "000000"}]
)
def test_missing_code_changes_nothing(sara: Person, codes: dict[str, str]) -> None:
    key, client = key_of(sara), logged_in(sara)
    save(client, key, ["read", "trade"])
    assert client.post(page_of(key, "verify/"), codes).status_code == 200
    assert settings_of(key).permissions == {"read"}


def test_codes_approve_exactly_the_change_that_they_were_sent_for(sara: Person) -> None:
    """SECURITY: request a harmless change, get its code, replace the change, confirm."""
    key, client = key_of(sara), logged_in(sara)
    save(client, key, ["read", "trade"])
    code = sms_collector.newest("key.change").code
    save(client, key, ["read", "withdraw"], TRUSTED, network="198.51.100.66")
    client.post(page_of(key, "verify/"), {"sms_code": code, "totp_code": sara.totp()})
    assert settings_of(key).permissions == {"read"}


def test_codes_of_one_key_do_not_change_another(sara: Person) -> None:
    one, other, client = key_of(sara, "one"), key_of(sara, "other"), logged_in(sara)
    save(client, one, ["read", "trade"])
    codes = both(sara, "key.change")
    assert client.post(page_of(other, "verify/"), codes)["Location"] == page_of(other)
    save(client, other, ["read", "trade"])
    client.post(page_of(other, "verify/"), codes)
    assert settings_of(other).permissions == {"read"}


def test_what_is_posted_with_the_codes_does_not_change_the_change(sara: Person) -> None:
    key, client = key_of(sara), logged_in(sara)
    save(client, key, ["read", "trade"])
    client.post(
        page_of(key, "verify/"),
        {**both(sara, "key.change"), "permissions": ["withdraw"], "ip_policy": TRUSTED},
    )
    assert settings_of(key) == Settings(frozenset({"read", "trade"}), FREE, ())


def test_key_that_was_changed_meanwhile_is_left_alone(sara: Person) -> None:
    key, client = key_of(sara), logged_in(sara)
    save(client, key, ["read", "trade"])
    set_to(key, ["read"], TRUSTED, ["192.0.2.1"])  # in another window
    answer = client.post(page_of(key, "verify/"), both(sara, "key.change"))
    assert answer["Location"] == page_of(key)
    assert settings_of(key) == Settings(frozenset({"read"}), TRUSTED, ("192.0.2.1",))


@pytest.mark.parametrize("state", [KeyState.FROZEN, KeyState.REVOKED])
def test_key_that_ended_meanwhile_is_not_changed(sara: Person, state: KeyState) -> None:
    key, client = key_of(sara), logged_in(sara)
    save(client, key, ["read", "trade"])
    codes = both(sara, "key.change")
    key.set_state(state)
    client.post(page_of(key, "verify/"), codes)
    save(client, key, ["trade"], TRUSTED, network="192.0.2.1")
    assert settings_of(key) == Settings(frozenset({"read"}), FREE, ())


def test_change_leaves_events_that_name_it(sara: Person) -> None:
    key, client = key_of(sara), logged_in(sara)
    save(client, key, ["read", "trade"])
    client.post(page_of(key, "verify/"), both(sara, "key.change"))
    assert list(AuditEvent.objects.order_by("pk").values_list("event", flat=True)) == [
        "sms.sent",
        "key.approved",
        "key.changed",
    ]
    assert AuditEvent.objects.get(event="key.changed").detail == {"changes": ["+trade"]}


def test_a_network_that_is_too_wide_is_not_posted_past_the_form(sara: Person) -> None:
    key, client = key_of(sara), logged_in(sara)
    wide = ["0.0.0.0/1", "128.0.0.0/1"]
    assert save(client, key, ["read"], TRUSTED, networks=wide).status_code == 200
    assert settings_of(key) == Settings(frozenset({"read"}), FREE, ())
    for one in wide:  # as in older lists
        AllowedNetwork.objects.create(key=key, value=one)
    ApiKey.objects.filter(pk=key.pk).update(ip_policy=TRUSTED)
    assert save(client, key, ["read"], TRUSTED, networks=wide[:1]).status_code == 302
    assert settings_of(key) == Settings(frozenset({"read"}), TRUSTED, ("0.0.0.0/1",))
