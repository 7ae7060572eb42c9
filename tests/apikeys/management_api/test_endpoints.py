"""The management API: who may call it, what it answers, and what each call leaves in the trail."""

import json
import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit
from accounts.audit import chain
from accounts.choices.events import Event
from accounts.models import AuditEvent, AuditHead, LoginSession, Notice, SmsDelivery, User, WebhookDelivery
from accounts.webhooks import endpoints as webhooks
from apikeys.management_api import endpoints
from apikeys.management_api.scopes import Scope
from apikeys.management_api.urls import DOCUMENT, RESOURCES
from apikeys.models import ApiKey, IdempotentAnswer, ManagementToken
from apikeys.policy.choices import KeyState
from hitobit_portal.security import ratelimits
from tests.apikeys.management_api.calls import Office, problem, token
from tests.support import people
from tests.support.people import ADDRESS, customer, key_of, logged_in
from tests.support.production import ROOT

pytestmark = pytest.mark.django_db
STOP = {"reason": "lost phone"}
NO_KEY = uuid.UUID(int=0)


@pytest.fixture
def office() -> Office:
    return Office(token())


def document(response: Any) -> Any:
    assert response.status_code in (200, 201), response.content
    return json.loads(response.content)


def called() -> list[tuple[str, str, int]]:
    rows = AuditEvent.objects.filter(event="management.called").order_by("pk")
    return [(row.label, row.detail["path"], row.detail["status"]) for row in rows]


def test_only_a_live_token_from_its_networks_is_let_in() -> None:
    text = token(networks=("203.0.113.0/24",))
    assert Office(text, "203.0.113.200").get("/users").status_code == 200
    answers: list[Any] = [
        Office(text, "198.51.100.1").get("/users"),
        Office("hbmg_other").get("/users"),
        Office(token(name="nowhere", networks=())).get("/users"),
        people.browser().get("/manage/v1/users"),
    ]
    row = ManagementToken.objects.get(name="back-office")
    row.expires_at = timezone.now() - timedelta(seconds=1)
    row.save()
    answers.append(Office(text, "203.0.113.200").get("/users"))
    row.expires_at, row.revoked_at = timezone.now() + timedelta(days=1), timezone.now()
    row.save()
    answers.append(Office(text, "203.0.113.200").get("/users"))
    assert {(answer.status_code, answer.content) for answer in answers} == {(401, answers[0].content)}
    assert text not in AuditEvent.objects.filter(label="back-office").values_list("detail", flat=True)


def test_each_endpoint_needs_its_scope() -> None:
    for scope in Scope:
        office = Office(token(scope, name=scope.value))
        for path, operations in RESOURCES.items():
            place = path.format(user_id=10**9, key_id=NO_KEY, request_id=10**9, webhook_id=NO_KEY)
            for operation in operations:
                arguments: list[Any] = [{}] if operation.method == "POST" else []
                answer = getattr(office, operation.method.lower())(place, *arguments)
                is_refused = answer.status_code == 403
                assert is_refused is (operation.scope not in (None, scope)), (scope, path, answer.content)


def test_every_call_is_an_event_with_the_tokens_name(office: Office) -> None:
    office.get("/users")
    office.get(f"/keys/{NO_KEY}")
    office.post("/users", {"phone": "x"})
    office.client.delete("/manage/v1/users", headers=office.headers)
    Office(token(Scope.SMS_READ, name="sms")).get("/keys")
    assert called() == [
        ("back-office", "/users", 200), ("back-office", "/keys/{key_id}", 404), ("back-office", "/users", 400),
        ("back-office", "/users", 405), ("sms", "/keys", 403),
    ]  # fmt: skip
    event = AuditEvent.objects.filter(event="management.called").first()
    assert event is not None
    assert (event.address, event.customer, event.actor) == (ADDRESS, None, None)
    assert ManagementToken.objects.get(name="back-office").last_used_at is not None


def test_created_user_has_no_way_in_and_no_factor(office: Office) -> None:
    body = {"external_id": "c-1", "phone": "۰۹۳۵ ۰۰۰ ۰۰۰۱", "name": "سارا", "language": "fa"}
    made = document(office.post("/users", body))
    assert (made["external_id"], made["has_both_factors"], made["is_active"]) == ("c-1", False, True)
    assert "9350000001" not in json.dumps(made)
    user = User.objects.get(pk=made["id"])
    assert (user.phone, user.has_usable_password()) == ("+989350000001", False)
    assert document(office.get(f"/users/{user.pk}")) == made
    assert document(office.get("/users?external_id=c-1"))["items"] == [made]
    for again in ({**body, "phone": "09350000002"}, {**body, "external_id": "c-2"}):
        assert problem(office.post("/users", again)) == "exists"
    assert AuditEvent.objects.get(event="users.created").detail == {"via": "api", "token": "back-office"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"external_id": "c-1"}, "phone"),
        ({"phone": "09350000001"}, "external_id"),
        ({"external_id": "c-1", "phone": "02188887777"}, "body"),
        ({"external_id": 7, "phone": "09350000001"}, "body"),
        ({"external_id": "c-1", "phone": "09350000001", "totp_secret": "JBSWY3DPEHPK3PXP"}, "totp_secret"),
        ({"external_id": "c-1", "phone": "09350000001", "password_hash": "x"}, "password_hash"),
        ({"external_id": "c-1", "phone": "09350000001", "phone_verified": True}, "phone_verified"),
        ({"external_id": "c-1", "phone": "09350000001", "is_staff": True}, "is_staff"),
    ],
)  # fmt: skip
def test_user_with_anything_else_is_refused(office: Office, body: dict[str, Any], field: str) -> None:
    answer = office.post("/users", body)
    assert problem(answer) == "invalid-request"
    assert json.loads(answer.content)["errors"][0]["field"] == field
    assert not User.objects.filter(external_id="c-1").exists()


def test_freeze_and_close_stop_the_account_and_its_sessions(office: Office) -> None:
    sara = customer()
    logged_in(sara)
    frozen = document(office.post(f"/users/{sara.user.pk}/freeze", STOP))
    assert frozen["frozen_at"] is not None
    assert not LoginSession.objects.filter(user=sara.user).exists()
    closed = document(office.post(f"/users/{sara.user.pk}/close", STOP))
    assert (closed["is_active"], closed["frozen_at"]) == (False, frozen["frozen_at"])
    assert document(office.post(f"/users/{sara.user.pk}/close", STOP)) == closed
    for name in ("account.frozen", "account.closed"):
        event = AuditEvent.objects.get(event=name)
        assert (event.customer, event.detail["token"], event.detail["reason"]) == (
            sara.user,
            "back-office",
            "lost phone",
        )


def test_staff_are_neither_seen_nor_stopped(office: Office) -> None:
    boss = customer(is_staff=True)
    key = key_of(boss)
    assert document(office.get("/users"))["items"] == document(office.get("/keys"))["items"] == []
    for path in (f"/users/{boss.user.pk}/freeze", f"/users/{boss.user.pk}/close", f"/keys/{key.pk}/revoke"):
        assert problem(office.post(path, STOP)) == "not-found"
    assert (
        problem(office.post("/keys/revoke", {**STOP, "user": boss.user.pk, "dry_run": False})) == "not-found"
    )
    assert boss.reload().is_active


def test_keys_are_listed_paused_and_revoked(office: Office) -> None:
    sara, ali = customer(), customer()
    keys = [key_of(sara, "a"), key_of(sara, "b"), key_of(ali, "c")]
    first = document(office.get("/keys?limit=2"))
    second = document(office.get(f"/keys?limit=2&after={first['next']}"))
    listed = first["items"] + second["items"]
    assert [row["id"] for row in listed] == sorted(str(key.pk) for key in keys)
    assert second["next"] is None
    assert len(document(office.get(f"/keys?user={sara.user.pk}"))["items"]) == 2
    paused = document(office.post(f"/keys/{keys[0].pk}/pause", STOP))
    assert (paused["state"], ApiKey.objects.get(pk=keys[0].pk).state) == ("frozen", "frozen")
    assert document(office.post(f"/keys/{keys[0].pk}/revoke", STOP))["state"] == "revoked"
    assert document(office.post(f"/keys/{keys[0].pk}/pause", STOP))["state"] == "revoked"
    bulk = {**STOP, "keys": [str(key.pk) for key in keys]}
    assert document(office.post("/keys/revoke", bulk)) == {
        "dry_run": True, "found": 3, "live": 2, "revoked": 0, "keys": sorted(str(key.pk) for key in keys[1:]),
    }  # fmt: skip
    assert ApiKey.objects.filter(state=KeyState.ACTIVE).count() == 2
    assert (
        problem(
            office.post("/keys/revoke", {**bulk, "keys": [str(NO_KEY), str(keys[1].pk)], "dry_run": False})
        )
        == "not-found"
    )
    assert ApiKey.objects.filter(state=KeyState.ACTIVE).count() == 2
    assert problem(office.post("/keys/revoke", {**STOP, "user": 10**9, "dry_run": False})) == "not-found"
    assert document(office.post("/keys/revoke", {**bulk, "dry_run": False}))["revoked"] == 2
    assert {event.detail["token"] for event in AuditEvent.objects.filter(event="key.revoked")} == {
        "back-office"
    }
    assert len(document(office.get(f"/keys/{keys[1].pk}/usage"))["days"]) == 30


@pytest.mark.usefixtures("collected_sms")
def test_owner_is_told_of_each_stop_and_why(office: Office) -> None:
    """A key that was paused looks like a fault of the program; and a token may have been stolen."""
    sara = customer()
    bot = key_of(sara)
    for path in (
        f"/keys/{bot.pk}/pause",
        f"/keys/{bot.pk}/revoke",
        *(f"/users/{sara.user.pk}/{stop}" for stop in ("freeze", "close")),
    ):
        Notice.objects.all().delete()
        office.post(path, STOP)
        assert "lost phone" in str(Notice.objects.get(user=sara.user).event.detail["reason"]), path


def test_page_of_keys_reads_as_many_rows_as_it_shows(office: Office) -> None:
    """No OFFSET: the database does not read, and throw away, what was on the pages before."""
    for number in range(3):
        key_of(customer(), str(number))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        office.get(f"/keys?limit=1&after={NO_KEY}")
        office.get("/users?limit=1&after=5")
        office.get("/events?limit=1&after=0")
    pages = [each["sql"] for each in queries if "LIMIT 2" in each["sql"]]
    assert len(pages) == 2
    assert not [each["sql"] for each in queries if "OFFSET" in each["sql"] or "COUNT(" in each["sql"]]


def test_events_are_the_chain_without_a_gap(office: Office) -> None:
    sara = customer()
    User.objects.filter(pk=sara.user.pk).update(external_id="c-1")
    for _ in range(5):
        audit.record(Event.LOGOUT, None, customer=sara.user, note=f"call {sara.user.phone}")
    chain.seal_pending()
    seen, after = [], 0
    while (page := document(office.get(f"/events?limit=2&after={after}")))["items"]:
        seen += page["items"]
        after = page["next"]
    head = AuditHead.objects.get()
    assert [event["sequence"] for event in seen] == list(range(head.pruned_sequence + 1, after + 1))
    logouts = [event for event in seen if event["event"] == "logout"]
    assert {event["external_id"] for event in logouts} == {"c-1"}
    assert sara.user.phone not in json.dumps(seen)
    assert called() == [("back-office", "/events", 200)], "polling fills the trail"
    AuditHead.objects.filter(pk=head.pk).update(pruned_sequence=2)
    assert problem(office.get("/events?after=1")) == "pruned"
    assert document(office.get("/events"))["items"][0]["sequence"] == 3


def test_deliveries_are_listed_with_masked_numbers(office: Office) -> None:
    row = SmsDelivery.objects.create(backend="file", purpose="login", number="+98912•••0001", succeeded=True)
    page = document(office.get("/sms-deliveries"))
    assert [(item["id"], item["number"]) for item in page["items"]] == [(row.pk, "+98912•••0001")]
    assert document(office.get(f"/sms-deliveries?after={page['next']}"))["items"] == []


def test_same_idempotency_key_gives_the_same_answer_once_done(office: Office) -> None:
    body = {"external_id": "c-1", "phone": "09350000001"}
    first = office.post("/users", body, idempotency_key="k1")
    again = office.post("/users", body, idempotency_key="k1")
    assert (again.status_code, again.content, again["ETag"]) == (201, first.content, first["ETag"])
    assert (
        problem(office.post("/users", {**body, "external_id": "c-2"}, idempotency_key="k1"))
        == "idempotency-key"
    )
    assert problem(office.post("/keys/revoke", body, idempotency_key="k1")) == "invalid-request"
    assert problem(office.post("/users", body, idempotency_key="k" * 65)) == "invalid-request"
    assert Office(token(name="other")).post("/users", body, idempotency_key="k1").status_code == 409
    IdempotentAnswer.objects.update(created_at=timezone.now() - endpoints.KEPT - timedelta(seconds=1))
    assert problem(office.post("/users", body, idempotency_key="k1")) == "exists"


def test_refused_call_may_be_repeated_with_its_idempotency_key(office: Office) -> None:
    assert problem(office.post("/users/1/freeze", STOP, idempotency_key="k1")) == "not-found"
    assert not IdempotentAnswer.objects.exists()


def test_change_needs_the_state_that_if_match_names(office: Office) -> None:
    sara = customer()
    key = key_of(sara)
    tag = office.get(f"/keys/{key.pk}")["ETag"]
    User.objects.filter(pk=sara.user.pk).update(external_id="c-1")
    assert problem(office.post(f"/keys/{key.pk}/pause", STOP, if_match=tag)) == "changed"
    assert ApiKey.objects.get(pk=key.pk).state == KeyState.ACTIVE
    tag = office.get(f"/keys/{key.pk}")["ETag"]
    assert document(office.post(f"/keys/{key.pk}/pause", STOP, if_match=tag))["state"] == "frozen"
    assert problem(office.post(f"/users/{sara.user.pk}/freeze", STOP, if_match=tag)) == "changed"
    for malformed in ('"x"', "x", f"W/{tag}", f"{tag}, {tag}"):
        assert (
            problem(office.post(f"/users/{sara.user.pk}/freeze", STOP, if_match=malformed))
            == "invalid-request"
        )
    # RFC 9110, 13.2.1: the precondition is looked at after everything else.
    assert problem(office.post(f"/users/{sara.user.pk}/close", {}, if_match=tag)) == "invalid-request"


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (b"{", "invalid-json", 400), (b"[]", "invalid-json", 400), (b"\xff", "invalid-json", 400),
        (b'{"reason": "a", "reason": "b"}', "invalid-json", 400), (b"[" * 60_000, "invalid-json", 400),
        (b" " * 70_000, "too-large", 413), ({"reason": ""}, "invalid-request", 400), ({}, "invalid-request", 400),
        ({"reason": 7}, "invalid-request", 400), ({"reason": "x" * 201}, "invalid-request", 400),
        ({"reason": "see evil.example"}, "invalid-request", 400), ({**STOP, "x": 1}, "invalid-request", 400),
    ],
)  # fmt: skip
def test_bad_body_is_refused_with_a_reason(office: Office, body: Any, code: str, status: int) -> None:
    sara = customer()
    answer = office.post(f"/users/{sara.user.pk}/freeze", body)
    assert (problem(answer), answer.status_code) == (code, status)
    assert sara.reload().frozen_at is None


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=۵", "after=-1", "after=1&after=2", "x=1", "external_id=a%20b"],
)
def test_bad_query_is_refused(office: Office, query: str) -> None:
    assert problem(office.get(f"/users?{query}")) == "invalid-request"


def test_form_and_unknown_path_and_method_are_problems(office: Office) -> None:
    form: Any = office.client.post("/manage/v1/users", {"external_id": "c"}, headers=office.headers)
    assert problem(form) == "content-type"
    put: Any = office.client.put("/manage/v1/users", b"{}", headers=office.headers)
    assert (problem(put), put["Allow"]) == ("method-not-allowed", "GET, POST, HEAD")
    unknown = office.get("/nothing")
    assert (unknown.status_code, unknown["Content-Type"]) == (404, "application/problem+json")


def test_rate_of_a_token_ends_in_429(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimits, "acquire", lambda *_: 7)
    answer = office.get("/users")
    assert (problem(answer), answer["Retry-After"]) == ("too-many-requests", "7")


def test_webhooks_are_read_tested_and_sent_again_and_not_changed(office: Office) -> None:
    endpoint, secret = webhooks.create("risk", "https://hooks.example.com/path-1f7c", ["key.*"])
    event = AuditEvent.objects.get(event="webhook.made")
    for number in (1, 2, 3):
        WebhookDelivery.objects.create(
            endpoint=endpoint, event=event, number=number, status=500,
            gave_up_at=timezone.now() if number == 2 else None,
            delivered_at=timezone.now() if number == 3 else None,
        )  # fmt: skip
    place = f"/webhooks/{endpoint.pk}"
    [listed] = document(office.get("/webhooks"))["items"]
    assert (listed["name"], listed["host"], listed["events"]) == ("risk", "hooks.example.com", ["key.*"])
    assert document(office.get(place)) == listed
    first = document(office.get(f"{place}/deliveries?limit=2"))
    assert ([item["number"] for item in first["items"]], first["next"]) == ([1, 2], 2)
    assert [item["number"] for item in document(office.get(f"{place}/deliveries?after=2"))["items"]] == [3]
    assert document(office.post(f"{place}/resend", {"numbers": [1, 2, 3, 4]})) == {"numbers": [2]}
    assert document(office.post(f"{place}/resend", {"numbers": [2]})) == {"numbers": []}, "it waits"
    assert document(office.post(f"{place}/test", {})) == {"sent": True}
    tested = AuditEvent.objects.get(event="webhook.tested")
    assert (tested.target, tested.detail) == (str(endpoint.pk), {"via": "api", "token": "back-office"})
    for wrong in ([], [0], [True], ["1"], [1.5], "1", None, list(range(1, 102)), [10**18]):
        assert problem(office.post(f"{place}/resend", {"numbers": wrong})) == "invalid-request"
    assert problem(office.get(f"/webhooks/{NO_KEY}")) == "not-found"
    assert problem(office.post("/webhooks", {"url": "https://other.example.com/"})) == "method-not-allowed"
    text = json.dumps([listed, first])
    assert secret not in text
    assert "1f7c" not in text


def test_document_names_every_operation_and_no_other() -> None:
    paths = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]
    written = {(place, method.upper()) for place, item in paths.items() for method in item}
    assert written == {(place, each.method) for place, operations in RESOURCES.items() for each in operations}
    page = (ROOT / "docs" / "management-api.md").read_text(encoding="utf-8")
    for place, operations in RESOURCES.items():
        for each in operations:
            assert f"| `{each.method} {place}` |" in page
            documented = paths[place][each.method.lower()]
            scope = f"Scope: {each.scope.value}." if each.scope else "Any token."
            assert documented["description"] == scope
            names = {p["name"] for p in documented.get("parameters", []) if p.get("in") == "query"}
            assert names == set(each.query)


def test_token_is_created_listed_and_revoked_by_command() -> None:
    out = StringIO()
    options = ("--scope", "users:read,keys:stop", "--networks", "203.0.113.7,2001:db8::/32", "--days", "30")
    call_command("management_token", "create", "crm", *options, "--json", stdout=out)
    text = json.loads(out.getvalue())["token"]
    assert text.startswith("hbmg_")
    assert Office(text).get("/users").status_code == 200
    out = StringIO()
    call_command("management_token", "list", "--json", stdout=out)
    [row] = json.loads(out.getvalue())
    assert (row["scopes"], row["networks"]) == (["keys:stop", "users:read"], ["2001:db8::/32", "203.0.113.7"])
    assert row["last_used_at"] is not None
    assert text not in out.getvalue()
    call_command("management_token", "revoke", "crm", stdout=StringIO())
    assert Office(text).get("/users").status_code == 401
    kinds = AuditEvent.objects.filter(label="crm").exclude(event="management.called").order_by("pk")
    assert list(kinds.values_list("event", flat=True)) == [
        "management.token_made",
        "management.token_revoked",
    ]
    for wrong in (("--scope", "users:all"), ("--networks", "0.0.0.0/0"), ("--networks", ""), ("--days", "0")):
        with pytest.raises(CommandError):
            call_command("management_token", "create", "x", *options, *wrong)
    with pytest.raises(CommandError, match="name"):
        call_command("management_token", "create", "crm", *options)
