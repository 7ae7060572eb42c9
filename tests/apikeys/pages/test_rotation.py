"""Rotation on its pages: both codes, the secret shown once, the end of the old one, and no rejected request."""

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client
from django.utils import timezone

from accounts.choices.events import Event
from accounts.models import Notice, User
from apikeys.actions import consent, rotation
from apikeys.models import ApiKey, Credential
from apikeys.pages import session_state
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.policy.public_keys import parse
from hitobit_portal.security import crypto
from tests.apikeys.client_api.test_client_api import RESTRICTIONS, stamp
from tests.apikeys.policy.test_public_keys import PRIVATES
from tests.support import people, sms_collector
from tests.support.binance_client import BinanceClient
from tests.support.concurrency import (
    SIXTY,
    connections_for,
    count_events,
    count_redirects,
    post_concurrently,
    run_concurrently,
    visiting,
)
from tests.support.key_pairs import new_ed25519, public_pem, rsa_of, signed_query
from tests.support.people import Person

pytestmark = pytest.mark.usefixtures("collected_sms")

PURPOSE = "key.rotate"
DAY = 86_400


@pytest.fixture
def sara(db: None) -> Person:
    return people.customer()


@pytest.fixture
def key(sara: Person) -> ApiKey:
    return people.key_of(sara)


@pytest.fixture
def client(sara: Person) -> Client:
    return people.logged_in(sara)


def path(key: ApiKey, page: str = "") -> str:
    return f"/keys/{key.pk}/{page}"


def ask(client: Client, key: ApiKey, **fields: Any) -> Any:
    return client.post(path(key, "rotate/"), {"kind": "hmac", "grace": str(DAY), **fields})


def rotate(sara: Person, client: Client, key: ApiKey, **fields: Any) -> str:
    """Rotate on the pages; return the URL at which the new credential is shown."""
    assert ask(client, key, **fields).headers["Location"] == path(key, "rotate/verify/")
    assert client.get(path(key, "rotate/verify/")).status_code == 200
    answer = client.post(path(key, "rotate/verify/"), people.both_codes(sara, PURPOSE))
    return str(answer.headers["Location"])


def signed(key: ApiKey, secret: str) -> str:
    call = BinanceClient(key.key_id, secret).call("GET", RESTRICTIONS, [("timestamp", stamp())])
    return call.query.decode()


def answered(key: ApiKey, query: str) -> int:
    headers = {"X-MBX-APIKEY": key.key_id}
    return people.browser().get(f"{RESTRICTIONS}?{query}", headers=headers).status_code


def secret(credential: Credential) -> str:
    return crypto.unseal(credential.sealed, credential.seal_owner).decode()


def test_new_secret_is_shown_once_and_both_sign(sara: Person, client: Client, key: ApiKey) -> None:
    old = people.secret_of(key)
    shown = rotate(sara, client, key)
    page = client.get(shown)
    new = page.context["secret"]
    assert 'id="api-secret" dir="ltr" translate="no" data-secret' in page.content.decode()
    assert page["Cache-Control"].startswith("max-age=0") or "no-store" in page["Cache-Control"]
    assert new not in client.get(shown).content.decode()
    assert [answered(key, signed(key, text)) for text in (old, new)] == [200, 200]
    assert count_events(KeyEvent.ROTATED) == count_events(KeyEvent.REVEALED) == 1
    assert Notice.objects.filter(event__event=KeyEvent.ROTATED.value).exists()


def test_old_one_lives_as_long_as_was_chosen_after_the_first_use(
    sara: Person, client: Client, key: ApiKey
) -> None:
    new = client.get(rotate(sara, client, key, grace="3600")).context["secret"]
    old = key.credentials.order_by("pk")[0]
    assert old.retires_at is None
    answered(key, signed(key, new))
    old.refresh_from_db()
    assert old.retires_at is not None
    left = old.retires_at - timezone.now()
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


def test_no_grace_ends_the_old_one_with_the_first_use(sara: Person, client: Client, key: ApiKey) -> None:
    old = people.secret_of(key)
    new = client.get(rotate(sara, client, key, grace="0")).context["secret"]
    assert answered(key, signed(key, old)) == 200
    assert answered(key, signed(key, new)) == 200
    assert answered(key, signed(key, old)) == 400


@pytest.mark.parametrize("make", [new_ed25519, lambda: rsa_of(3072)], ids=["ed25519", "rsa"])
def test_secret_gives_way_to_a_public_key(sara: Person, client: Client, key: ApiKey, make: Any) -> None:
    private = make()
    shown = rotate(sara, client, key, kind="public", public_key=public_pem(private))
    page = unescape(client.get(shown).content.decode())
    assert parse(public_pem(private)).fingerprint in page
    assert "api-secret" not in page
    assert answered(key, signed_query(private)) == 200
    assert parse(public_pem(private)).fingerprint in unescape(
        client.get(path(key, "signing/")).content.decode()
    )


def test_secret_is_shown_only_in_the_session_that_gave_the_codes(
    sara: Person, client: Client, key: ApiKey
) -> None:
    shown = rotate(sara, client, key)
    new = secret(key.credentials.order_by("-pk")[0])
    other = people.logged_in(sara)
    answer = other.get(shown)
    assert answer.headers["Location"] == path(key)
    assert new not in other.get(path(key)).content.decode()
    assert client.get(shown).context["secret"] == new


def test_secret_is_not_shown_after_ten_minutes(sara: Person, client: Client, key: ApiKey) -> None:
    shown = rotate(sara, client, key)
    state = {**client.session[session_state.MADE_CREDENTIAL], "until": 1}
    people.set_session(client, **{session_state.MADE_CREDENTIAL: state})
    assert client.get(shown).headers["Location"] == path(key)


def test_head_does_not_use_the_secret_up(sara: Person, client: Client, key: ApiKey) -> None:
    shown = rotate(sara, client, key)
    client.head(shown)
    assert client.get(shown).context["secret"]


def test_nothing_is_made_without_both_codes(sara: Person, client: Client, key: ApiKey) -> None:
    ask(client, key)
    codes = people.both_codes(sara, PURPOSE)
    for wrong in ({**codes, "sms_code": "x"}, {**codes, "totp_code": sara.wrong_totp()}, {}):
        assert client.post(path(key, "rotate/verify/"), wrong).status_code == 200
    assert key.credentials.count() == 1


@pytest.mark.parametrize("swapped", ["key", "public key", "kind", "grace"])
def test_codes_are_good_for_exactly_what_was_asked(
    sara: Person, client: Client, key: ApiKey, swapped: str
) -> None:
    asked_for = parse(public_pem(new_ed25519()))
    code = people.live_sms_code(sara, session_state.rotation_approval(key, asked_for, DAY))
    other = people.key_of(sara, "other") if swapped == "key" else key
    public = {"public key": parse(public_pem(new_ed25519())), "kind": None}.get(swapped, asked_for)
    state = {
        "key": str(other.pk),
        "kind": public.kind.value if public else "hmac",
        "public_key": public.encoded if public else "",
        "grace": 0 if swapped == "grace" else DAY,
        "wizard": str(uuid.uuid4()),
        "asked": consent.state_of(other),
    }
    people.set_session(client, **{session_state.ROTATION: state})
    codes = {"sms_code": code, "totp_code": sara.fresh_totp()}
    assert client.post(path(other, "rotate/verify/"), codes).status_code == 200
    assert Credential.objects.count() == ApiKey.objects.count()


def test_codes_for_a_credential_are_void_once_the_key_can_do_more(
    sara: Person, client: Client, key: ApiKey
) -> None:
    """SECURITY: the new credential was approved for a key that only reads."""
    ask(client, key)
    codes = people.both_codes(sara, PURPOSE)
    key.apply(["read", "trade"], "unrestricted", [])
    assert client.post(path(key, "rotate/verify/"), codes).headers["Location"] == path(key)
    assert key.credentials.count() == 1


def test_codes_page_says_what_is_made(client: Client, key: ApiKey) -> None:
    pem = public_pem(new_ed25519())
    ask(client, key, kind="public", public_key=pem)
    page = unescape(client.get(path(key, "rotate/verify/")).content.decode())
    assert parse(pem).fingerprint in page
    assert key.label in page


@pytest.mark.parametrize(
    "fields", [{"grace": "1"}, {"grace": ""}, {"kind": "public", "public_key": "prose"}, {"kind": "dsa"}]
)
def test_wrong_form_sends_nothing(client: Client, key: ApiKey, fields: dict[str, str]) -> None:
    assert ask(client, key, **fields).status_code == 200
    assert not sms_collector.messages
    assert session_state.ROTATION not in client.session


def test_private_key_is_not_kept(client: Client, key: ApiKey) -> None:
    page = unescape(ask(client, key, kind="public", public_key=PRIVATES["Ed25519"]).content.decode())
    piece = PRIVATES["Ed25519"].splitlines()[1]
    assert piece not in page
    assert all(piece not in str(session.get_decoded()) for session in Session.objects.all())


def test_second_click_finds_the_first_ones_credential(sara: Person, client: Client, key: ApiKey) -> None:
    ask(client, key)
    ask(client, key)
    codes = people.both_codes(sara, PURPOSE)
    went = {client.post(path(key, "rotate/verify/"), codes).headers["Location"] for _n in range(3)}
    assert len(went) == 1
    assert key.credentials.count() == 2


def test_third_credential_is_not_offered_and_not_made(sara: Person, client: Client, key: ApiKey) -> None:
    ask(client, key)
    rotation.rotate(key, None, DAY, uuid.uuid4())  # in another window
    codes = people.both_codes(sara, PURPOSE)
    assert client.post(path(key, "rotate/verify/"), codes).headers["Location"] == path(key)
    assert client.get(path(key, "rotate/")).headers["Location"] == path(key, "signing/")
    assert path(key, "rotate/") not in client.get(path(key, "signing/")).content.decode()
    assert key.credentials.count() == 2


@pytest.mark.parametrize("state", [KeyState.FROZEN, KeyState.REVOKED])
def test_key_that_is_not_active_gets_no_credential(
    sara: Person, client: Client, key: ApiKey, state: KeyState
) -> None:
    ask(client, key)
    key.set_state(state)
    for page in ("rotate/", "rotate/verify/"):
        assert client.get(path(key, page)).headers["Location"] == path(key)
    codes = people.both_codes(sara, PURPOSE)
    assert client.post(path(key, "rotate/verify/"), codes).headers["Location"] == path(key)
    assert key.credentials.count() == 1


def test_frozen_account_gets_no_credential(sara: Person, client: Client, key: ApiKey) -> None:
    ask(client, key)
    User.objects.filter(pk=sara.user.pk).update(frozen_at=timezone.now())
    codes = people.both_codes(sara, PURPOSE)
    assert client.post(path(key, "rotate/verify/"), codes).headers["Location"] == path(key)
    assert ask(client, key).headers["Location"] == path(key)
    assert key.credentials.count() == 1


def test_another_customers_credentials_do_not_exist(client: Client) -> None:
    key = people.key_of(people.customer())
    serial = key.credentials.get().serial
    of_one = (f"credentials/{serial}/end/", f"credentials/{serial}/first-use/")
    for page in ("rotate/", "rotate/verify/", f"rotate/{serial}/", *of_one):
        assert client.get(path(key, page)).status_code == 404
        assert client.post(path(key, page)).status_code in (404, 405)


@pytest.mark.parametrize("which", [0, 1])
def test_either_of_two_is_ended_by_hand_and_the_last_one_never(
    sara: Person, client: Client, key: ApiKey, which: int
) -> None:
    rotation.rotate(key, None, DAY, uuid.uuid4())
    both = list(key.credentials.order_by("pk"))
    texts = [secret(credential) for credential in both]
    end = path(key, f"credentials/{both[which].serial}/end/")
    assert client.get(end).headers["Location"] == path(key, "signing/")
    assert answered(key, signed(key, texts[which])) == 200
    key.credentials.update(retires_at=None)  # as before its first use
    client.post(end)
    assert answered(key, signed(key, texts[which])) == 400
    assert answered(key, signed(key, texts[1 - which])) == 200
    client.post(path(key, f"credentials/{both[1 - which].serial}/end/"))
    client.post(end)
    assert answered(key, signed(key, texts[1 - which])) == 200
    assert count_events(KeyEvent.CREDENTIAL_ENDED) == 1


def test_page_says_which_one_is_used(client: Client, key: ApiKey) -> None:
    client.cookies["language"] = "en"
    assert "Not used yet" in client.get(path(key, "signing/")).content.decode()
    answered(key, signed(key, people.secret_of(key)))
    rotation.rotate(key, None, DAY, uuid.uuid4())
    page = client.get(path(key, "signing/")).content.decode()
    assert page.index("In use since") < page.index("Not used yet")
    assert "Ends after the first use of the new one" in page


def test_signing_goes_on_while_the_key_is_rotated(sara: Person, client: Client, key: ApiKey) -> None:
    """Old secret before, during and after the pages; then the new one; then, with a grace, still the old one."""
    old = people.secret_of(key)
    answers = [answered(key, signed(key, old))]
    ask(client, key)
    answers.append(answered(key, signed(key, old)))
    shown = client.post(path(key, "rotate/verify/"), people.both_codes(sara, PURPOSE)).headers["Location"]
    answers.append(answered(key, signed(key, old)))
    new = client.get(shown).context["secret"]
    for text in (old, new, old, new):
        answers.append(answered(key, signed(key, text)))
    assert set(answers) == {200}


def test_the_new_credentials_page_has_programs_and_waits_for_its_own_first_request(
    sara: Person, client: Client, key: ApiKey
) -> None:
    client.cookies["language"] = "en"
    old = people.secret_of(key)
    answered(key, signed(key, old))
    page = client.get(rotate(sara, client, key))
    new, waiting = (
        page.context["secret"],
        path(key, f"credentials/{page.context['credential'].serial}/first-use/"),
    )
    text = page.content.decode()
    assert f'data-first-use="{waiting}"' in text
    assert key.key_id in text[text.index('id="snippet-curl"') :]
    assert text.count(new) == 1
    answered(key, signed(key, old))
    assert client.get(waiting).json()["used"] is False  # the old one's requests are not its own
    answered(key, signed(key, "wrong"))
    assert "refused" in client.get(waiting).json()["text"]
    answered(key, signed(key, new))
    assert client.get(waiting).json()["used"] is True


def test_the_programs_of_a_new_public_key_are_of_its_kind(sara: Person, client: Client, key: ApiKey) -> None:
    page = client.get(rotate(sara, client, key, kind="public", public_key=public_pem(rsa_of(3072)))).content
    assert b"PRIVATE_KEY_FILE" in page
    assert b"API_SECRET" not in page


# --- many at once, on PostgreSQL ------------------------------------------------------------------------------------


@pytest.fixture
def _room(transactional_db: None) -> Iterator[None]:
    with connections_for(SIXTY + 4):
        yield


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_room")
def test_sixty_posts_of_the_right_codes_make_one_credential() -> None:
    sara = people.customer()
    key, one = people.key_of(sara), people.logged_in(sara)
    ask(one, key)
    codes = people.both_codes(sara, PURPOSE)
    crowd = [people.clone_browser(one, people.address(n)) for n in range(SIXTY)]
    answers = post_concurrently([(browser, path(key, "rotate/verify/"), codes) for browser in crowd])
    serial = key.credentials.order_by("-pk")[0].serial
    assert count_redirects(answers, path(key, f"rotate/{serial}/")) == SIXTY
    assert key.credentials.count() == 2
    assert count_events(KeyEvent.ROTATED) == 1
    assert count_events(Event.CODE_REFUSED) == 0


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_room")
def test_of_sixty_visits_one_shows_the_new_secret() -> None:
    sara = people.customer()
    key, one = people.key_of(sara), people.logged_in(sara)
    shown = rotate(sara, one, key)
    new = secret(key.credentials.order_by("-pk")[0]).encode()
    crowd = [people.clone_browser(one, people.address(n)) for n in range(SIXTY)]
    answers = run_concurrently([visiting(browser, shown) for browser in crowd])
    assert {answer.status_code for answer in answers} == {200}
    assert sum(new in answer.content for answer in answers) == 1
    assert count_events(KeyEvent.REVEALED) == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_room")
def test_program_that_signs_all_the_time_notices_nothing_of_a_rotation() -> None:
    sara = people.customer()
    key, client = people.key_of(sara), people.logged_in(sara)
    answers: list[int] = []
    held, stop, changed = [people.secret_of(key)], threading.Event(), threading.Event()

    def program() -> None:
        try:
            while not stop.is_set():
                new = len(held) > 1
                answers.append(answered(key, signed(key, held[-1])))
                if new:
                    changed.set()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=program) for _n in range(4)]
    for thread in threads:
        thread.start()
    try:
        held.append(client.get(rotate(sara, client, key, grace="3600")).context["secret"])
        assert changed.wait(60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {200}
    old, new = key.credentials.order_by("pk")
    assert new.first_used_at is not None
    assert old.retires_at is not None
