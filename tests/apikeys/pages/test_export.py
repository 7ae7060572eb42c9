"""The export of keys and events: only one's own, complete, without secrets and spreadsheet formulas."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEvent, RecoveryCode
from apikeys.models import ApiKey, Credential
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.usage import export
from hitobit_portal import csv_export
from hitobit_portal.security.ratelimits import Rate
from tests.support import people, sms_collector
from tests.support.people import (
    ADDRESS,
    Person,
    both_codes,
    customer,
    key_of,
    logged_in,
    made_just_now,
    secret_of,
)

pytestmark = pytest.mark.django_db
FILES = [(what, kind) for what in ("keys", "events") for kind in ("csv", "json")]


@pytest.fixture
def sara() -> Person:
    return customer(name="Sara")


def download(person: Person, what: str, kind: str) -> str:
    answer = logged_in(person).post("/keys/export/", {"what": what, "format": kind})
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith(f'attachment; filename="hitobit-{what}-')
    assert answer["Content-Disposition"].endswith(f'.{kind}"')
    return answer.getvalue().decode()


def cells(text: str) -> list[list[str]]:
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def event(person: Person, kind: KeyEvent = KeyEvent.CREATED, **fields: Any) -> AuditEvent:
    return AuditEvent.objects.create(event=kind.value, customer=person.user, actor=person.user, **fields)


def test_keys_are_exported_with_permissions_networks_state_and_dates(sara: Person) -> None:
    ends = timezone.now() + timedelta(days=9)
    key_of(sara, "old").set_state(KeyState.REVOKED)
    key = key_of(sara, "ربات")
    key.apply(["read", "withdraw"], "trusted", [ADDRESS, "2001:db8::/48"], ends)
    new, old = json.loads(download(sara, "keys", "json"))
    assert (old["name"], old["state"], bool(old["deleted_at"])) == ("old", "revoked", True)
    assert list(new) == list(export.KEY_COLUMNS)
    assert (new["id"], new["api_key"], new["name"]) == (str(key.pk), key.key_id, "ربات")
    assert new["permissions"] == ["read", "withdraw"]
    assert new["networks"] == [ADDRESS, "2001:db8::/48"]
    assert new["expires_at"] == ends.isoformat(timespec="seconds")
    head, row, _old = cells(download(sara, "keys", "csv"))
    assert head == list(export.KEY_COLUMNS)
    assert dict(zip(head, row, strict=True))["networks"] == f"{ADDRESS} 2001:db8::/48"


def test_events_are_exported_as_the_activities_show_them(sara: Person) -> None:
    event(sara, KeyEvent.CHANGED, label="bot", address=ADDRESS, agent=people.BROWSER,
          detail={"changes": ["+trade"], "inner": "not shown"}, request_id="abc")  # fmt: skip
    exported, changed = json.loads(download(sara, "events", "json"))
    assert exported["event"] == "key.exported"
    assert list(changed) == list(export.EVENT_COLUMNS)
    assert (changed["event"], changed["ip"], changed["device"]) == ("key.changed", ADDRESS, "Firefox, Linux")
    assert "bot" in changed["what"]
    assert changed["detail"]
    assert "not shown" not in str(changed)


def test_words_are_in_the_language_of_the_visitor_while_they_are_streamed(sara: Person) -> None:
    event(sara)
    client = logged_in(sara)
    titles = {}
    for language in ("fa", "en"):
        client.cookies["language"] = language
        answer = client.post("/keys/export/", {"what": "events", "format": "json"})
        titles[language] = json.loads(answer.getvalue())[-1]["what"]
    assert titles["en"] == "API key created"
    assert titles["fa"] != titles["en"]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_nothing_to_export_is_still_a_file(sara: Person, kind: str) -> None:
    text = download(sara, "keys", kind)
    assert (cells(text)[1:] if kind == "csv" else json.loads(text)) == []


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_no_cell_is_a_formula(start: str) -> None:
    assert csv_export.harmless(f"{start}cmd|' /C calc'!A1") == f"'{start}cmd|' /C calc'!A1"
    assert list(export.as_csv(("a",), [{"a": [f"{start}1"]}]))[1].startswith(f"\"'{start}1")


def test_a_name_that_is_a_formula_arrives_as_text_and_in_json_as_it_is(sara: Person) -> None:
    name = '=HYPERLINK("bot")'
    key_of(sara, name)
    event(sara, label=name, agent="=1+1")
    head, row = cells(download(sara, "keys", "csv"))
    assert dict(zip(head, row, strict=True))["name"] == f"'{name}"
    for row in cells(download(sara, "events", "csv")):
        assert not any(cell.startswith(csv_export.FORMULA) for cell in row)
    assert json.loads(download(sara, "keys", "json"))[0]["name"] == name


@pytest.mark.parametrize(("what", "kind"), FILES)
def test_no_secret_and_nobody_elses_row_is_in_a_file(
    what: str, kind: str, sara: Person, settings: Any
) -> None:
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    sms_collector.reset()
    person = people.with_password(sara)
    codes = people.recovery_codes(person)
    client = logged_in(person)
    client.post("/keys/", {"name": "through the pages"})
    client.post("/keys/new/verify/", both_codes(person))
    key = ApiKey.objects.get()
    shown = made_just_now(client, key).get(f"/keys/{key.pk}/").content.decode()
    assert secret_of(key) in shown
    nima = customer(name="Nima")
    key_of(nima, "the key of Nima")
    event(nima, label="the event of Nima", address="198.51.100.99")
    text = download(person, what, kind)
    person.user.refresh_from_db()
    sealed = Credential.objects.get(key=key)
    totp = person.user.totp
    watched = [
        secret_of(key), sealed.sealed, str(sealed.serial), person.seed, totp.seed_sealed, person.password,
        person.user.password, sms_collector.newest().code, *codes, "Nima", "198.51.100.99", nima.user.phone,
        *RecoveryCode.objects.values_list("digest", flat=True),
    ]  # fmt: skip
    assert "through the pages" in text
    assert [value for value in watched if value in text] == []


def test_each_file_leaves_an_event_and_visits_none(sara: Person) -> None:
    client = logged_in(sara)
    assert client.get("/keys/export/").status_code == client.head("/keys/export/").status_code == 200
    assert client.get("/keys/export/?what=keys&format=csv")["Content-Type"].startswith("text/html")
    assert client.post("/keys/export/", {"what": "keys", "format": "exe"}).status_code == 200
    assert not AuditEvent.objects.exists()
    for what, kind in FILES:
        download(sara, what, kind)
    events = AuditEvent.objects.filter(event=KeyEvent.EXPORTED.value)
    assert [(e.detail["what"], e.detail["format"]) for e in events.order_by("pk")] == FILES


def test_visitors_without_a_login_get_nothing() -> None:
    answer = people.browser().post("/keys/export/", {"what": "keys", "format": "csv"})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/login/")


def test_exports_are_limited(sara: Person) -> None:
    client = logged_in(sara)
    for _n in range(Rate.EXPORT_ACCOUNT.value.count):
        client.post("/keys/export/", {"what": "keys", "format": "csv"})
    answer = client.post("/keys/export/", {"what": "keys", "format": "csv"})
    assert answer["Location"] == "/keys/export/"
    assert AuditEvent.objects.count() == Rate.EXPORT_ACCOUNT.value.count


def test_a_file_is_bounded_and_costs_few_statements(sara: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_ROWS", 20)
    for n in range(30):
        key_of(sara, f"key {n}").apply(["read"], "trusted", [ADDRESS])
    with CaptureQueriesContext(connection) as captured:
        assert sum(1 for _row in export.keys_of(sara.user)) == 20
    assert len(captured) <= 4


def test_pages_of_keys_and_activities_lead_to_the_export(sara: Person) -> None:
    client = logged_in(sara)
    assert 'href="/keys/export/"' not in client.get("/keys/").content.decode(), "there is nothing to export"
    key_of(sara, "bot")
    for page in ("/keys/", "/activity/"):
        assert 'href="/keys/export/"' in client.get(page).content.decode()
