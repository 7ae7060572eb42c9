"""Requests to a customer: for a key, and to thaw the account. The customer alone grants them, with both codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from apikeys.actions import key_requests
from apikeys.management_api.documents import customers, iso, key_request_document
from apikeys.management_api.endpoints import Answer, Call, check_match
from apikeys.management_api.problems import ApiProblem, invalid
from apikeys.management_api.rows import after_number, find, page_of
from apikeys.models import KeyRequest
from apikeys.policy import names
from apikeys.policy.choices import NETWORKS_A_KEY, IpPolicy, Permission, check_rules
from apikeys.policy.settings_change import Settings
from apikeys.verification import networks

KEY_FIELDS = ("name", "permissions", "ip_policy", "networks", "expires_at")
#: A date that is further away is a mistake; without one the key never expires.
LONGEST = timedelta(days=3_660)
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def list_key_requests(call: Call, user_id: int) -> Answer:
    return page_of(call, _of(user_id).filter(pk__gt=after_number(call)), key_request_document)


def get_key_request(call: Call, user_id: int, request_id: int) -> Answer:
    return 200, key_request_document(find(_of(user_id), request_id))


def make_key_request(call: Call, user_id: int) -> Answer:
    """Ask the customer to create a key.

    SECURITY: of the caller's words only the key's name reaches the customer, cleaned as every name is: whoever stole a
    token must not write why a request had better be confirmed.
    """
    user = find(customers(), user_id)
    name, settings = _name(call.body), _settings(call.body)
    with _as_problems():
        request = key_requests.make(user, name, settings, call.token.name)
    return 201, key_request_document(find(_of(user.pk), request.pk))


def cancel_key_request(call: Call, user_id: int, request_id: int) -> Answer:
    request = find(_of(user_id), request_id)
    check_match(call, key_request_document(request))
    with _as_problems():
        key_requests.cancel(request, call.token.name)
    return 200, key_request_document(find(_of(user_id), request_id))


def request_thaw(call: Call, user_id: int) -> Answer:
    """SECURITY: sends a notice; the account is thawed on the customer's page, with both codes, or not at all."""
    user = find(customers(), user_id)
    with _as_problems():
        key_requests.request_thaw(user, call.token.name)
    return 202, {"user": user.pk, "frozen_at": iso(user.frozen_at), "requested_at": iso(timezone.now())}


@contextmanager
def _as_problems() -> Iterator[None]:
    try:
        yield
    except key_requests.RequestNotMade as error:
        code, title = error.problem.value
        raise ApiProblem(409, code, title) from None
    except key_requests.TooManyRequests as error:
        raise ApiProblem(
            429, "too-many-requests", "The customer got as many requests as are allowed in a day.",
            {"Retry-After": str(error.wait)},
        ) from None  # fmt: skip


def _of(user_id: int) -> QuerySet[KeyRequest]:
    return KeyRequest.objects.filter(owner=find(customers(), user_id)).select_related("owner")


def _name(body: Any) -> str:
    text = body.get("name")
    try:
        return names.clean(text if isinstance(text, str) else "")
    except names.InvalidName:
        raise invalid(
            "name",
            f"a text of 1 to {names.MAX_LENGTH} characters, without links, addresses, phone numbers and invisible "
            "characters",
        ) from None


def _settings(body: Any) -> Settings:
    """Return the settings that the key would have. Raise `ApiProblem`."""
    permissions = _texts(body, "permissions", Permission.values)
    if not permissions:
        raise invalid("permissions", f"at least one of {', '.join(Permission.values)}")
    # Required, so that nobody gets a key that works from everywhere because a list was left out.
    policy = body.get("ip_policy")
    if policy not in IpPolicy.values:
        raise invalid("ip_policy", " or ".join(IpPolicy.values))
    listed = _networks(body)
    if policy == IpPolicy.UNRESTRICTED and listed:
        raise invalid("networks", "only with the ip_policy trusted")
    if policy == IpPolicy.TRUSTED and not listed:
        raise invalid("networks", "at least one with the ip_policy trusted: nobody could use the key")
    if "withdraw" in permissions and policy != IpPolicy.TRUSTED:
        raise invalid("ip_policy", "trusted, with the permission withdraw")
    wanted = frozenset(permissions)
    try:
        check_rules(wanted, policy, listed)  # the rules of the model, whatever is checked above
    except ValidationError:
        raise invalid("body", "settings that no key can have") from None
    return Settings(wanted, policy, tuple(listed), _expiry(body))


def _networks(body: Any) -> list[str]:
    result = []
    for text in _texts(body, "networks"):
        try:
            network = networks.parse_entry(text)
        except networks.NetworkError:
            raise invalid(
                "networks", "IPv4 and IPv6 addresses and networks, no wider than /8 and /24"
            ) from None
        if network.corrected:  # a network that is larger than what was meant, perhaps
            raise invalid("networks", "networks without host bits: 203.0.113.0/24, not 203.0.113.7/24")
        result.append(network.value)
    if len(result) > NETWORKS_A_KEY:
        raise invalid("networks", f"at most {NETWORKS_A_KEY}")
    return list(dict.fromkeys(result))


def _texts(body: Any, name: str, known: list[str] | None = None) -> list[str]:
    values = body.get(name, [])
    is_right = isinstance(values, list) and all(isinstance(value, str) for value in values)
    if not is_right or len(set(values)) < len(values) or (known and not set(values) <= set(known)):
        raise invalid(name, f"a list of different texts{', out of ' + ', '.join(known) if known else ''}")
    return list(values)


def _expiry(body: Any) -> str:
    """Return when the key would expire, as `Settings` has it; "" for never."""
    text = body.get("expires_at")
    if text is None:
        return ""
    moment: datetime | None = None
    if isinstance(text, str) and _MOMENT.fullmatch(text):
        try:
            moment = parse_datetime(text)
        except ValueError:
            moment = None
    now = timezone.now()
    if moment is None or not now < moment < now + LONGEST:
        raise invalid("expires_at", "null, or a moment within ten years such as 2027-02-20T00:00:00Z")
    return moment.astimezone(UTC).isoformat()
