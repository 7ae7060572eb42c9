"""Form drafts: values of a form that was sent after the session expired, kept until the next login.

Codes, passwords and secrets are never kept. A draft belongs to the user of the expired session; another user of the
same browser never sees it.
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
    "template",
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
MAX_VALUE_LENGTH = 2000
#: SECURITY: only a complete public key is kept, because a private key may have been pasted into the field.
PUBLIC_KEY = re.compile(r"\s*-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----\s*")
MAX_DRAFT_LENGTH = 8000  # an allow-list of 30 networks and a full text box need 5300


def session_owner(request: HttpRequest) -> str:
    """Return the id of the user whose session the request belongs to, "" if there is none.

    Call it before ``request.user`` is read, which empties a session that was ended elsewhere.
    """
    return str(request.session.get(SESSION_KEY, ""))


def expired_session_owner(request: HttpRequest) -> str:
    """Return the same for an expired session, as long as its row exists."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return ""
    row = Session.objects.filter(pk=request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")[:40]).first()
    return str(SessionStore().decode(row.session_data).get(SESSION_KEY, "")) if row else ""


def save(request: HttpRequest, owner: str) -> None:
    """Keep the allowed fields of a refused POST in the visitor's session, for ``owner`` (`session_owner`).

    SECURITY: only for browsers with a session of a user, a few KB and rate-limited; otherwise anybody could fill the
    session table.
    """
    if request.method != "POST" or not owner:
        return
    fields = {
        name: [value[:MAX_VALUE_LENGTH] for value in request.POST.getlist(name)][:40]
        for name in FIELDS
        if name in request.POST
    }
    if not all(map(PUBLIC_KEY.fullmatch, fields.get("public_key", []))):
        del fields["public_key"]
    length = sum(len(value) for values in fields.values() for value in values)
    if not fields or length > MAX_DRAFT_LENGTH:
        return
    if ratelimits.acquire_address(Rate.DRAFT_ADDRESS, address_of(request)) is None:
        request.session[DRAFT] = {"owner": owner, "path": request.path, "fields": fields}


def draft_for(request: HttpRequest, user: User) -> dict[str, Any]:
    """Return the draft for ``user`` in the visitor's session; {} if there is none or it belongs to another user."""
    draft: dict[str, Any] = request.session.get(DRAFT, {})
    # SECURITY: two people may use one browser; the second must not read what the first typed.
    return draft if draft.get("owner") == str(user.pk) else {}


def move_to(request: HttpRequest, path: str) -> bool:
    """Assign the draft of this page to the page at ``path``, where the work starts again. Return whether there was
    one.
    """
    draft = _draft_of_page(request)
    if not draft:
        return False
    request.session[DRAFT] = {**draft, "path": path}
    return True


def pop(request: HttpRequest) -> dict[str, list[str]]:
    """Return the draft of this page and delete it; {} if there is none."""
    draft = _draft_of_page(request)
    if not draft:
        return {}
    del request.session[DRAFT]
    fields: dict[str, list[str]] = draft["fields"]
    return fields


def _draft_of_page(request: HttpRequest) -> dict[str, Any]:
    """Return the draft of this page and this user; {} if there is none."""
    draft = draft_for(request, request.user) if isinstance(request.user, User) else {}
    return draft if draft.get("path") == request.path else {}
