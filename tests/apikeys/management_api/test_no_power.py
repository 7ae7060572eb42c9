"""A stolen management token gives nobody power: no call, and no sequence of calls, of any endpoint."""

import json
import uuid
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import RequestFactory
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounts.actions import freeze
from accounts.models import SmsDevice, TotpDevice, User, WebhookEndpoint
from accounts.webhooks import endpoints as webhooks
from apikeys.actions import key_requests
from apikeys.management_api.endpoints import Answer, Call, Operation, resource
from apikeys.management_api.scopes import Scope
from apikeys.management_api.urls import RESOURCES
from apikeys.models import AllowedNetwork, ApiKey, GatewayToken, KeyRequest, ManagementToken
from apikeys.policy.choices import KeyState
from apikeys.policy.power import Codes, Power, codes_for
from tests.apikeys.management_api.calls import token
from tests.support.examples import times
from tests.support.people import ADDRESS, customer, key_of

pytestmark = pytest.mark.django_db
Resources = dict[str, tuple[Operation, ...]]


@dataclass(frozen=True)
class Snapshot:
    """Everything that is power, or leads to it."""

    keys: dict[Any, Power]
    owners: dict[int, tuple[Any, ...]]
    new_users_have: tuple[Any, ...]
    factors: frozenset[tuple[Any, ...]]
    tokens: frozenset[tuple[Any, ...]]
    webhooks: frozenset[tuple[Any, ...]]
    requests: dict[int, tuple[Any, ...]]

    @classmethod
    def take(cls, known: frozenset[int]) -> "Snapshot":
        people = list(User.objects.all())
        return cls(
            {key.pk: key.power for key in ApiKey.objects.prefetch_related("networks", "credentials")},
            {
                user.pk: (
                    user.frozen_at is None, user.is_active, user.quarantined_until, user.phone, user.external_id,
                    user.password, user.is_staff, user.is_superuser, user.email,
                )
                for user in people if user.pk in known
            },
            tuple(
                (user.has_usable_password(), user.is_staff, user.is_superuser)
                for user in people if user.pk not in known
            ),
            frozenset(
                [*TotpDevice.objects.values_list("user", "seed_sealed", "confirmed"),
                 *SmsDevice.objects.values_list("user", "number", "confirmed")]
            ),
            frozenset(
                [*GatewayToken.objects.values_list("digest", "revoked_at"),
                 *((row.digest, row.expires_at, str(row.scopes), str(row.networks))
                   for row in ManagementToken.objects.all())]
            ),
            frozenset(
                (row.pk, row.url, str(row.events), row.is_active, row.secret_sealed, row.old_secret_sealed)
                for row in WebhookEndpoint.objects.all()
            ),
            {row.pk: (row.state, *map(str, (row.settings.as_json(), row.label, row.owner_id, row.requested_by)))
             for row in KeyRequest.objects.all()},
        )  # fmt: skip


def assert_no_power_added(before: Snapshot, after: Snapshot) -> None:
    assert set(after.keys) == set(before.keys), "there is another key"
    for name, power in after.keys.items():
        assert codes_for(before.keys[name], power, timezone.now()) is Codes.NONE, "a key can do more"
    for pk, (runs, active, quarantine, *rest) in after.owners.items():
        ran, was_active, was_quarantined, *was = before.owners[pk]
        assert ran or not runs, "an account was thawed"
        assert was_active or not active, "an account was reopened"
        assert quarantine == was_quarantined, "a quarantine changed"
        assert rest == was, "phone, id, password or rights of an account changed"
    assert set(after.new_users_have) <= {(False, False, False)}, "a new account has a way in"
    assert after.factors == before.factors, "factors changed"
    assert after.tokens == before.tokens, "tokens changed"
    assert after.webhooks == before.webhooks, "events go somewhere else"
    for number, (state, *terms) in after.requests.items():
        was, *had = before.requests.get(number, ("waiting", *terms))
        assert terms == had, "what a customer was shown changed"
        assert state == was or (was, state) == ("waiting", "cancelled"), (
            "a request was answered for its customer"
        )


def world() -> tuple[list[int], list[str]]:
    """Return the ids of users and of keys, in each state that a stolen token could end."""
    sara, frozen, closed = customer(), customer(), customer()
    keys = [key_of(sara, "trusted"), key_of(sara, "paused"), key_of(sara, "revoked"), key_of(sara, "open")]
    keys[0].apply(["read", "trade", "withdraw"], "trusted", ["198.51.100.0/24"])
    keys[3].apply(["read", "trade"], "unrestricted", [])
    keys[1].set_state(KeyState.FROZEN)
    keys[2].set_state(KeyState.REVOKED)
    keys += [key_of(frozen), key_of(closed)]
    freeze.freeze(None, frozen.user)
    User.objects.filter(pk=closed.user.pk).update(is_active=False)
    User.objects.filter(pk=sara.user.pk).update(external_id="c-1", quarantined_until=timezone.now())
    for number in range(2):
        key_requests.make(sara.user, f"request {number}", keys[0].settings, "back-office")
    return [sara.user.pk, sara.user.pk, frozen.user.pk, frozen.user.pk, closed.user.pk], [
        str(key.pk) for key in keys
    ]


#: Values of each field of any body; most of them are right, or the calls would all be refused.
VALUES: dict[str, list[Any]] = {
    "reason": ["stop", "stop", "stop", "", 7],
    "external_id": ["c-1", "c-2", "c-3"],
    "phone": ["09350000001", "09350000002", "x"],
    "name": ["Sara", "bot 1", "bot 2", "bot 3", "open", None],
    "email": ["a@example.com", ""],
    "language": ["fa", ""],
    "dry_run": [False, False, True, "no"],
    "network": ["203.0.113.9"],
    "numbers": [[1], [1, 2], [], [True], "x"],
    "permissions": [["read", "trade", "withdraw"], ["read"], ["trade"], ["x"]],
    "ip_policy": ["trusted", "trusted", "trusted", "unrestricted"],
    "networks": [["203.0.113.9"], ["198.51.100.0/25", "203.0.113.9"], ["203.0.113.0/24"], ["0.0.0.0/0"]],
    "expires_at": [None, "2027-06-01T00:00:00Z", "2028-06-01T00:00:00Z", "x"],
}


def check_sequences(resources: Resources, examples: int) -> dict[int, int]:
    """Call sequences of all operations; return how many answers had each status. Raise `AssertionError`."""
    operations = [(place, each) for place, several in resources.items() for each in several]
    calls = st.lists(
        # A generator of Hypothesis prefers the first of each list; most of the world would be left alone.
        st.tuples(st.sampled_from(operations), st.integers(0, 2**32).map(Random)),
        min_size=1,
        max_size=6,
    )
    statuses: dict[int, int] = {}

    # No shrinking: what was planted is found, and need not be made small five hundred times.
    @settings(
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
        phases=[Phase.generate],
    )
    @given(calls)
    def run(sequence: Any) -> None:
        cache.clear()  # counters of rates are not rolled back
        with transaction.atomic():
            users, keys = world()
            webhook = str(webhooks.create("risk", "https://hooks.example.com/", ["*"])[0].pk)
            text = token()
            known = frozenset(User.objects.values_list("pk", flat=True))
            before = Snapshot.take(known)
            for (place, operation), random in sequence:
                requests = KeyRequest.objects.values_list("pk", flat=True)
                names = {
                    "user_id": random.choice(users),
                    "key_id": random.choice(keys),
                    "webhook_id": webhook,
                    "request_id": random.choice(sorted(requests) or [1]),
                }
                pools = {
                    **VALUES,
                    "user": [*users, "x"],
                    "keys": [keys, keys[:2], [random.choice(keys)], "x"],
                }
                body = {
                    name: random.choice(pools[name]) for name in operation.fields if random.random() < 0.9
                }
                arguments = {name: value for name, value in names.items() if f"{{{name}}}" in place}
                request = RequestFactory().generic(
                    operation.method, "/manage/v1" + place.format(**names),
                    json.dumps(body) if operation.method == "POST" else "", content_type="application/json",
                    headers={"authorization": f"Bearer {text}"},
                )  # fmt: skip
                request.client_address = ADDRESS  # type: ignore[attr-defined]
                answer = resource(place, *resources[place])(request, **arguments)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                assert answer.status_code < 500
                after = Snapshot.take(known)
                assert_no_power_added(before, after)
                before = after
            transaction.set_rollback(True)

    run()
    return statuses


@pytest.mark.verify
def test_no_sequence_of_calls_adds_power() -> None:
    statuses = check_sequences(RESOURCES, times(40))
    done = statuses.get(200, 0) + statuses.get(201, 0)
    assert done >= 0.4 * sum(statuses.values()), f"most calls were refused, so nothing was tested: {statuses}"


def add_network(call: Call, key_id: str) -> Answer:
    AllowedNetwork.objects.get_or_create(
        key_id=uuid.UUID(key_id), value=call.body.get("network", "203.0.113.9")
    )
    return 200, {}


def resume(call: Call, key_id: str) -> Answer:
    ApiKey.objects.get(pk=key_id).set_state(KeyState.ACTIVE)
    return 200, {}


def thaw(call: Call, user_id: int) -> Answer:
    freeze.thaw(None, User.objects.get(pk=user_id))
    return 200, {}


def move(call: Call, webhook_id: str) -> Answer:
    webhooks.change("risk", url="https://other.example.com/")
    return 200, {}


def grant(call: Call, user_id: int) -> Answer:
    """What would skip the customer: the effect of both codes, without codes."""
    row = KeyRequest.objects.filter(owner=user_id, state="waiting").first()
    if row is not None and User.objects.get(pk=user_id).frozen_at is None:
        key_requests.confirm(call.request, row, uuid.uuid4())
    return 200, {}


def widen(call: Call, user_id: int) -> Answer:
    KeyRequest.objects.filter(owner=user_id).update(networks=["192.0.2.0/24"])
    return 200, {}


@pytest.mark.parametrize(
    ("place", "run", "message"),
    [
        ("/keys/{key_id}/networks", add_network, "a key can do more"),
        ("/keys/{key_id}/resume", resume, "a key can do more"),
        ("/users/{user_id}/thaw", thaw, "an account was thawed"),
        ("/webhooks/{webhook_id}/move", move, "events go somewhere else"),
        ("/users/{user_id}/grant", grant, "there is another key"),
        ("/users/{user_id}/widen", widen, "what a customer was shown changed"),
    ],
)
def test_planted_endpoint_is_found(place: str, run: Any, message: str) -> None:
    planted = (Operation("POST", run, Scope.KEYS_STOP, fields=("network",)),)
    innocent = {each: RESOURCES[each] for each in ("/keys", "/users/{user_id}/key-requests")}
    with pytest.raises(AssertionError, match=message):
        # About one sequence of eight has the planted call with a key or user that it changes; the first one ends this.
        check_sequences({**innocent, place: planted}, times(100))
