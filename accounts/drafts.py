"""What was typed when a session ran out, kept over the new login; never a code, a password or a secret."""

import re
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from hitobit_portal import ratelimits
from hitobit_portal.context import address_of
from hitobit_portal.ratelimits import Rate

DRAFT = "draft"
FIELDS = (
    "name",
    "permissions",
    "ip_policy",
    "network",
    "networks",
    "expiry",
    "expiry_date",
    "kind",
    "public_key",
    "grace",
)
LONGEST = 2000
#: SECURITY: of what a field for a public key holds nothing else is kept: a private key may have been pasted into it.
PUBLIC_KEY = re.compile(r"\s*-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----\s*")
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
    if not all(map(PUBLIC_KEY.fullmatch, fields.get("public_key", []))):
        del fields["public_key"]
    length = sum(len(value) for values in fields.values() for value in values)
    if not fields or length > LONGEST_DRAFT:
        return
    if ratelimits.take_address(Rate.DRAFT_ADDRESS, address_of(request)) is None:
        request.session[DRAFT] = {"path": request.path, "fields": fields}


def hand_on(request: HttpRequest, path: str) -> bool:
    """Gives the draft of this page to the one at ``path``, when the work starts again there; whether there is one."""
    draft: dict[str, Any] = request.session.get(DRAFT, {})
    if draft.get("path") != request.path:
        return False
    request.session[DRAFT] = {**draft, "path": path}
    return True


def take(request: HttpRequest) -> dict[str, list[str]]:
    """The draft of this page, once; {} when there is none."""
    draft: dict[str, Any] = request.session.get(DRAFT, {})
    if draft.get("path") != request.path:
        return {}
    del request.session[DRAFT]
    fields: dict[str, list[str]] = draft["fields"]
    return fields
