"""What was typed when a session ran out, kept over the new login; never a code, a password or a secret.

A draft belongs to the person whose session it was: whoever logs in next in the same browser never sees it.
"""

import re
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.http import HttpRequest

from accounts.models import User
from hitobit_portal.http.context import address_of
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

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


def owner_of(request: HttpRequest) -> str:
    """Whose session the request comes with, as an id; "" when nobody's.

    Asked before anything asks for ``request.user``, which empties a session that was ended from elsewhere.
    """
    return str(request.session.get(SESSION_KEY, ""))


def owner_of_expired(request: HttpRequest) -> str:
    """The same for a session that is too old to be loaded, as long as its row is there."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return ""
    row = Session.objects.filter(pk=request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")[:40]).first()
    return str(SessionStore().decode(row.session_data).get(SESSION_KEY, "")) if row else ""


def keep(request: HttpRequest, owner: str) -> None:
    """Keeps the named fields of a refused POST in the visitor's session, for ``owner`` (`owner_of`).

    SECURITY: only for browsers that come with somebody's session, a few KB and a few times in a while, or anybody could
    fill the session table.
    """
    if request.method != "POST" or not owner:
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
    if ratelimits.acquire_address(Rate.DRAFT_ADDRESS, address_of(request)) is None:
        request.session[DRAFT] = {"owner": owner, "path": request.path, "fields": fields}


def of(request: HttpRequest, user: User) -> dict[str, Any]:
    """The draft that the visitor's session keeps for ``user``; {} when there is none, or it is somebody else's."""
    draft: dict[str, Any] = request.session.get(DRAFT, {})
    # SECURITY: of two people at one browser, the second would read what the first typed.
    return draft if draft.get("owner") == str(user.pk) else {}


def hand_on(request: HttpRequest, path: str) -> bool:
    """Gives the draft of this page to the one at ``path``, when the work starts again there; whether there is one."""
    draft = _here(request)
    if not draft:
        return False
    request.session[DRAFT] = {**draft, "path": path}
    return True


def take(request: HttpRequest) -> dict[str, list[str]]:
    """The draft of this page, once; {} when there is none."""
    draft = _here(request)
    if not draft:
        return {}
    del request.session[DRAFT]
    fields: dict[str, list[str]] = draft["fields"]
    return fields


def _here(request: HttpRequest) -> dict[str, Any]:
    """The draft of this page and this person; {} when there is none."""
    draft = of(request, request.user) if isinstance(request.user, User) else {}
    return draft if draft.get("path") == request.path else {}
