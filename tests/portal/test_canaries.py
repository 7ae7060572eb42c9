"""Secrets watched through the whole life of a customer: they stand in no log, row, event, session or error page."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.test import Client

from accounts.models import AuditEvent
from apikeys.models import ApiKey
from hitobit_portal.http.middleware import FaultMiddleware
from tests.apikeys.client_api.test_client_api import RESTRICTIONS, stamp
from tests.support import sms_collector
from tests.support.binance_client import BinanceClient
from tests.support.gateways import token
from tests.support.people import Person, browser, newcomer

pytestmark = pytest.mark.django_db
TEXT = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")


class Recorder(logging.Handler):
    """Keeps every record with its arguments and its traceback, as the most talkative of formatters would."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: value for name, value in record.__dict__.items() if name != "request"}
        self.lines.append(f"{TEXT.format(record)} {extra!r}")


@dataclass
class Life:
    """What a customer's life left behind: ``watched`` by name, and the texts in which none of it may stand."""

    watched: dict[str, set[str]] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)
    error_pages: list[str] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)

    def watch(self, name: str, *values: str) -> None:
        self.watched.setdefault(name, set()).update(values)

    def found_in(self, text: str, *names: str) -> list[str]:
        """Which of the watched stand in ``text``; a code only where it is not a part of a longer number."""
        return [
            name
            for name in names or self.watched
            for value in self.watched[name]
            if re.search(rf"(?<![0-9A-Za-z.]){re.escape(value)}(?![0-9A-Za-z])", text)
        ]


@pytest.fixture
def _logged(settings: Any) -> Iterator[list[str]]:
    """All logging of the process as with PORTAL_LOG_LEVEL=DEBUG."""
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    sms_collector.reset()
    root, recorder = logging.getLogger(), Recorder()
    before = root.level
    root.addHandler(recorder)
    root.setLevel(logging.DEBUG)
    yield recorder.lines
    root.removeHandler(recorder)
    root.setLevel(before)


@pytest.fixture
def life(_logged: list[str]) -> Life:
    life = Life(logs=_logged)
    person, client = enrol(life)
    key, secret = make_key(life, person, client)
    use(life, key, secret)
    fail(life, person, client, key)
    life.cookies += [f"{name}={morsel.value}" for name, morsel in client.cookies.items()]
    return life


def note_session(life: Life, client: Client) -> None:
    life.watch("session id", client.cookies["__Host-session"].value)


def sms_code(life: Life, purpose: str) -> str:
    code = sms_collector.newest(purpose).code
    life.watch("sms code", code)
    return code


def enrol(life: Life) -> tuple[Person, Client]:
    """A wrong password, the right one, both factors, the recovery codes, logout, and a login with each factor."""
    new, client = newcomer(password="canary of a password"), browser()
    life.watch("password", new.password, "canary that was wrong")
    client.post("/login/", {"phone": new.user.phone, "password": "canary that was wrong"})
    client.post("/login/", {"phone": new.user.phone, "password": new.password})
    note_session(life, client)
    client.get("/enrol/sms/")
    client.post("/enrol/sms/", {"code": sms_code(life, "enrol.sms")})
    person = Person(new.user, new.password, client.get("/enrol/totp/").context["secret"])
    life.watch("seed", person.seed, " ".join(person.seed[i : i + 4] for i in range(0, 32, 4)))
    life.watch("totp code", person.totp(), person.wrong_totp())
    client.post("/enrol/totp/", {"code": person.wrong_totp()})
    client.post("/enrol/totp/", {"code": person.totp()})
    codes = client.get("/enrol/recovery-codes/").context["codes"]
    life.watch("recovery code", *codes, *(code.replace("-", "") for code in codes))
    client.post("/enrol/recovery-codes/")
    note_session(life, client)
    client.post("/logout/")
    client.post("/login/", {"phone": new.user.phone, "password": new.password})
    client.post("/login/second-factor/?method=recovery", {"code": codes[0]})
    note_session(life, client)
    assert client.get("/dashboard/").status_code == 200
    return person, client


def both(life: Life, person: Person, purpose: str) -> dict[str, str]:
    totp = person.fresh_totp()
    life.watch("totp code", totp)
    return {"sms_code": sms_code(life, purpose), "totp_code": totp}


def make_key(life: Life, person: Person, client: Client) -> tuple[ApiKey, str]:
    client.post("/keys/", {"name": "canary"})
    answer = client.post("/keys/new/verify/", both(life, person, "key.create"))
    page = client.get(answer["Location"])
    result = re.search(r'id="api-secret"[^>]*>([A-Za-z0-9]{64})<', page.content.decode())
    assert result, "the secret is not shown"
    life.watch("secret", result[1])
    key = ApiKey.objects.get()
    settings = {"permissions": ["read"], "ip_policy": "unrestricted", "network": "", "save": "1"}
    client.post(f"/keys/{key.pk}/", settings)
    client.post(f"/keys/{key.pk}/", {**settings, "permissions": ["read", "trade"]})
    client.post(f"/keys/{key.pk}/verify/", both(life, person, "key.change"))
    assert ApiKey.objects.get().can_trade
    return key, result[1]


def use(life: Life, key: ApiKey, secret: str) -> None:
    for signer in (secret, "w" * 64):
        call = BinanceClient(key.key_id, signer).call("GET", RESTRICTIONS, [("timestamp", stamp())])
        browser().get(f"{RESTRICTIONS}?{call.query.decode()}", headers=call.headers)
    assert ApiKey.objects.get().last_used_at is not None


def fail(life: Life, person: Person, client: Client, key: ApiKey) -> None:
    """The server breaks while it holds each secret in its hands; the database with a message that repeats one."""
    more = {"permissions": ["read"], "ip_policy": "trusted", "network": "203.0.113.7", "save": "1"}
    client.post(f"/keys/{key.pk}/", more)
    client.post(f"/keys/{key.pk}/", {**more, "permissions": ["read", "withdraw"]})
    codes = both(life, person, "key.change")
    leaking = OperationalError(f"failed with parameters {codes}")
    for error in (RuntimeError("a fault of the program"), leaking):
        with mock.patch("apikeys.pages.confirm.apply_change", side_effect=error):
            answer = client.post(f"/keys/{key.pk}/verify/", codes)
        life.error_pages.append(answer.content.decode())
        assert answer.status_code == (503 if error is leaking else 500)
    client.post("/keys/", {"name": "second"})
    answer = client.post("/keys/new/verify/", both(life, person, "key.create"))
    with mock.patch(
        "apikeys.pages.key_settings._page", side_effect=RuntimeError("after the secret was opened")
    ) as page:
        broken = client.get(answer["Location"])
    life.watch("secret", page.call_args.kwargs["secret"])
    life.error_pages.append(broken.content.decode())
    assert broken.status_code == 500
    assert OperationalError in FaultMiddleware.FAULTS


def dump() -> str:
    """Every row of every table as text, and what the sessions hold in clear."""
    rows: list[str] = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            rows += [f"{table} {row!r}" for row in cursor.fetchall()]
    rows += [repr(session.get_decoded()) for session in Session.objects.all()]
    return "\n".join(rows)


def test_life_was_lived_and_the_search_would_find_something(life: Life) -> None:
    """A test that cannot fail proves nothing: every secret is known, and what may stand there is found."""
    assert set(life.watched) == {
        "password",
        "sms code",
        "seed",
        "totp code",
        "recovery code",
        "secret",
        "session id",
    }
    assert all(all(len(value) >= 6 for value in values) for values in life.watched.values())
    assert len(life.watched["secret"]) == 2
    assert len(life.error_pages) == 3
    for name, values in life.watched.items():
        for value in values:
            assert life.found_in(f"x ('{value}', 1)", name) == [name]
    assert ApiKey.objects.first().key_id in dump()  # type: ignore[union-attr]


def test_no_secret_stands_in_any_log(life: Life) -> None:
    text = "\n".join(life.logs)
    assert "a fault of the program" in text, "the log was not recorded"
    assert life.found_in(text) == []


def test_no_secret_stands_in_the_database_or_a_session(life: Life) -> None:
    text = dump()
    assert "accounts_totpdevice" in text
    assert "apikeys_credential" in text
    assert life.found_in(text, "password", "sms code", "seed", "totp code", "recovery code", "secret") == []


def test_no_secret_stands_in_the_audit_trail(life: Life) -> None:
    text = "\n".join(repr(row) for row in AuditEvent.objects.values())
    assert AuditEvent.objects.count() > 15
    assert life.found_in(text) == []


def test_no_secret_stands_on_an_error_page(life: Life) -> None:
    assert [life.found_in(page) for page in life.error_pages] == [[], [], []]


def test_no_secret_stands_in_the_metrics(life: Life) -> None:
    text = Client(headers={"authorization": f"Bearer {token()}"}).get("/metrics").content.decode()
    assert "portal_logins_total" in text
    assert life.found_in(text) == []


def test_no_secret_stands_in_a_cookie(life: Life) -> None:
    names = ("password", "sms code", "seed", "totp code", "recovery code", "secret")
    assert life.found_in("\n".join(life.cookies), *names) == []
