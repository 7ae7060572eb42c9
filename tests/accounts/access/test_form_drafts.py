"""Form drafts: after a session expired on the way to a key, the form shows the same choices again."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.access import pending_login, sessions
from accounts.access.form_drafts import DRAFT
from accounts.models import LoginSession
from apikeys.models import ApiKey
from apikeys.policy.public_keys import parse
from tests.support import people
from tests.support.key_pairs import new_ed25519, private_pem, public_pem
from tests.support.people import Person
from tests.support.production import HOST

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
CODES = {"sms_code": "000000", "totp_code": "000000"}


@pytest.fixture
def key(sara: Person) -> ApiKey:
    return people.key_of(sara)


def hidden(client: Client, path: str) -> dict[str, str]:
    """Return the fields that the codes page resends."""
    return dict(client.get(path).context["asked"].kept)


def ended_elsewhere(sara: Person, client: Client) -> None:
    sessions.end_all(sara.reload())


def idle(sara: Person, client: Client) -> None:
    LoginSession.objects.all().delete()


def expired(sara: Person, client: Client) -> None:
    Session.objects.filter(pk=client.cookies["__Host-session"].value).update(
        expire_date=timezone.now() - timedelta(minutes=1)
    )


ENDS = [ended_elsewhere, idle, expired]


def logs_in(client: Client, person: Person) -> Client:
    """Log the same browser in as ``person``."""
    request = RequestFactory().get("/", headers={"host": HOST})
    request.session = SessionStore(client.cookies["__Host-session"].value)
    request.user = AnonymousUser()
    user = person.reload()
    pending_login.begin(request, user, "")
    pending_login.record_proof(request, "totp")
    pending_login.finish(request, user, user.totp)
    request.session.save()
    client.cookies["__Host-session"] = str(request.session.session_key)
    return client


def lost(sara: Person, client: Client, path: str, fields: dict[str, str], end: Any = idle) -> Client:
    """Post ``fields`` with an expired session. Return the browser after a new login."""
    end(sara, client)
    assert client.post(path, fields).headers["Location"].startswith("/login/?next=")
    return logs_in(client, sara)


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
    public_key = around + private_pem(private) + public_pem(private)
    client = people.logged_in(sara)
    idle(sara, client)
    client.post("/keys/", {"name": "bot", "kind": "public", "public_key": public_key})
    assert Session.objects.get().get_decoded()[DRAFT]["fields"] == {"name": ["bot"], "kind": ["public"]}


# --- ownership


@pytest.mark.parametrize("end", ENDS)
def test_a_draft_comes_back_to_its_owner_however_the_session_ended(sara: Person, end: Any) -> None:
    client = lost(sara, people.logged_in(sara), "/keys/", {"name": "night bot"}, end)
    assert client.get("/keys/").context["form"]["name"].value() == "night bot"


@pytest.mark.parametrize("end", ENDS)
def test_the_next_person_in_the_browser_sees_nothing_of_it(sara: Person, end: Any) -> None:
    client = people.logged_in(sara)
    end(sara, client)
    pem = public_pem(new_ed25519())
    client.post("/keys/", {"name": "night bot", "kind": "public", "public_key": pem})
    logs_in(client, people.customer())
    page = client.get("/keys/")
    assert "night bot" not in page.text
    assert pem.splitlines()[1] not in page.text
    assert DRAFT not in client.session


@pytest.mark.parametrize("end", ENDS)
def test_nor_after_it_was_handed_from_page_to_page(sara: Person, end: Any) -> None:
    client = people.logged_in(sara)
    client.post("/keys/", {"name": "night bot", "kind": "hmac"})
    end(sara, client)
    client.post("/keys/new/verify/", {**CODES, "name": "night bot"})
    logs_in(client, people.customer())
    assert client.get("/keys/new/verify/").headers["Location"] == "/keys/"
    assert "night bot" not in client.get("/keys/").text


def test_a_login_drops_data_of_the_previous_user_of_the_browser(sara: Person) -> None:
    """Data of any page in the session, including pages that will be written later."""
    client = people.in_pre_login_flow(sara.user, "forgot", proved=True)
    people.set_session(client, anything="of Sara's")
    before = client.cookies["__Host-session"].value
    logs_in(client, people.customer())
    left = dict(client.session)
    assert {name for name in left if not name.startswith("_auth")} == {
        "login_session",
        "otp_device_id",
    }
    assert not Session.objects.filter(pk=before).exists()


def test_a_message_of_one_person_is_not_shown_to_the_next(sara: Person) -> None:
    client, key = people.logged_in(sara), people.key_of(sara, "night bot")
    client.post(f"/keys/{key.pk}/delete/", {"name": "night bot"})  # its message waits for the next page
    assert set(client.cookies) <= {"__Host-session", "__Host-csrf"}
    idle(sara, client)
    client.get("/keys/")
    assert "night bot" not in logs_in(client, people.customer()).get("/dashboard/").text


def test_messages_still_arrive_on_the_next_page(sara: Person) -> None:
    client, key = people.logged_in(sara), people.key_of(sara, "night bot")
    client.post(f"/keys/{key.pk}/delete/", {"name": "night bot"})
    assert "night bot" in client.get("/dashboard/").text


@pytest.mark.parametrize("end", ENDS)
def test_the_browser_forgets_the_pages_of_a_session_that_ended(sara: Person, end: Any) -> None:
    client = people.logged_in(sara)
    end(sara, client)
    assert client.get("/keys/").headers["Clear-Site-Data"] == '"cache"'
    assert "Clear-Site-Data" not in people.browser().get("/keys/").headers


def test_of_a_session_whose_owner_is_not_known_nothing_is_kept(sara: Person) -> None:
    client = people.logged_in(sara)
    Session.objects.all().delete()
    client.post("/keys/", {"name": "night bot"})
    assert not Session.objects.exists()
