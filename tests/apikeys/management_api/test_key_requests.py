"""Requests for keys by the management API: what a back office can begin, and that it grants nothing."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.actions import freeze
from accounts.models import AuditEvent, Notice, User
from apikeys.actions import key_requests
from apikeys.models import ApiKey, KeyRequest
from apikeys.policy.choices import LIVE_KEYS, KeyState
from apikeys.policy.events import KeyEvent
from tests.apikeys.management_api.calls import Office, problem, token
from tests.support.people import Person, customer, half_enrolled, key_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
WANTED: dict[str, Any] = {
    "name": "market maker",
    "permissions": ["read", "trade"],
    "ip_policy": "trusted",
    "networks": ["203.0.113.24", "198.51.100.0/28"],
    "expires_at": None,
}


@pytest.fixture
def office() -> Office:
    return Office(token())


def place(person: Person, *more: object) -> str:
    return "/".join(["/users", str(person.user.pk), "key-requests", *map(str, more)])


def made(office: Office, person: Person, **changes: Any) -> Any:
    answer = office.post(place(person), {**WANTED, **changes})
    assert answer.status_code == 201, answer.content
    return json.loads(answer.content)


def events(event: KeyEvent) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(event=event.value))


def test_request_is_answered_as_it_was_sent_and_creates_no_key(office: Office, sara: Person) -> None:
    document = made(office, sara, expires_at="2027-06-01T12:00:00+03:30")
    assert document | {"requested_at": "", "waits_until": ""} == {
        "id": document["id"], "user": sara.user.pk, "external_id": None, "state": "waiting",
        "requested_by": "back-office", "requested_at": "", "waits_until": "", "closed_at": None,
        "name": "market maker", "permissions": ["read", "trade"], "ip_policy": "trusted",
        "networks": ["198.51.100.0/28", "203.0.113.24"], "expires_at": "2027-06-01T08:30:00.000000+00:00", "key": None,
    }  # fmt: skip
    assert json.loads(office.get(place(sara, document["id"])).content) == document
    assert json.loads(office.get(place(sara)).content) == {"items": [document], "next": None}
    assert not ApiKey.objects.exists()
    row = KeyRequest.objects.get()
    assert row.waits_until - row.requested_at <= key_requests.LIFETIME


def test_customer_is_notified_with_the_page_of_the_request(office: Office, sara: Person) -> None:
    document = made(office, sara)
    event = events(KeyEvent.REQUESTED)[0]
    assert (event.customer, event.label, event.target) == (sara.user, "market maker", str(document["id"]))
    assert event.detail == {
        "via": "api", "token": "back-office",
        "changes": ["+read", "+trade", "ip:trusted", "+203.0.113.24", "+198.51.100.0/28"],
    }  # fmt: skip
    assert Notice.objects.get(user=sara.user).event == event


def test_requests_are_paged_without_those_of_others(office: Office, sara: Person) -> None:
    other = customer()
    mine = [made(office, sara, name=f"bot {n}") for n in range(3)]
    foreign = made(office, other)
    first = json.loads(office.get(f"{place(sara)}?limit=2").content)
    second = json.loads(office.get(f"{place(sara)}?limit=2&after={first['next']}").content)
    assert first["items"] + second["items"] == mine
    assert second["next"] is None
    for answer in (office.get(place(sara, foreign["id"])), office.delete(place(sara, foreign["id"]))):
        assert problem(answer) == "not-found"


def test_request_is_withdrawn_and_withdrawn_again(office: Office, sara: Person) -> None:
    path = place(sara, made(office, sara)["id"])
    tag = office.get(path)["ETag"]
    assert problem(office.delete(path, if_match=f'"{"0" * 32}"')) == "changed"
    withdrawn = json.loads(office.delete(path, if_match=tag).content)
    assert withdrawn["state"] == "cancelled"
    assert json.loads(office.delete(path).content) == withdrawn
    assert len(events(KeyEvent.REQUEST_CANCELLED)) == 1
    assert not key_requests.waiting_for(sara.user).exists()


def test_answered_request_is_not_withdrawn(office: Office, sara: Person) -> None:
    path = place(sara, made(office, sara)["id"])
    key_requests.decline(None, KeyRequest.objects.get())  # type: ignore[arg-type]
    assert problem(office.delete(path)) == "request-closed"
    assert json.loads(office.get(path).content)["state"] == "declined"


def test_request_that_nobody_answers_expires(office: Office, sara: Person) -> None:
    path = place(sara, made(office, sara)["id"])
    KeyRequest.objects.update(waits_until=timezone.now() - timedelta(seconds=1))
    # From the very moment, also before it is noted.
    assert json.loads(office.get(path).content)["state"] == "expired"
    assert problem(office.delete(path)) == "request-closed"
    assert not key_requests.decline(None, KeyRequest.objects.get())  # type: ignore[arg-type]
    assert (key_requests.close_expired(), key_requests.close_expired()) == (1, 0)
    assert KeyRequest.objects.get().state == "expired"
    assert [event.customer for event in events(KeyEvent.REQUEST_EXPIRED)] == [sara.user]


def test_request_for_a_key_that_ends_soon_waits_until_that_end(office: Office, sara: Person) -> None:
    end = (timezone.now() + timedelta(hours=1)).replace(microsecond=0)
    document = made(office, sara, expires_at=end.isoformat())
    assert document["waits_until"] == document["expires_at"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": None}, "name"), ({"name": ""}, "name"), ({"name": "see evil.example"}, "name"),
        ({"name": "call 09121234567"}, "name"), ({"name": "x" * 51}, "name"), ({"name": 7}, "name"),
        ({"permissions": []}, "permissions"), ({"permissions": ["admin"]}, "permissions"),
        ({"permissions": "read"}, "permissions"), ({"permissions": ["read", "read"]}, "permissions"),
        ({"permissions": [["read"]]}, "permissions"),
        ({"ip_policy": "open"}, "ip_policy"), ({"ip_policy": None}, "ip_policy"),
        ({"ip_policy": ["trusted"]}, "ip_policy"),
        ({"networks": []}, "networks"), ({"networks": ["0.0.0.0/0"]}, "networks"),
        ({"networks": ["8.0.0.0/7"]}, "networks"),
        ({"networks": ["203.0.113.7/24"]}, "networks"), ({"networks": ["evil.example"]}, "networks"),
        ({"networks": [7]}, "networks"), ({"networks": [f"203.0.113.{n}" for n in range(31)]}, "networks"),
        ({"ip_policy": "unrestricted"}, "networks"),
        ({"permissions": ["withdraw"], "ip_policy": "unrestricted", "networks": []}, "ip_policy"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"), ({"expires_at": "2027-01-01"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at"),
        ({"expires_at": "2027-02-30T00:00:00Z"}, "expires_at"),
        ({"expires_at": 7}, "expires_at"), ({"secret": "x"}, "secret"),
        ({"reason": "Your account ends today"}, "reason"),
        ({"public_key": "x"}, "public_key"),
    ],
)  # fmt: skip
def test_wrong_request_is_refused_with_its_field(
    office: Office, sara: Person, changes: dict[str, Any], field: str
) -> None:
    answer = office.post(place(sara), {**WANTED, **changes})
    assert problem(answer) == "invalid-request"
    assert json.loads(answer.content)["errors"][0]["field"] == field
    assert not KeyRequest.objects.exists()


def conflict(office: Office, person: Person, **changes: Any) -> str:
    answer = office.post(place(person), {**WANTED, **changes})
    assert answer.status_code == 409
    return problem(answer)


def test_customer_who_could_not_confirm_gets_no_request(office: Office, sara: Person) -> None:
    half, closed, frozen = half_enrolled(), customer(), customer()
    User.objects.filter(pk=closed.user.pk).update(is_active=False)
    freeze.freeze(None, frozen.user)
    assert conflict(office, half) == "factors-missing"
    assert conflict(office, closed) == "account-closed"
    assert conflict(office, frozen) == "account-frozen"
    assert problem(office.post(place(customer(is_staff=True)), WANTED)) == "not-found"
    assert not KeyRequest.objects.exists()
    assert not events(KeyEvent.REQUESTED)


def test_names_and_numbers_of_keys_and_requests_are_limited(office: Office, sara: Person) -> None:
    key = key_of(sara, "Market Maker")
    assert conflict(office, sara) == "name-taken"
    key.set_state(KeyState.REVOKED)
    made(office, sara)
    assert conflict(office, sara, name="MARKET maker") == "name-taken"
    for number in range(key_requests.MAX_WAITING - 1):
        made(office, sara, name=f"bot {number}")
    assert conflict(office, sara, name="one more") == "too-many-waiting"
    full = customer()
    for number in range(LIVE_KEYS):
        key_of(full, f"key {number}")
    assert conflict(office, full) == "key-limit"


def test_customer_is_not_flooded_with_requests_that_are_withdrawn_again(office: Office, sara: Person) -> None:
    answers = []
    for number in range(12):
        answer = office.post(place(sara), {**WANTED, "name": f"bot {number}"})
        answers.append(answer)
        if answer.status_code == 201:
            office.delete(place(sara, json.loads(answer.content)["id"]))
    assert [answer.status_code for answer in answers] == [201] * 10 + [429] * 2
    assert int(answers[-1]["Retry-After"]) > 0
    assert Notice.objects.filter(user=sara.user).count() == 10
    made(office, customer())


def test_same_idempotency_key_makes_one_request(office: Office, sara: Person) -> None:
    first = office.post(place(sara), WANTED, idempotency_key="k1")
    assert office.post(place(sara), WANTED, idempotency_key="k1").content == first.content
    assert KeyRequest.objects.count() == 1


def thaw_request(office: Office, person: Person) -> Any:
    return office.post(f"/users/{person.user.pk}/thaw-requests", {})


def test_thaw_request_is_a_notice_and_thaws_nothing(office: Office, sara: Person) -> None:
    assert problem(thaw_request(office, sara)) == "account-not-frozen"
    freeze.freeze(None, sara.user)
    Notice.objects.all().delete()
    answer = thaw_request(office, sara)
    assert answer.status_code == 202
    document = json.loads(answer.content)
    assert (document["user"], document["frozen_at"]) == (sara.user.pk, json.loads(
        office.get(f"/users/{sara.user.pk}").content
    )["frozen_at"])  # fmt: skip
    assert sara.reload().frozen_at is not None
    event = events(KeyEvent.THAW_REQUESTED)[0]
    assert event.detail == {"via": "api", "token": "back-office"}
    assert Notice.objects.get(user=sara.user).event == event
    statuses = [thaw_request(office, sara).status_code for _ in range(3)]
    assert statuses == [202, 202, 429]


def test_nobody_who_could_not_thaw_is_asked_to(office: Office) -> None:
    half, closed = half_enrolled(), customer()
    for person in (half, closed):
        freeze.freeze(None, person.user)
    User.objects.filter(pk=closed.user.pk).update(is_active=False)
    assert problem(thaw_request(office, half)) == "factors-missing"
    assert problem(thaw_request(office, closed)) == "account-closed"
