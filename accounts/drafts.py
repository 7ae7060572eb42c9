"""What was typed when a session ran out, kept over the new login; never a code, a password or a secret."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from hitobit_portal import ratelimits
from hitobit_portal.context import address_of
from hitobit_portal.ratelimits import Rate

DRAFT = "draft"
FIELDS = ("name", "permissions", "ip_policy", "network", "networks", "expiry", "expiry_date")
LONGEST = 2000
LONGEST_DRAFT = 8000  # an allow-list of 30 networks and a full text box have 5300


def keep(request: HttpRequest) -> None:
    """Keeps the named fields of a refused POST in the visitor's session.

    SECURITY: only for browsers that come with a session cookie, a few KB and a few times in a while: the cookie may be
    made up, and anybody could fill the session table.
    """
    if request.method != "POST" or settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return
    fields = {
        name: [value[:LONGEST] for value in request.POST.getlist(name)][:40]
        for name in FIELDS
        if name in request.POST
    }
    length = sum(len(value) for values in fields.values() for value in values)
    if not fields or length > LONGEST_DRAFT:
        return
    if ratelimits.take(Rate.DRAFT_ADDRESS, ratelimits.address_bucket(address_of(request))) is None:
        request.session[DRAFT] = {"path": request.path, "fields": fields}


def hand_on(request: HttpRequest, path: str) -> None:
    """Gives the draft of this page to the one at ``path``, when the work starts again there."""
    draft: dict[str, Any] = request.session.get(DRAFT, {})
    if draft.get("path") == request.path:
        request.session[DRAFT] = {**draft, "path": path}


def take(request: HttpRequest) -> dict[str, list[str]]:
    """The draft of this page, once; {} when there is none."""
    draft: dict[str, Any] = request.session.get(DRAFT, {})
    if draft.get("path") != request.path:
        return {}
    del request.session[DRAFT]
    fields: dict[str, list[str]] = draft["fields"]
    return fields
