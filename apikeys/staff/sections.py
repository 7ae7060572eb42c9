"""Keys and figures on the pages of `accounts.staff`."""

from typing import Any

from django.http import HttpRequest

from accounts.choices.roles import Right
from accounts.models import User
from accounts.staff import access, sections
from apikeys.models import ApiKey, KeyRequest
from apikeys.policy.choices import KeyState
from apikeys.policy.rights import KeyRight
from apikeys.staff import dashboard

MAX_KEYS = 100
MAX_REQUESTS = 20


def keys_of_customer(request: HttpRequest, user: User) -> dict[str, Any]:
    """Return the customer's ``keys``, also deleted ones, and the exchange's ``key_requests``, newest first;
    none without the right to see keys."""
    if not access.has_right(request, KeyRight.VIEW):
        return {"keys": [], "key_requests": []}
    keys = ApiKey.objects.filter(owner=user).select_related("owner").prefetch_related("networks")
    return {
        "keys": list(keys.order_by("-created_at")[:MAX_KEYS]),
        "key_requests": list(KeyRequest.objects.filter(owner=user).order_by("-pk")[:MAX_REQUESTS]),
    }


def affected_keys(_request: HttpRequest, user: User) -> dict[str, Any]:
    """Return the ``live`` keys that an action on the customer affects. Every role sees how many there are."""
    keys = ApiKey.objects.filter(owner=user).exclude(state=KeyState.REVOKED)
    return {"live": list(keys.order_by("-created_at"))}


def figures(request: HttpRequest) -> dict[str, Any]:
    """Return the ``board`` of the overview, for roles that see customers."""
    return {"board": dashboard.load_dashboard()} if access.has_right(request, Right.VIEW_CUSTOMER) else {}


def register() -> None:
    """Add the sections to the staff's pages. Called by `ApiKeysConfig.ready()`."""
    sections.CUSTOMER_PAGE.register({"keys": keys_of_customer})
    sections.ACTION_PAGE.register({"keys": affected_keys})
    sections.OVERVIEW.register({"figures": figures})
