"""What programs sign with is asked again as it was chosen, when a session ran out on the way to the key."""

from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from accounts.drafts import DRAFT
from apikeys.models import ApiKey
from apikeys.public_keys import parse
from tests import people, sms_collector
from tests.key_pairs import new_ed25519, private_pem, public_pem
from tests.people import Person

pytestmark = pytest.mark.django_db
CODES = {"sms_code": "000000", "totp_code": "000000"}


@pytest.fixture(autouse=True)
def _phone(settings: Any) -> None:
    settings.SMS_BACKENDS = ["tests.sms_collector"]
    sms_collector.reset()


@pytest.fixture
def sara() -> Person:
    return people.customer()


@pytest.fixture
def key(sara: Person) -> ApiKey:
    return people.key_of(sara)


def hidden(client: Client, path: str) -> dict[str, str]:
    """The fields that the page of the codes sends along with them."""
    return dict(client.get(path).context["asked"].kept)


def lost(sara: Person, client: Client, path: str, fields: dict[str, str]) -> Client:
    """``fields`` posted when the session had just ended; then the browser after a new login."""
    Session.objects.all().delete()
    assert client.post(path, fields).headers["Location"].startswith("/login/?next=")
    stored = Session.objects.first()
    again = people.logged_in(sara)
    if stored is not None:
        people.remember(again, **{DRAFT: stored.get_decoded()[DRAFT]})
    return again


@pytest.mark.parametrize("kind", ["ed25519", "public"])
def test_the_kind_of_a_new_key_is_chosen_again_after_the_list(sara: Person, kind: str) -> None:
    pem = public_pem(new_ed25519())
    fields = {"name": "night bot", "kind": kind, "public_key": pem}
    form = lost(sara, people.logged_in(sara), "/keys/", fields).get("/keys/").context["form"]
    assert (form["name"].value(), form.chosen, form["public_key"].value()) == ("night bot", "public", pem)


@pytest.mark.parametrize("kind", ["ed25519", "public"])
def test_the_kind_of_a_new_key_is_chosen_again_after_the_codes(sara: Person, kind: str) -> None:
    pem = public_pem(new_ed25519())
    client = people.logged_in(sara)
    client.post("/keys/", {"name": "bot", "kind": kind, "public_key": pem})
    fields = {**CODES, **hidden(client, "/keys/new/verify/")}
    again = lost(sara, client, "/keys/new/verify/", fields)
    assert again.get("/keys/new/verify/").headers["Location"] == "/keys/"
    form = again.get("/keys/").context["form"]
    assert (form["name"].value(), form.chosen) == ("bot", "public")
    assert parse(form["public_key"].value()) == parse(pem)


def test_a_rotation_begins_again_as_it_was_chosen(sara: Person, key: ApiKey) -> None:
    page, pem = f"/keys/{key.pk}/rotate/", public_pem(new_ed25519())
    client = people.logged_in(sara)
    client.post(page, {"kind": "public", "public_key": pem, "grace": "3600"})
    again = lost(sara, client, f"{page}verify/", {**CODES, **hidden(client, f"{page}verify/")})
    assert again.get(f"{page}verify/").headers["Location"] == page
    form = again.get(page).context["form"]
    assert (form.chosen, parse(form["public_key"].value())) == ("public", parse(pem))
    assert [seconds for seconds, _words, chosen in form.graces if chosen] == [3600]


@pytest.mark.parametrize("around", ["", "prose "])
def test_of_the_field_for_a_public_key_nothing_else_is_kept(sara: Person, around: str) -> None:
    private = new_ed25519()
    pasted = around + private_pem(private) + public_pem(private)
    client = people.logged_in(sara)
    Session.objects.all().delete()
    client.post("/keys/", {"name": "bot", "kind": "public", "public_key": pasted})
    assert Session.objects.get().get_decoded()[DRAFT]["fields"] == {"name": ["bot"], "kind": ["public"]}
