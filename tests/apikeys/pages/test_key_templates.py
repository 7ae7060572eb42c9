"""Templates fill in the first settings of a new key, and give it nothing."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from apikeys.models import ApiKey
from apikeys.pages.forms import EXPIRIES
from apikeys.pages.key_templates import TEMPLATES
from apikeys.pages.session_state import MADE_KEY, NEW_KEY
from apikeys.policy.choices import check_rules
from tests.support import people, sms_collector
from tests.support.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
NEW, CODES = "/keys/", "/keys/new/verify/"


@pytest.fixture
def client(sara: Person) -> Client:
    return people.logged_in(sara)


def made(sara: Person, client: Client, template: str) -> ApiKey:
    """Create a key on the pages, with both codes."""
    answer = client.post(NEW, {"name": "bot", "template": template})
    assert answer.headers["Location"] == CODES
    client.post(CODES, people.both_codes(sara))
    return ApiKey.objects.get()


def shown(client: Client, key: ApiKey) -> dict[str, Any]:
    form = client.get(f"/keys/{key.pk}/").context["form"]
    return {name: form[name].value() for name in ("permissions", "ip_policy", "expiry")}


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_the_template_proposes_is_chosen_and_not_in_force(
    sara: Person, client: Client, name: str
) -> None:
    template = TEMPLATES[name]
    key = made(sara, client, name)
    assert shown(client, key) == {
        "permissions": list(template.permissions), "ip_policy": template.ip_policy, "expiry": template.expiry,
    }  # fmt: skip
    assert (key.permissions, key.ip_policy, key.expires_at) == (frozenset({"read"}), "unrestricted", None)
    page = client.get(f"/keys/{key.pk}/").content.decode()
    assert "data-unsaved" in page


def test_without_a_template_the_form_shows_what_is_recommended(sara: Person, client: Client) -> None:
    key = made(sara, client, "")
    assert shown(client, key) == {"permissions": ["read"], "ip_policy": "trusted", "expiry": "90"}
    assert "data-unsaved" not in client.get(f"/keys/{key.pk}/").content.decode()


def test_what_is_saved_is_what_was_sent_under_the_rules_of_every_change(sara: Person, client: Client) -> None:
    key = made(sara, client, "treasury")
    page = f"/keys/{key.pk}/"
    proposed = {"permissions": ["read", "withdraw"], "ip_policy": "trusted", "expiry": "30", "save": "1"}
    changes: list[dict[str, Any]] = [{"network": ""}, {"ip_policy": "unrestricted"}, {"permissions": []}]
    for broken in changes:
        assert client.post(page, {**proposed, "network": "203.0.113.7", **broken}).status_code == 200
        assert ApiKey.objects.get().permissions == {"read"}
    sent = {**proposed, "permissions": ["read"], "network": "203.0.113.7"}
    assert client.post(page, sent).status_code == 302
    key.refresh_from_db()
    assert key.permissions == {"read"}, "a template gives nothing that was not sent"
    assert key.expires_at is not None
    # The first settings are made: what the template proposed needs both codes now.
    assert client.post(f"{page}settings/", {**proposed, "networks": ["203.0.113.7"]}).headers["Location"] == (
        f"{page}verify/"
    )
    assert ApiKey.objects.get().permissions == {"read"}
    assert client.get(f"{page}settings/").context["form"]["permissions"].value() == ["read"]


def test_a_template_ends_with_the_time_for_the_first_settings(sara: Person, client: Client) -> None:
    key = made(sara, client, "bot")
    people.set_session(client, **{MADE_KEY: {**client.session[MADE_KEY], "until": 0}})
    assert client.get(f"/keys/{key.pk}/settings/").context["form"]["permissions"].value() == ["read"]


def test_a_template_that_does_not_exist_creates_nothing_and_none_is_needed(client: Client) -> None:
    assert client.post(NEW, {"name": "bot", "template": "admin"}).status_code == 200
    assert NEW_KEY not in client.session
    assert not sms_collector.messages
    # An attempt of the version before has none.
    assert client.post(NEW, {"name": "bot"}).headers["Location"] == CODES


def test_back_from_the_codes_keeps_the_template(client: Client) -> None:
    client.post(NEW, {"name": "bot", "template": "treasury"})
    assert client.get(NEW).context["form"]["template"].value() == "treasury"


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_template_can_be_saved_as_it_is(name: str) -> None:
    template = TEMPLATES[name]
    networks = ["203.0.113.7"] if template.ip_policy == "trusted" else []
    check_rules(frozenset(template.permissions), template.ip_policy, networks)
    assert template.expiry in dict(EXPIRIES)
    assert template.expiry.isdigit()
    if networks:
        with pytest.raises(ValidationError):
            check_rules(frozenset(template.permissions), template.ip_policy, [])
