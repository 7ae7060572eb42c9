"""The form of a key's settings: pasted allow-lists, first settings, and the typed name."""

import time
from typing import Any
from unittest import mock

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from apikeys.models import ApiKey
from apikeys.policy.choices import NETWORKS_A_KEY, KeyState
from tests.support import sms_collector
from tests.support.people import (
    ADDRESS,
    Person,
    half_logged_in,
    key_of,
    logged_in,
    made_just_now,
    secret_of,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
FREE, TRUSTED = "unrestricted", "trusted"


@pytest.fixture
def key(sara: Person) -> ApiKey:
    return key_of(sara, "ربات")


@pytest.fixture
def maker(sara: Person, key: ApiKey) -> Client:
    """The browser that has just created the key: its first settings need no codes."""
    return made_just_now(logged_in(sara), key)


def post(client: Client, key: ApiKey, **fields: Any) -> Any:
    return client.post(
        f"/keys/{key.pk}/", {"permissions": ["read"], "ip_policy": TRUSTED, "network": "", **fields}
    )


def add(client: Client, key: ApiKey, text: str, **fields: Any) -> Any:
    """Return the form after the button **تایید** at the text box."""
    return post(client, key, network=text, add_network="1", **fields).context["form"]


def now_of(key: ApiKey) -> ApiKey:
    return ApiKey.objects.get(pk=key.pk)


# --- the list of addresses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1, 192.0.2.2,2001:db8::1",
        "192.0.2.1 192.0.2.2\t2001:db8::1",
        "192.0.2.1\r\n192.0.2.2\n\n2001:db8::1\n",
        "192.0.2.1، 192.0.2.2؛ 2001:DB8:0::1",
        "۱۹۲.۰.۲.۱ ١٩٢.٠.٢.٢ ۲۰۰۱:db8::۱",
        "\u200e192.0.2.1\u200f,192.0.2.2/32,2001:db8::1/128",
    ],
)
def test_list_is_taken_as_people_paste_it(maker: Client, key: ApiKey, text: str) -> None:
    assert add(maker, key, text).chips == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]


def test_confirming_an_address_changes_nothing_before_it_is_saved(maker: Client, key: ApiKey) -> None:
    add(maker, key, "203.0.113.7")
    assert now_of(key).ip_policy == FREE
    assert not key.networks.exists()


def test_host_bits_are_corrected_and_that_is_said(maker: Client, key: ApiKey) -> None:
    form = add(maker, key, "203.0.113.7/24")
    assert form.chips == ["203.0.113.0/24"]
    (note,) = (note for note in form.notes if "203.0.113.7/24" in note)
    assert "203.0.113.0/24" in note


def test_duplicate_is_said_and_left_out(maker: Client, key: ApiKey) -> None:
    form = add(maker, key, "8.8.8.8 8.8.8.8/32 ::ffff:8.8.8.8", networks=["8.8.8.8"])
    assert form.chips == ["8.8.8.8"]
    assert len(form.notes) == 3


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "192.168.1.0/24", "::1", "fe80::1"])
def test_private_address_is_a_warning_and_not_an_error(maker: Client, key: ApiKey, address: str) -> None:
    form = add(maker, key, address)
    assert form.chips == [address]
    assert not form.errors
    assert len(form.notes) == 1


def test_public_address_gets_no_remark(maker: Client, key: ApiKey) -> None:
    assert add(maker, key, "8.8.8.8 2a01:4f8::1").notes == []


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/0",
        "8.8.8.8/0",
        "::/0",
        "::ffff:0:0/96",
        "8.8.8.8/33",
        "8.8.8.8/255.255.255.0",
        "8.8.8",
        "x",
        "8.8.8.8:80",
        "08.8.8.8",
    ],
)
def test_what_is_refused_stays_in_the_box_with_its_reason(maker: Client, key: ApiKey, text: str) -> None:
    form = add(maker, key, f"8.8.4.4 {text}")
    assert form.chips == ["8.8.4.4"]
    assert form["network"].value() == text
    assert len(form.errors["network"]) == 1


def test_saving_with_a_wrong_address_saves_nothing_and_keeps_what_was_typed(
    maker: Client, key: ApiKey
) -> None:
    answer = post(maker, key, permissions=["read", "trade"], network="8.8.8.8 wrong", save="1")
    assert answer.status_code == 200
    assert answer.context["form"]["network"].value() == "wrong"
    assert now_of(key).permissions == {"read"}
    assert not key.networks.exists()


def test_address_in_the_box_is_saved_without_being_confirmed_first(maker: Client, key: ApiKey) -> None:
    post(maker, key, network="8.8.8.8", networks=["8.8.4.4"], save="1")
    assert now_of(key).settings.networks == ("8.8.4.4", "8.8.8.8")


def test_thirty_addresses_are_saved_and_thirty_one_are_refused(maker: Client, key: ApiKey) -> None:
    many = [f"198.51.100.{n}" for n in range(NETWORKS_A_KEY + 1)]
    refused = post(maker, key, network=" ".join(many), save="1")
    assert "network" in refused.context["form"].errors
    assert "network" in post(maker, key, networks=many, save="1").context["form"].errors
    assert now_of(key).ip_policy == FREE
    post(maker, key, network=" ".join(many[1:]), save="1")
    assert key.networks.count() == NETWORKS_A_KEY


def test_own_address_is_added_by_its_button(maker: Client, key: ApiKey) -> None:
    form = post(maker, key, add_own="1", network="8.8.8.8").context["form"]
    assert form.chips == ["8.8.8.8", ADDRESS]


def test_address_is_removed_by_its_button(maker: Client, key: ApiKey) -> None:
    form = post(maker, key, networks=["8.8.8.8", "8.8.4.4"], remove_network="8.8.8.8").context["form"]
    assert form.chips == ["8.8.4.4"]


def test_restriction_without_an_address_is_not_saved(maker: Client, key: ApiKey) -> None:
    assert "network" in post(maker, key, save="1").context["form"].errors
    assert now_of(key).ip_policy == FREE


def test_withdraw_without_the_restriction_is_not_saved(maker: Client, key: ApiKey) -> None:
    answer = post(maker, key, permissions=["read", "withdraw"], ip_policy=FREE, save="1")
    assert "permissions" in answer.context["form"].errors
    assert now_of(key).permissions == {"read"}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("permissions", {"permissions": []}),
        ("permissions", {"permissions": ["everything"]}),
        ("ip_policy", {"ip_policy": "open"}),
        ("ip_policy", {"ip_policy": ""}),
        ("network", {"network": "8.8.8.8 " * 1000}),
    ],
)
def test_other_wrong_choice_is_told_beside_its_field(
    maker: Client, key: ApiKey, name: str, fields: dict[str, Any]
) -> None:
    answer = post(maker, key, **{"network": "8.8.8.8", "save": "1", **fields})
    assert name in answer.context["form"].errors
    assert now_of(key).ip_policy == FREE


@pytest.mark.parametrize(
    "value", ["<script>alert(1)</script>", "8.8.8.8'\"><img src=x>", "\x00", "۱" * 4000, "/" * 4000]
)
def test_nonsense_is_answered_and_escaped(maker: Client, key: ApiKey, value: str) -> None:
    answer = post(maker, key, network=value, networks=[value], permissions=[value], remove_network=value)
    assert answer.status_code == 200
    assert "<script>alert" not in answer.content.decode()
    assert "<img src=x" not in answer.content.decode()


# --- the first settings ---------------------------------------------------------------------------------------------


def test_first_settings_need_no_codes(maker: Client, key: ApiKey) -> None:
    post(maker, key, permissions=["read", "trade", "withdraw"], network="8.8.8.8", save="1")
    assert now_of(key).permissions == {"read", "trade", "withdraw"}
    assert sms_collector.messages == []


def test_first_settings_are_given_once(maker: Client, key: ApiKey) -> None:
    post(maker, key, network="8.8.8.8", save="1")
    answer = post(maker, key, permissions=["read", "trade"], networks=["8.8.8.8"], save="1")
    assert answer["Location"].endswith("/verify/")
    assert now_of(key).permissions == {"read"}


def test_refused_first_settings_are_not_used_up(maker: Client, key: ApiKey) -> None:
    post(maker, key, network="wrong", save="1")
    post(maker, key, permissions=["read", "trade"], network="8.8.8.8", save="1")
    assert now_of(key).permissions == {"read", "trade"}


def test_first_settings_end_after_ten_minutes(maker: Client, key: ApiKey) -> None:
    with mock.patch("time.time", return_value=time.time() + 601):
        answer = post(maker, key, permissions=["read", "trade"], network="8.8.8.8", save="1")
    assert answer["Location"].endswith("/verify/")
    assert now_of(key).permissions == {"read"}


def test_another_session_gives_no_first_settings(sara: Person, key: ApiKey) -> None:
    post(logged_in(sara), key, permissions=["read", "trade"], network="8.8.8.8", save="1")
    assert now_of(key).permissions == {"read"}


def test_right_of_one_new_key_is_no_right_on_another(sara: Person, key: ApiKey) -> None:
    other = key_of(sara, "other")
    client = made_just_now(logged_in(sara), other)
    post(client, key, permissions=["read", "trade"], network="8.8.8.8", save="1")
    assert now_of(key).permissions == {"read"}


def test_saving_in_place_answers_with_the_form_alone(maker: Client, key: ApiKey) -> None:
    """Only the form is replaced; the page with the secret stays."""
    secret = secret_of(key)
    page = maker.get(f"/keys/{key.pk}/")
    assert "require-trusted-types-for 'script'" in page["Content-Security-Policy"]
    for network, saved in (("wrong", False), ("8.8.8.8", True)):
        data = {"permissions": ["read"], "ip_policy": TRUSTED, "network": network, "save": "1"}
        answer = maker.post(f"/keys/{key.pk}/", data, headers={"hx-request": "true"})
        text = answer.content.decode()
        assert answer.status_code == 200
        assert text.lstrip().startswith("<form")
        assert secret not in text
        assert answer.context["saved"] is saved


def test_form_sent_in_place_is_answered_with_the_way_to_the_codes(sara: Person, key: ApiKey) -> None:
    data = {"permissions": ["read", "trade"], "ip_policy": FREE, "network": "", "save": "1"}
    answer = logged_in(sara).post(f"/keys/{key.pk}/", data, headers={"hx-request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (204, f"/keys/{key.pk}/verify/")


def test_choices_typed_in_an_expired_session_are_there_after_the_new_login(sara: Person, key: ApiKey) -> None:
    client = logged_in(sara)
    Session.objects.update(expire_date=timezone.now())
    lost = post(client, key, permissions=["trade"], network="8.8.8.8", networks=["8.8.4.4"], save="1")
    assert lost["Location"].startswith("/login/?next=")
    draft = Session.objects.get(pk=client.cookies["__Host-session"].value).get_decoded()["draft"]
    again = half_logged_in(sara)
    session = again.session
    session["draft"] = draft
    session.save()
    again.post("/login/second-factor/?method=totp", {"code": sara.totp()})
    form = again.get(f"/keys/{key.pk}/", follow=True).context["form"]
    assert (form["permissions"].value(), form["network"].value(), form.chips) == (
        ["trade"],
        "8.8.8.8",
        ["8.8.4.4"],
    )
    assert now_of(key).permissions == {"read"}


# --- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["", "x", "ربا", "ربات ۲", "ر" * 1000])
def test_key_is_not_deleted_without_its_name(sara: Person, key: ApiKey, typed: str) -> None:
    assert logged_in(sara).post(f"/keys/{key.pk}/delete/", {"name": typed}).status_code == 200
    assert now_of(key).state == "active"


@pytest.mark.parametrize("typed", ["ربات", " ربات ", "\u202bربات\u202c", "ر\u200cبات"])
def test_key_is_deleted_by_its_name_as_people_see_it(sara: Person, key: ApiKey, typed: str) -> None:
    client = logged_in(sara)
    assert client.get(f"/keys/{key.pk}/delete/").status_code == 200
    assert client.post(f"/keys/{key.pk}/delete/", {"name": typed})["Location"] == "/keys/"
    assert now_of(key).state == "revoked"
    assert list(client.get("/keys/").context["keys"]) == []


def test_deleted_key_takes_no_settings(maker: Client, key: ApiKey) -> None:
    key.set_state(KeyState.REVOKED)
    post(maker, key, permissions=["read", "trade"], network="8.8.8.8", save="1")
    assert now_of(key).permissions == {"read"}
