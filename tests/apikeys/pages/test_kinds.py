"""Keys of every kind, created on the pages: responses to their clients, first steps, and what is never stored."""

import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from accounts.models import AuditEvent
from apikeys.models import ApiKey, Credential
from apikeys.pages import first_use, session_state
from apikeys.policy.public_keys import parse
from apikeys.verification.signing import Kind
from tests.apikeys.client_api.test_client_api import RESTRICTIONS, stamp
from tests.apikeys.policy.test_public_keys import PRIVATES
from tests.support import people, sms_collector
from tests.support.binance_client import BinanceClient
from tests.support.key_pairs import Private, new_ed25519, public_pem, rsa_of, signed_query
from tests.support.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
NEW, CODES = "/keys/", "/keys/new/verify/"


@pytest.fixture
def client(sara: Person) -> Client:
    return people.logged_in(sara)


def begin_creation(client: Client, kind: str, public_key: str = "", name: str = "bot") -> Any:
    return client.post(NEW, {"name": name, "kind": kind, "public_key": public_key})


def made(sara: Person, client: Client, kind: str, public_key: str = "") -> ApiKey:
    """Create a key on the pages, with both codes."""
    assert begin_creation(client, kind, public_key).headers["Location"] == CODES
    assert client.get(CODES).status_code == 200
    answer = client.post(CODES, people.both_codes(sara))
    key = ApiKey.objects.get()
    assert answer.headers["Location"] == f"/keys/{key.pk}/"
    return key


def answered(key: ApiKey, query: str) -> int:
    return people.browser().get(f"{RESTRICTIONS}?{query}", headers={"X-MBX-APIKEY": key.key_id}).status_code


def test_secret_of_a_key_made_on_the_pages_signs(sara: Person, client: Client) -> None:
    key = made(sara, client, "hmac")
    secret = client.get(f"/keys/{key.pk}/").context["secret"]
    query = BinanceClient(key.key_id, secret).call("GET", RESTRICTIONS, [("timestamp", stamp())]).query
    assert answered(key, query.decode()) == 200


PAIRS: dict[str, Any] = {
    "ed25519": ("ed25519", new_ed25519),
    "pasted ed25519": ("public", new_ed25519),
    "pasted rsa": ("public", lambda: rsa_of(3072)),
}


@pytest.mark.parametrize("way", PAIRS)
def test_public_key_given_on_the_pages_checks_what_its_private_key_signs(
    sara: Person, client: Client, way: str
) -> None:
    kind, make = PAIRS[way]
    private: Private = make()
    key = made(sara, client, kind, public_pem(private))
    assert answered(key, signed_query(private)) == 200
    assert answered(key, signed_query(new_ed25519())) == 400
    page = client.get(f"/keys/{key.pk}/")
    assert page.context["secret"] is None
    shown = unescape(page.content.decode())
    assert parse(public_pem(private)).fingerprint in shown
    assert key.key_id in shown
    assert "api-secret" not in shown


def test_name_alone_makes_a_key_with_a_secret(client: Client) -> None:
    assert client.post(NEW, {"name": "bot"}).headers["Location"] == CODES
    assert client.session[session_state.NEW_KEY]["kind"] == "hmac"


def test_codes_page_shows_kind_and_fingerprint(client: Client) -> None:
    pem = public_pem(new_ed25519())
    begin_creation(client, "public", pem)
    page = unescape(client.get(CODES).content.decode())
    assert "Ed25519" in page
    assert parse(pem).fingerprint in page


def test_codes_for_one_public_key_do_not_approve_another(sara: Person, client: Client) -> None:
    mine, other = (parse(public_pem(new_ed25519())) for _n in range(2))
    begin_creation(client, "public", public_pem(new_ed25519()))
    code = people.live_sms_code(sara, session_state.create_approval("bot", mine))
    for public in (other, None):
        state = {"name": "bot", "wizard": "1" * 32, **session_state._as_json(public)}
        people.set_session(client, **{session_state.NEW_KEY: state})
        answer = client.post(CODES, {"sms_code": code, "totp_code": sara.fresh_totp()})
        assert answer.status_code == 200
    assert not ApiKey.objects.exists()


def test_double_click_is_one_attempt_and_another_public_key_is_another(client: Client) -> None:
    pem = public_pem(new_ed25519())
    attempts = []
    for text in (pem, pem, public_pem(new_ed25519())):
        begin_creation(client, "public", text)
        attempts.append(client.session[session_state.NEW_KEY]["wizard"])
    assert attempts[0] == attempts[1] != attempts[2]


def test_codes_sent_twice_make_one_key(sara: Person, client: Client) -> None:
    begin_creation(client, "public", public_pem(new_ed25519()))
    codes = people.both_codes(sara)
    answers = [client.post(CODES, codes).headers["Location"] for _n in range(2)]
    assert answers[0] == answers[1]
    assert ApiKey.objects.count() == Credential.objects.count() == 1


REFUSED = {
    "nothing": ("public", "", "Paste the public key."),
    "no pair made": ("ed25519", "", "Generate the key pair first."),
    "an RSA key as one of the browser": ("ed25519", public_pem(rsa_of(3072)), "This is not an Ed25519 key."),
    "RSA of 2048 bits": (
        "public",
        public_pem(rsa_of(2048)),
        "This RSA key has 2048 bits; it needs 3072 to 4096.",
    ),
    "prose": ("public", "my key", "This is not a public key. Paste PEM, from"),
    "another kind": ("dsa", "", "This option does not exist."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_key_is_told_beside_its_field_and_nothing_is_sent(client: Client, case: str) -> None:
    kind, text, words = REFUSED[case]
    client.cookies["language"] = "en"
    answer = begin_creation(client, kind, text)
    page = unescape(answer.content.decode())
    assert answer.status_code == 200
    assert words in re.sub("</?(bdi|code)[^>]*>", "", page)
    assert '<details class="more" id="kind" open>' in page
    assert 'value="bot"' in page
    assert not sms_collector.messages
    assert session_state.NEW_KEY not in client.session


def test_pasted_public_key_stays_when_the_name_is_refused(client: Client) -> None:
    pem = public_pem(new_ed25519())
    for kind in ("ed25519", "public"):
        page = unescape(begin_creation(client, kind, pem, name=" ").content.decode())
        assert pem.strip() in page
        assert re.search(rf'value="{kind}"[^>]* checked', page)


@pytest.mark.parametrize("kind", ["hmac", "ed25519", "public", "nonsense"])
@pytest.mark.parametrize("form", PRIVATES)
def test_private_key_is_refused_loudly_and_kept_nowhere(client: Client, form: str, kind: str) -> None:
    client.cookies["language"] = "en"
    page = unescape(begin_creation(client, kind, PRIVATES[form]).content.decode())
    assert "this is a PRIVATE key" in page
    piece = PRIVATES[form].strip().splitlines()[-2 if "\n" in PRIVATES[form].strip() else 0][:60]
    assert piece not in page
    assert all(piece not in str(session.get_decoded()) for session in Session.objects.all())
    assert not ApiKey.objects.exists()


def test_private_key_is_in_no_draft_of_a_lost_session(client: Client) -> None:
    cookie = client.cookies["__Host-session"].value
    Session.objects.filter(session_key=cookie).delete()
    begin_creation(client, "public", PRIVATES["Ed25519"])
    secret = PRIVATES["Ed25519"].splitlines()[1]
    assert all(secret not in str(session.get_decoded()) for session in Session.objects.all())
    assert all(secret not in str(event.detail) for event in AuditEvent.objects.all())


# --- the first request ----------------------------------------------------------------------------------------------


def first_use_of(client: Client, key: ApiKey) -> Any:
    return client.get(f"/keys/{key.pk}/first-use/").json()


def test_waiting_line_turns_with_the_first_signed_request(sara: Person, client: Client) -> None:
    key = people.key_of(sara)
    assert first_use_of(client, key)["used"] is False
    assert 'id="first-steps"' in client.get(f"/keys/{key.pk}/").content.decode()
    wrong = BinanceClient(key.key_id, "wrong").call("GET", RESTRICTIONS, [("timestamp", stamp())])
    assert answered(key, wrong.query.decode()) == 400
    waiting = first_use_of(client, key)
    assert waiting["used"] is False
    assert ":" in waiting["text"]  # why it was refused
    right = BinanceClient(key.key_id, people.secret_of(key)).call("GET", "/", [("timestamp", stamp())])
    assert answered(key, right.query.decode()) == 200
    state = first_use_of(client, key)
    assert state["used"] is True
    assert people.ADDRESS in state["text"]
    assert 'id="first-steps"' not in client.get(f"/keys/{key.pk}/").content.decode()


def test_waiting_line_of_another_customer_does_not_exist(client: Client) -> None:
    key = people.key_of(people.customer())
    assert client.get(f"/keys/{key.pk}/first-use/").status_code == 404


def test_programs_hold_the_key_and_never_the_secret(sara: Person, client: Client) -> None:
    key = made(sara, client, "hmac")
    page = client.get(f"/keys/{key.pk}/")
    texts = [snippet.text for snippet in first_use.snippets(key, Kind.HMAC, "https://api.example")]
    assert len(texts) == 4
    for text in texts:
        assert key.key_id in text
        assert "@" not in text
        assert page.context["secret"] not in text
    assert page.content.decode().count(page.context["secret"]) == 1


@pytest.mark.parametrize("kind", [Kind.ED25519, Kind.RSA])
def test_public_kinds_have_programs_in_all_languages(sara: Person, kind: Kind) -> None:
    languages = {s.language for s in first_use.snippets(people.key_of(sara), kind, "https://api.example")}
    assert languages == set(first_use.LANGUAGES)


def test_key_page_hands_out_the_programs_as_they_run(sara: Person, client: Client, tmp_path: Path) -> None:
    """The copied text is a valid program; that it works is tested in the browser."""
    key = people.key_of(sara)
    page = client.get(f"/keys/{key.pk}/").content.decode()
    copied = {
        match[1]: unescape(match[2])
        for match in re.finditer(r'<pre id="snippet-(\w+)"[^>]*><code>(.*?)</code>', page, re.DOTALL)
    }
    compile(copied["python"], "snippet", "exec")
    assert subprocess.run(["sh", "-n"], input=copied["curl"], text=True).returncode == 0
