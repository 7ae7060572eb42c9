"""The audit trail in Django admin: filters, streamed export, no changes, and the roles that may read it."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import audit
from accounts.choices.events import Event
from accounts.models import AuditEvent, User
from accounts.staff import export
from accounts.staff.forms import end_of
from accounts.staff.opaque_ids import AccountId, EventId
from apikeys.policy.events import KeyEvent
from tests.support.people import Person, browser, customer, logged_in
from tests.support.staff import EVENTS, events, page_of_event, staff_browser, staff_member

pytestmark = pytest.mark.django_db


@pytest.fixture
def sara() -> Person:
    return customer(name="Sara")


@pytest.fixture
def trail(sara: Person) -> dict[str, AuditEvent]:
    """Create four events of three users: one by staff, one old, one from an address."""
    ali, agent = customer(name="Ali"), staff_member("support")
    request = browser("198.51.100.9").get("/login/").wsgi_request
    made = {
        "login": audit.record(Event.LOGIN, request, customer=ali.user),
        "frozen": audit.record(
            Event.ACCOUNT_FROZEN, None, customer=sara.user, actor=agent.user, reason="=SUM(1)"
        ),
        "made": audit.record(
            KeyEvent.CREATED, None, customer=sara.user, target="5f3e1d2c-0000-4000-8000-000000000000"
        ),
        "chief": audit.record(Event.LOGIN, None, customer=staff_member("chief").user),
    }
    return {**made, "people": (sara.user, ali.user, agent.user)}  # type: ignore[dict-item]


def shown(client: Client, **filters: Any) -> set[str]:
    """Return the kinds of the listed events, without page views; ``filters`` as typed."""
    response: Any = client.post(EVENTS, filters, follow=True)
    assert response.status_code == 200
    return {row.event.event for row in response.context_data["events"]} - {"staff.viewed", "staff.searched"}


@pytest.mark.parametrize(("role", "status"), [("support", 403), ("security", 200), ("auditor", 200)])
def test_who_reads_the_trail(role: str, status: int, trail: dict[str, Any]) -> None:
    client = staff_browser(role)
    assert client.get(EVENTS).status_code == status
    assert client.get(page_of_event(trail["frozen"])).status_code == status


@pytest.mark.parametrize("role", ["support", "security", "auditor", "chief"])
def test_only_auditors_export(role: str, trail: dict[str, Any]) -> None:
    response = staff_browser(role).post(f"{EVENTS}export/", {"format": "csv"})
    assert response.status_code == (200 if role in ("auditor", "chief") else 403)


def test_filters(trail: dict[str, Any]) -> None:
    sara, ali, agent = trail["people"]
    client = staff_browser("auditor")
    today = timezone.localdate()
    old = today - timedelta(days=2)
    assert shown(client, event="login") == {"login"}
    assert shown(client, whom=sara.pk) == {"account.frozen", "key.created"}
    assert shown(client, who=agent.pk) == {"account.frozen"}
    assert shown(client, who=sara.phone) == {"key.created"}
    assert shown(client, address="198.51.100.9", whom=ali.pk) == {"login"}
    assert shown(client, target=trail["made"].target) == {"key.created"}
    assert shown(client, first=today, whom=sara.pk) == {"account.frozen", "key.created"}
    assert shown(client, last=old) == set()
    assert shown(client, whom="09120000000") == set()


def test_last_day_leaves_out_no_event_whose_id_and_time_disagree(sara: Person) -> None:
    """Two processes record at the same time, and one of them is slow."""
    day = timezone.localdate() - timedelta(days=9)
    end = end_of(day)
    for kind, minutes in (
        (Event.LOGIN, 30),
        (Event.LOGOUT, -20),
        (Event.ACCOUNT_FROZEN, 90),
        (Event.ACCOUNT_THAWED, 91),
    ):
        AuditEvent(at=end + timedelta(minutes=minutes), event=kind.value, customer=sara.user).save()

    assert shown(staff_browser("auditor"), last=day) == {"logout"}
    assert shown(staff_browser("auditor"), last=day + timedelta(days=1)) == {
        "login", "logout", "account.frozen", "account.thawed"
    }  # fmt: skip


@pytest.mark.parametrize(
    "filters",
    [
        {"first": "2026-13-01"},
        {"first": "2026-01-02", "last": "2026-01-01"},
        {"whom": "x"},
        {"address": "x"},
        {"event": "x"},
        {"target": "\x00"},
        {"last": "9999-12-31", "first": "9999-12-31"},
    ],
)
def test_filters_that_make_no_sense_show_nothing(filters: dict[str, str], trail: dict[str, Any]) -> None:
    assert shown(staff_browser("auditor"), **filters) == set()


def test_phone_of_a_filter_never_gets_into_an_address(trail: dict[str, Any]) -> None:
    sara = trail["people"][0]
    response = staff_browser("auditor").post(EVENTS, {"whom": f"0{sara.phone[3:]}", "event": "key.created"})
    assert response.status_code == 302
    assert sara.phone[3:] not in response["Location"]
    assert response["Location"] == f"{EVENTS}?event=key.created&whom={AccountId.hide(sara.pk)}"


def test_pages_go_back_in_time_without_gaps(sara: Person) -> None:
    for _n in range(60):
        audit.record(Event.LOGIN, None, customer=sara.user)
    client: Any = staff_browser("auditor")
    first = client.get(EVENTS, {"event": "login"})
    second = client.get(f"{EVENTS}?{first.context_data['older']}")
    ids = [row.event.pk for page in (first, second) for row in page.context_data["events"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == AuditEvent.objects.filter(event="login").count()


def test_security_does_not_read_of_colleagues(trail: dict[str, Any]) -> None:
    client: Any = staff_browser("security")
    assert trail["chief"].pk not in [r.event.pk for r in client.get(EVENTS).context_data["events"]]
    assert client.get(page_of_event(trail["chief"])).status_code == 404
    assert staff_browser("auditor").get(page_of_event(trail["chief"])).status_code == 200


def exported(client: Any, kind: str, **filters: object) -> str:
    response = client.post(f"{EVENTS}export/", {"format": kind, **filters})
    assert response.status_code == 200
    assert response.streaming
    return b"".join(response.streaming_content).decode()


def test_export_is_the_filtered_set_as_lines_of_json(trail: dict[str, Any]) -> None:
    sara = trail["people"][0]
    lines = [
        json.loads(line) for line in exported(staff_browser("auditor"), "jsonl", whom=sara.pk).splitlines()
    ]
    assert [line["id"] for line in lines] == [trail["frozen"].pk, trail["made"].pk]
    assert lines[0]["detail"] == {"reason": "=SUM(1)"}
    assert sara.phone not in json.dumps(lines)
    assert [line["external_id"] for line in lines] == [None, None]
    User.objects.filter(pk=sara.pk).update(external_id="ext-7")
    again = exported(staff_browser("auditor"), "jsonl", whom=sara.pk).splitlines()
    assert {json.loads(line)["external_id"] for line in again} == {"ext-7"}


def test_export_as_csv_is_text_to_spreadsheets(trail: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(staff_browser("auditor"), "csv").removeprefix("\ufeff"))))
    assert tuple(rows[0]) == export.COLUMNS
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_export_is_an_event_with_its_filters(trail: dict[str, Any]) -> None:
    auditor = staff_member("auditor")
    exported(logged_in(auditor), "csv", event="login")
    (left,) = events("staff.exported")
    assert (left.actor, left.customer) == (auditor.user, None)
    assert left.detail == {"format": "csv", "filters": {"event": "login"}}


@pytest.mark.parametrize("fields", [{"format": "xls"}, {}, {"format": "csv", "whom": "x"}])
def test_export_that_makes_no_sense_is_refused(fields: dict[str, str]) -> None:
    client = staff_browser("auditor")
    assert client.post(f"{EVENTS}export/", fields).status_code == 400
    assert client.get(f"{EVENTS}export/").status_code == 405
    assert events("staff.exported") == []


def test_reading_the_trail_is_an_event_once_a_minute(trail: dict[str, Any]) -> None:
    client = staff_browser("auditor")
    for _n in range(3):
        shown(client)
        shown(client, event="login")
    assert (len(events("staff.viewed")), len(events("staff.searched"))) == (1, 1)
    assert events("staff.searched")[0].detail["filters"] == {"event": "login"}


def test_events_are_not_added_edited_or_deleted(trail: dict[str, Any]) -> None:
    before = list(AuditEvent.objects.values())
    client = staff_browser("chief")
    page = page_of_event(trail["made"])
    for path in (f"{EVENTS}add/", page, page.replace("change", "delete")):
        client.post(path, {"event": "login", "post": "yes"})
    chosen = [trail["made"].pk, EventId.hide(trail["made"].pk)]
    client.post(EVENTS, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})
    assert list(AuditEvent.objects.filter(pk__lte=before[0]["id"]).values()) == before
