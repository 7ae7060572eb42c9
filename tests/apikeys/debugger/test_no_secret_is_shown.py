"""Neither the debugger's page nor its command shows a secret that was pasted, whatever the request contains.

And the two say the same about every paste.
"""

import base64
import html
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from apikeys.debugger import cli_report, request_parser
from apikeys.debugger.budget import PAGE
from apikeys.debugger.causes import Cause
from apikeys.debugger.session import DebuggerSession
from apikeys.models import ApiKey
from apikeys.policy.choices import KeyState
from tests.support.binance_client import BinanceClient
from tests.support.examples import times
from tests.support.people import Person, customer, key_of, logged_in, secret_of

pytestmark = pytest.mark.django_db
URL = "https://api.hitobit.example/api/v3/order"


def page_of(client: Client, request: str, **fields: str) -> Any:
    cache.clear()
    client.cookies["language"] = "en"
    return client.post("/debugger/", {"request": request, **fields})


def shown_by_page(response: Any) -> str:
    return html.unescape(response.content.decode())


def shown_by_command(request: str, body: str = "", key_id: str = "") -> str:
    try:
        document = cli_report.as_document(
            cli_report.explain(cli_report.ExplainRequest(request, body, key_id))
        )
    except cli_report.ExplainError as error:
        return str(error)
    return "\n".join([json.dumps(document, ensure_ascii=False), *cli_report.as_lines(document)])


def views(text: str) -> list[str]:
    """Return the readable text of a page: as it is, with escapes decoded, and letters and digits only."""
    views = [text]
    for _round in range(3):
        text = re.sub(r"%([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), text)
        text = re.sub(r"\\[xX]([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), text)
        text = re.sub(r"\\[uU]([0-9A-Fa-f]{4})", lambda m: chr(int(m[1], 16)), text)
        text = re.sub(r"&#([0-9]{2,3});", lambda m: chr(int(m[1])), text)
        views.append(text)
    return [re.sub(r"[^a-z0-9]", "", one.casefold()) for one in views]


def shows(text: str, secret: str) -> bool:
    """Return whether three quarters of it in a row can be read, in any spelling."""
    raw = secret.encode()
    spellings = [secret, raw.hex()]
    spellings += [base64.b64encode(b"x" * n + raw).decode()[2 * bool(n) : -4] for n in range(3)]
    read = views(text)
    return any(
        spelling.casefold()[at : at + len(spelling) * 3 // 4] in view
        for view in read
        for spelling in spellings
        for at in range(len(spelling) // 4 + 1)
    )


def bash(text: str) -> str:
    return "".join(f"\\x{ord(c):02x}" for c in text)


def percent(text: str) -> str:
    return "".join(f"%{ord(c):02x}" for c in text)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper": str.upper,
    "lower": str.lower,
    "swapped case": str.swapcase,
    "hex": lambda s: s.encode().hex(),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "basic": lambda s: "Basic " + base64.b64encode(f"user:{s}".encode()).decode(),
    "bash": lambda s: f"'$'{bash(s)}''",
    "percent": percent,
    "percent twice": lambda s: percent(s).replace("%", "%25"),
    "json": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "quoted": lambda s: f"{s[:20]}''{s[20:]}",
    "double quoted": lambda s: f'{s[:20]}""{s[20:]}',
    "joined lines": lambda s: f"{s[:30]}\\\n{s[30:]}",
    "joined lines of cmd": lambda s: f"{s[:30]}^\n{s[30:]}",
    "carets": lambda s: "^".join(s),
    "long": lambda s: s.replace("s", "\u017f").replace("k", "\u212a"),
    "half": lambda s: s[:50],
}
PLACES = (
    "curl -X '{}' '{URL}?timestamp=1&signature=0' -H 'X-MBX-APIKEY: {KEY}'",
    "curl -X {} {URL} -H 'X-MBX-APIKEY: {KEY}'",
    "curl -X $'{}' {URL} -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}?a={}&timestamp=1&signature=0' -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}/{}?timestamp=1&signature=0' -H 'X-MBX-APIKEY: {KEY}'",
    "curl 'https://{}.example/x?timestamp=1&signature=0' -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}?{}=1&timestamp=1&signature=0' -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}?timestamp=1&signature={}' -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}?timestamp={}&signature=0' -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}#{}' -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}' -d 'a={}&timestamp=1&signature=0' -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}' --data-urlencode 'a={}' -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}' -H '{}: 1' -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}' -H 'Authorization: {}' -H 'X-MBX-APIKEY: {KEY}'",
    "curl '{URL}?a=1' -H 'X-MBX-APIKEY: {}'",
    "{} /a?b=1 HTTP/1.1\nX-MBX-APIKEY: {KEY}",
    "GET /a?{}=1&{}=2&timestamp=1&signature=0\nX-MBX-APIKEY: {KEY}",
    "POST /a\nX-MBX-APIKEY: {KEY}\n\na={}&timestamp=1&signature=0",
    'POST /a\nX-MBX-APIKEY: {KEY}\n\n{{"secret": "{}"}}',
    "> GET /a?b={} HTTP/2\n> X-MBX-APIKEY: {KEY}\n",
    'curl ^"{URL}?a={}^" ^\n -H ^"X-MBX-APIKEY: {KEY}^"',
    "{}",
)


def placed(place: str, text: str, key_id: str) -> str:
    return (
        place.replace("{URL}", URL)
        .replace("{KEY}", key_id)
        .replace("{{", "{")
        .replace("}}", "}")
        .replace("{}", text)
    )


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_shown_by_neither_page_nor_command(spelling: str) -> None:
    sara = customer()
    key, other = key_of(sara), key_of(sara, "second")
    client = logged_in(sara)
    for number, place in enumerate(PLACES):
        secret = secret_of((key, other)[number % 2])
        text = placed(place, SPELLINGS[spelling](secret), key.key_id)
        assert not shows(shown_by_command(text, key_id=key.key_id), secret), place
        if (number + len(spelling)) % 4 == 0:  # they share all but the last step
            assert not shows(shown_by_page(page_of(client, text)), secret), place


def test_a_secret_as_a_hex_escaped_method_is_not_shown_in_upper_case() -> None:
    sara = customer()
    key = key_of(sara)
    secret = secret_of(key)
    text = f"curl -X $'{bash(secret)}' '{URL}?timestamp=1&signature=0' -H 'X-MBX-APIKEY: {key.key_id}'"
    for shown in (shown_by_page(page_of(logged_in(sara), text)), shown_by_command(text)):
        assert secret.upper() not in shown
        assert secret[:16].upper() not in shown
        assert secret[:16] not in shown
        assert "secret" in shown


def test_of_a_method_that_does_not_exist_ten_letters_are_shown() -> None:
    sara = customer()
    key = key_of(sara)
    text = f"curl -X AbcDefGhijKlm '{URL}?timestamp=1&signature=0' -H 'X-MBX-APIKEY: {key.key_id}'"
    for shown in (shown_by_page(page_of(logged_in(sara), text)), shown_by_command(text)):
        assert "AbcDefGhij" in shown
    assert "AbcDefGhijK" not in shown_by_command(text)
    assert request_parser.parse("curl -X get /a").method == "GET"
    assert request_parser.parse("curl -X PROPFIND /a").method == "PROPFIND"


@pytest.mark.parametrize("half", ["a={a}&b={b}", "a={b}&b={a}", "{a}=1&{b}=2", "b={b}&timestamp=1&a={a}"])
def test_a_secret_that_only_the_signed_text_puts_together_is_not_shown(half: str) -> None:
    """A client that signs the values without separators, or sorted."""
    sara = customer()
    key = key_of(sara)
    secret = secret_of(key)
    query = half.format(a=secret[:30], b=secret[30:])
    pieces = query.split("&")
    client = logged_in(sara)
    for signed in (
        "".join(piece.partition("=")[2] for piece in pieces),
        "".join(piece.replace("=", "") for piece in pieces),
        "&".join(sorted(pieces)),
        "&".join(pieces[::-1]),
    ):
        signature = BinanceClient(key.key_id, secret).signature(signed)
        text = f"curl '{URL}?{query}&signature={signature}' -H 'X-MBX-APIKEY: {key.key_id}'"
        assert not shows(shown_by_page(page_of(client, text)), secret)
        assert not shows(shown_by_command(text), secret)


def test_a_secret_that_only_curl_puts_together_is_not_shown() -> None:
    """`-G` moves data to the end of the URL, and a header may be at any place."""
    sara = customer()
    key = key_of(sara)
    secret = secret_of(key)
    text = f"curl -G -d '{secret[30:]}=1' -H 'X-MBX-APIKEY: {key.key_id}' '{URL}?{secret[:30]}'"
    assert request_parser.parse(text).query.decode().startswith(f"{secret[:30]}&{secret[30:]}")
    page = page_of(logged_in(sara), text)
    assert page.context["exposed_keys"] == [key]
    assert not shows(shown_by_page(page), secret)
    assert not shows(shown_by_command(text), secret)


class AnyPasteWithASecret(TestCase):
    """Whatever the pasted text contains, the result never shows a secret."""

    person: Person
    keys: list[ApiKey]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.person = customer()
        cls.keys = [key_of(cls.person, f"k{n}") for n in range(3)]

    @settings(max_examples=times(40), suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        place=st.sampled_from(PLACES),
        spelling=st.sampled_from(sorted(SPELLINGS)),
        again=st.sampled_from(sorted(SPELLINGS)),
        before=st.text("aA0%\\'\"&=? \n^`$", max_size=6),
        after=st.text("aA0%\\'\"&=? \n^`$", max_size=6),
        number=st.integers(0, 2),
        body=st.booleans(),
    )
    def test_any(
        self, place: str, spelling: str, again: str, before: str, after: str, number: int, body: bool
    ) -> None:
        secret = secret_of(self.keys[number])
        written = (
            SPELLINGS[again](SPELLINGS[spelling](secret)) if len(again) % 2 else SPELLINGS[spelling](secret)
        )
        text = placed(place, before + written + after, self.keys[0].key_id)
        fields = {"body": f"a={written}"} if body else {}
        response = page_of(logged_in(self.person), text, key=str(self.keys[0].pk), **fields)
        assert response.status_code == 200
        assert not shows(shown_by_page(response), secret), (text, fields)
        assert not shows(shown_by_command(text, fields.get("body", ""), self.keys[0].key_id), secret)


ODD = (
    "curl '{URL}?{QUERY}' -H 'X-MBX-APIKEY: \u200e{KEY}'",
    "curl '{URL}?{QUERY}' -H 'X-MBX-APIKEY: {KEY}\u200b'",
    "curl '{URL}?{QUERY}' -H 'X-MBX-APIKEY:  \"{KEY}\"'",
    "curl '{URL}?{QUERY}' -H 'X-MBX-APIKEY: <{KEY}>'",
    "curl '{URL}?{QUERY}' -H 'X-MBX-APIKEY: \ufeff{KEY}\u200f \u2066'",
    "curl '{URL}?{QUERY}' -H 'X-MBX-APIKEY: {KEY}' -H 'X-MBX-APIKEY: x'",
    "curl '{URL}?{QUERY}' -H 'x-mbx-apikey: {KEY}'",
    "curl '{URL}?{QUERY}' -H 'X-MBX-APIKEY: {KEY}x'",
    "curl '{URL}?{QUERY}' -H 'X-API-KEY: {KEY}'",
    "curl '{URL}?{QUERY}'",
    "curl '{URL}?{QUERY}' -H 'X-MBX-APIKEY: {SECRET}'",
    "curl '{URL}?{QUERY}&s={SECRET}' -H 'X-MBX-APIKEY: {KEY}'",
    "curl -X $'\\x47\\x45\\x54' '{URL}?{QUERY}' -H 'X-MBX-APIKEY: {KEY}'",
    "GET /api/v3/order?{QUERY}\nX-MBX-APIKEY: {KEY}",
    "GET /api/v3/order?{QUERY}\nX-MBX-APIKEY: {GONE}",
    "GET /api/v3/order?{QUERY}\nX-MBX-APIKEY: \u200e{GONE}",
    "GET /api/v3/order?{QUERY}\nX-MBX-APIKEY: {FOREIGN}",
    "GET /api/v3/order?{QUERY}\nX-MBX-APIKEY: {KEY}\nDate: Sun, 22 Nov 2026 10:08:51 GMT",
    "POST /x\nX-MBX-APIKEY: {KEY}\n\n{QUERY}",
    "hello",
    "curl",
    "",
)


@pytest.mark.parametrize("paste", ODD)
@pytest.mark.parametrize("chosen", [False, True])
def test_page_and_command_say_the_same_about_odd_pastes(paste: str, chosen: bool) -> None:
    sara, other = customer(), customer()
    key, second = key_of(sara), key_of(sara, "second")
    for number in range(12):  # more deleted keys than are loaded
        gone = key_of(sara, f"old {number}")
        gone.set_state(KeyState.REVOKED)
    oldest = ApiKey.objects.filter(owner=sara.user, state=KeyState.REVOKED).earliest("revoked_at")
    query = f"symbol=BTCIRT&timestamp={int(time.time() * 1000)}"
    text = paste
    for name, value in {
        "URL": URL,
        "QUERY": f"{query}&signature={BinanceClient(key.key_id, secret_of(key)).signature(query)}",
        "KEY": key.key_id,
        "SECRET": secret_of(key),
        "GONE": oldest.key_id,
        "FOREIGN": key_of(other).key_id,
    }.items():
        text = text.replace(f"{{{name}}}", value)
    at_ms = int(time.time() * 1000)  # the same for both, however long the first of them takes
    fields = {"sent": str(at_ms), **({"key": str(second.pk)} if chosen else {})}
    by_page = page_of(logged_in(sara), text, **fields).context
    try:
        by_command = cli_report.explain(
            cli_report.ExplainRequest(text, key_id=second.key_id if chosen else "", at_ms=at_ms)
        )
    except cli_report.ExplainError:
        by_command = None
    diagnosis = by_page.get("diagnosis") if by_page else None
    if "FOREIGN" in paste and not chosen:  # the command loads only that key's customer
        assert diagnosis is None
        return
    assert (diagnosis is None) == (by_command is None)
    if "GONE" in paste:
        assert by_page["key"] == oldest
    if diagnosis is None or by_command is None:
        return
    assert by_page["key"] == by_command.key
    assert bool(by_page["exposed_keys"]) == by_command.has_secret
    for name in ("causes", "hints", "payload", "signed"):
        assert getattr(diagnosis, name) == getattr(by_command.diagnosis, name), name
    assert [check.state for check in diagnosis.checks] == [
        check.state for check in by_command.diagnosis.checks
    ]


def test_an_invisible_character_in_the_key_header_is_named_by_both() -> None:
    sara = customer()
    key = key_of(sara)
    key_of(sara, "second")
    query = f"timestamp={int(time.time() * 1000)}"
    signature = BinanceClient(key.key_id, secret_of(key)).signature(query)
    text = f"curl '{URL}?{query}&signature={signature}' -H 'X-MBX-APIKEY: \u200e{key.key_id}'"
    context = page_of(logged_in(sara), text).context
    assert [cause.cause for cause in context["diagnosis"].causes] == [Cause.KEY_INVISIBLE]
    explanation = cli_report.explain(cli_report.ExplainRequest(text))
    assert (explanation.key, [cause.cause for cause in explanation.diagnosis.causes]) == (
        key,
        [Cause.KEY_INVISIBLE],
    )


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (f"GET /a?x={'A' * 7000}{'%41' * 100}&timestamp=1&signature=0", "A" * 8000),
        ("POST /a\n" + "a:\n" * 5_000, ""),
        ("POST /a\n\n" + "%2541" * 3_000, ""),
        ("POST /a\n\n" + "a&" * 7_000 + "timestamp=1&signature=0", ""),
        ("POST /a\n\n" + "&".join(f"{n}=%41" for n in range(490)) + f"&timestamp=1&signature={'0' * 64}", ""),
        ("curl $'" + "\\x41" * 4_000, ""),
    ],
    ids=range(6),
)
def test_a_paste_costs_no_more_than_the_budget_with_all_keys(text: str, body: str) -> None:
    """Counted, not timed: python -m bench.debugger measures the time of the counted work."""
    sara = customer()
    for number in range(30):
        key = key_of(sara, f"k{number}")
    session = DebuggerSession(sara.user)
    typed, _exposed_keys = session.mask({"request": text, "body": body})
    try:
        request = request_parser.parse(typed["request"], typed["body"])
    except request_parser.UnreadableError:
        request = None
    session.find_unmasked(typed.values(), request)
    assert session.budget.spent <= PAGE // 2  # the share of the search for secrets
    response = page_of(logged_in(sara), text, body=body, key=str(key.pk))
    assert response.status_code == 200
