"""The page of the request debugger: which keys it uses, what it never shows, and that no input breaks it."""

import base64
import hashlib
import hmac
import html
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone, translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.models import AuditEvent
from apikeys.debugger.cause_texts import CAUSE_TEXTS
from apikeys.debugger.causes import Cause
from apikeys.debugger.presenter import SHOWN_RUNS
from apikeys.models import ApiKey, DailyUse, Refusal
from apikeys.policy.choices import KeyState
from hitobit_portal.security.ratelimits import Rate
from tests.support.examples import times
from tests.support.people import Person, browser, customer, half_logged_in, key_of, logged_in, secret_of

pytestmark = pytest.mark.django_db
PAGE = "/debugger/"


def now() -> int:
    return int(time.time() * 1000)


def sign(secret: str, payload: str) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def curl(key_id: str, query: str, signature: str) -> str:
    url = f"https://api.hitobit.example/api/v3/account?{query}&signature={signature}"
    return f"curl '{url}' -H 'X-MBX-APIKEY: {key_id}'"


def look(client: Client, request: str, **fields: str) -> HttpResponse:
    client.cookies["language"] = "en"
    response: Any = client.post(PAGE, {"request": request, **fields})
    return response  # type: ignore[no-any-return]


def text_of(response: HttpResponse) -> str:
    """Return the text of the page without markup, entities and isolates."""
    text = re.sub(r"<[^>]+>", "", response.content.decode())
    return re.sub(r"[\u2066-\u2069]", "", html.unescape(text))


def headline(cause: Cause, **values: str) -> str:
    with translation.override("en"):
        return str(CAUSE_TEXTS[cause][0]) % values


def chosen(response: HttpResponse) -> str | None:
    match = re.search(r'<option value="([^"]+)" selected>', response.content.decode())
    return match[1] if match else None


def test_a_right_request_is_called_right_and_its_key_chosen(sara: Person) -> None:
    key, query = key_of(sara), f"symbol=BTCIRT&timestamp={now()}"
    key_of(sara, "second")
    response = look(logged_in(sara), curl(key.key_id, query, sign(secret_of(key), query)))
    assert response.status_code == 200
    assert "This request is valid" in text_of(response)
    assert chosen(response) == str(key.pk)


def test_a_wrong_signature_is_named_and_the_right_one_not_shown(sara: Person) -> None:
    key, stamp = key_of(sara), now()
    query, ordered = f"symbol=BTCIRT&side=BUY&timestamp={stamp}", f"side=BUY&symbol=BTCIRT&timestamp={stamp}"
    secret = secret_of(key)
    response = look(logged_in(sara), curl(key.key_id, query, sign(secret, ordered)))
    assert headline(Cause.SORTED) in text_of(response)
    assert "-1022" in text_of(response)
    expected = sign(secret, query)
    assert expected[:8] not in response.content.decode()
    assert base64.b64encode(bytes.fromhex(expected)).decode()[:8] not in response.content.decode()


def test_the_secret_of_another_own_key_is_named(sara: Person) -> None:
    key, other, query = key_of(sara), key_of(sara, "second bot"), f"timestamp={now()}"
    response = look(logged_in(sara), curl(key.key_id, query, sign(secret_of(other), query)))
    assert "Your key “second bot”".lower() in text_of(response).lower()


def test_what_another_customers_key_signs_is_not_recognised(sara: Person) -> None:
    own, foreign, query = key_of(sara), key_of(customer()), f"timestamp={now()}"
    client = logged_in(sara)
    right = curl(foreign.key_id, query, sign(secret_of(foreign), query))
    response = look(client, right, key=str(own.pk))
    unknown = look(client, right.replace(foreign.key_id, "b" * 64), key=str(own.pk))
    assert headline(Cause.KEY_UNKNOWN) in text_of(response)
    assert headline(Cause.SIGNATURE_UNKNOWN) in text_of(response)
    assert "This request is valid" not in text_of(response)
    states = [re.findall(r"<li data-tone=\"(\w+)", page.content.decode()) for page in (response, unknown)]
    assert states[0] == states[1]
    rejected = look(client, right, key=str(foreign.pk))
    assert rejected.status_code == 200
    assert 'id="key-error"' in rejected.content.decode()
    assert 'id="result"' not in rejected.content.decode()


def test_only_finished_logins_get_in(sara: Person) -> None:
    for client in (browser(), half_logged_in(sara)):
        assert client.get(PAGE).status_code == 302
        assert client.post(PAGE, {"request": "x"}).status_code == 302
    assert logged_in(sara).get(PAGE).status_code == 200


def test_a_key_that_the_request_does_not_name_has_to_be_chosen(sara: Person) -> None:
    key, query = key_of(sara), f"timestamp={now()}"
    second = key_of(sara, "second")
    client, text = logged_in(sara), f"GET /api/v3/account?{query}&signature={sign(secret_of(key), query)}"
    response = look(client, text)
    assert 'id="key-error"' in response.content.decode()
    assert text in html.unescape(response.content.decode())
    assert headline(Cause.KEY_MISSING) in text_of(look(client, text, key=str(second.pk)))


def spellings(secret: str) -> list[str]:
    raw = secret.encode()
    return [secret, raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode(), f"secret={secret},"]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    "place", ["request", "body", "sent", "address", "key", "permission", "header", "query"]
)
def test_a_pasted_secret_is_not_shown_again_but_warned_of(sara: Person, number: int, place: str) -> None:
    key, query = key_of(sara), f"timestamp={now()}"
    secret = secret_of(key)
    spelling = spellings(secret)[number]
    text, fields = curl(key.key_id, query, "ab" * 32), {}
    if place == "request":
        text = f"{spelling}\n{text}"
    elif place == "header":
        text += f" -H 'X-SECRET: {spelling}'"
    elif place == "query":
        text = curl(key.key_id, f"secret={spelling}&{query}", "ab" * 32)
    else:
        fields = {place: spelling}
    response = look(logged_in(sara), text, **fields)
    page = response.content.decode()
    assert response.status_code == 200
    for spelling in spellings(secret):
        assert spelling not in page
    assert secret[:16] not in page
    assert "contains the secret of your key" in text_of(response)
    assert f'href="/keys/{key.pk}/"' in page


@pytest.mark.parametrize("disguise", ["quotes", "lines", "percent"])
def test_a_secret_in_disguise_takes_the_whole_paste_with_it(sara: Person, disguise: str) -> None:
    key = key_of(sara)
    secret = secret_of(key)
    hidden = {
        "quotes": f"{secret[:20]}''{secret[20:]}",
        "lines": f"{secret[:20]}\n{secret[20:]}",
        "percent": "".join(f"%{ord(char):02x}" for char in secret),
    }[disguise]
    response = look(
        logged_in(sara), f"curl https://api.example/x?secret={hidden} -H 'X-MBX-APIKEY: {key.key_id}'"
    )
    assert "contains the secret of your key" in text_of(response)
    assert 'id="result"' not in response.content.decode()
    assert secret[:16] not in response.content.decode()
    assert hidden[:20] not in response.content.decode()


def test_the_secret_sent_as_the_key_is_named(sara: Person) -> None:
    key, query = key_of(sara), f"timestamp={now()}"
    response = look(logged_in(sara), curl(secret_of(key), query, sign(key.key_id, query)))
    assert headline(Cause.KEY_IS_SECRET) in text_of(response)
    assert headline(Cause.KEY_AS_SECRET) not in text_of(response)
    assert secret_of(key) not in response.content.decode()


def test_nothing_of_it_is_kept(sara: Person, caplog: pytest.LogCaptureFixture) -> None:
    key, query = key_of(sara), f"note=canary&timestamp={now()}"
    client = logged_in(sara)
    before = AuditEvent.objects.count()
    look(client, curl(key.key_id, query, sign(secret_of(key), query)))
    key.refresh_from_db()
    assert (AuditEvent.objects.count(), key.last_used_at, key.skew_ms) == (before, None, None)
    assert not Refusal.objects.exists()
    assert not DailyUse.objects.exists()
    assert "canary" not in str(dict(client.session)) + caplog.text


def test_states_of_the_key_are_reported(sara: Person) -> None:
    key, query = key_of(sara), f"timestamp={now()}"
    client, text = logged_in(sara), curl(key.key_id, query, sign(secret_of(key), query))
    ApiKey.objects.filter(pk=key.pk).update(state=KeyState.FROZEN)
    assert headline(Cause.KEY_FROZEN) in text_of(look(client, text))
    ApiKey.objects.filter(pk=key.pk).update(state=KeyState.REVOKED, revoked_at=timezone.now())
    assert headline(Cause.KEY_REVOKED) in text_of(look(client, text))


def test_permission_and_address_are_judged_as_given(sara: Person) -> None:
    key, query = key_of(sara), f"timestamp={now()}"
    client, text = logged_in(sara), curl(key.key_id, query, sign(secret_of(key), query))
    assert headline(Cause.PERMISSION) in text_of(look(client, text, permission="trade"))
    key.apply(["read"], "trusted", ["198.51.100.9"])
    assert headline(Cause.ADDRESS_HERE) in text_of(look(client, text))
    assert headline(Cause.ADDRESS) in text_of(look(client, text, address="198.51.100.8"))
    assert "This request is valid" in text_of(look(client, text, address="198.51.100.9"))
    assert 'id="address-error"' in look(client, text, address="here").content.decode()


def test_the_moment_of_sending_is_what_the_clock_is_compared_with(sara: Person) -> None:
    key, stamp = key_of(sara), now() - 3_600_000
    query = f"timestamp={stamp}"
    client, text = logged_in(sara), curl(key.key_id, query, sign(secret_of(key), query))
    assert headline(Cause.TIMESTAMP_AGED) in text_of(look(client, text))
    assert "This request is valid" in text_of(look(client, text, sent=str(stamp + 120)))
    late = look(client, text, sent=str(stamp + 7_000))
    assert headline(Cause.TIMESTAMP_PAST) in text_of(late)
    assert "7000 ms behind" in text_of(late)
    dated = (timezone.now() - timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert "This request is valid" in text_of(look(client, f"{text} -H 'Date: {dated}'"))
    assert 'id="sent-error"' in look(client, text, sent="yesterday").content.decode()


def test_all_wrong_fields_are_reported_at_once(sara: Person) -> None:
    key_of(sara)
    page = look(logged_in(sara), "hello", sent="x", address="y", key="z", permission="w").content.decode()
    for name in ("request", "sent", "address", "key", "permission"):
        assert f'id="{name}-error"' in page


def test_what_was_typed_is_kept_except_too_much_of_it(sara: Person) -> None:
    key_of(sara)
    client = logged_in(sara)
    page = look(client, "hello <b>", body="a=1", sent="x", address="y").content.decode()
    assert all(
        f"{part}" in page for part in ("hello &lt;b&gt;", ">\na=1</textarea>", 'value="x"', 'value="y"')
    )
    long = look(client, "curl " + "q" * 16_400)
    assert "at most 16 kb" in text_of(long).lower()
    assert "q" * 100 not in long.content.decode()


def test_invisible_bytes_are_shown_as_signs(sara: Person) -> None:
    key = key_of(sara)
    page = look(
        logged_in(sara), f"POST /x\nX-MBX-APIKEY: {key.key_id}\n\na=é\tb c\nd&timestamp=1&signature=x"
    )
    for sign_shown in ("\\xC3\\xA9\\t", "␣", "\\n"):
        assert sign_shown in text_of(page)


def test_of_many_runs_of_signs_the_beginning_is_shown(sara: Person) -> None:
    """SECURITY: otherwise a page with alternating spaces and letters takes longer to render than the search."""
    key = key_of(sara)
    head = f"POST /x\nX-MBX-APIKEY: {key.key_id}\n\n"
    page = look(logged_in(sara), f"{head}{' ^' * 2_000}&timestamp=1&signature=x")
    assert page.content.decode().count('class="ctl"') < 5 * SHOWN_RUNS
    assert "Only the beginning is shown" in text_of(page)
    page = look(logged_in(sara), f"{head}{' ^' * 150}&timestamp=1&signature=x")
    assert text_of(page).count("␣^" * 150) >= 2


def test_the_rate_is_limited_per_customer(sara: Person) -> None:
    key_of(sara)
    client = logged_in(sara)
    for _n in range(Rate.DEBUGGER.value.count):
        assert look(client, "x").status_code == 200
    assert look(client, "x").status_code == 429
    assert look(logged_in(customer()), "x").status_code == 200
    assert client.get(PAGE).status_code == 200


def test_a_customer_without_keys_gets_a_hint(sara: Person) -> None:
    client = logged_in(sara)
    assert "no keys yet" in text_of(look(client, "x"))


@pytest.mark.parametrize("language", ["en", "fa"])
def test_every_cause_has_words_in_which_all_places_are_filled(language: str) -> None:
    assert set(CAUSE_TEXTS) == set(Cause)
    filled: dict[str, Any] = dict.fromkeys(
        ("name", "n", "ms", "byte", "method", "address", "permission", "sent", "signed", "value"), "x"
    )
    with translation.override(language):
        texts = [str(text) % filled for pair in CAUSE_TEXTS.values() for text in pair]
    assert all(text.strip() for text in texts)
    assert not [text for text in texts if "%(" in text]


TRICKS = [
    *(
        " -H 'X-MBX-APIKEY: KEY'",
        "X-MBX-APIKEY: KEY",
        "SECRET",
        "signature=",
        "&timestamp=1",
        "&recvWindow=9",
    ),
    *("%", "\n", "\n\n", "&", "#", "?", "\\\n", "^\n", "'", '"', " HTTP/1.1", "-d "),
]


class AnyPaste(TestCase):
    """No input causes a 5xx, or shows the secret or the correct signature."""

    person: Person
    key: ApiKey

    @classmethod
    def setUpTestData(cls) -> None:
        cls.person = customer()
        cls.key = key_of(cls.person)

    @settings(max_examples=times(60), suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        start=st.sampled_from(["curl ", "POST ", "GET /a?", "https://x/?", "", "curl $'", "> GET /"]),
        pieces=st.lists(
            st.one_of(
                st.text(max_size=30),
                st.sampled_from(TRICKS),
            ),
            max_size=12,
        ),
        sent=st.one_of(st.just(""), st.text(max_size=20)),
    )
    def test_any(self, start: str, pieces: list[str], sent: str) -> None:
        from django.core.cache import cache

        cache.clear()
        secret = secret_of(self.key)
        text = start + "".join(pieces).replace("KEY", self.key.key_id).replace("SECRET", secret)
        response = look(logged_in(self.person), text, sent=sent, key=str(self.key.pk))
        assert response.status_code == 200
        page = response.content.decode()
        assert secret[:16] not in page
        payload = getattr((getattr(response, "context", None) or {}).get("diagnosis"), "payload", None)
        if payload is not None:
            assert hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()[:16] not in page
