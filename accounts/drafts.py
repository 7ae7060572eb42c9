"""What was typed when a session ran out, kept over the new login; never a code, a password or a secret."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

DRAFT = "draft"
FIELDS = ("name", "permissions", "ip_policy", "network", "networks")
LONGEST = 2000


def keep(request: HttpRequest) -> None:
    """Keeps the named fields of a refused POST in the visitor's session.

    SECURITY: only for browsers that come with a session cookie, or anybody could fill the session table.
    """
    if request.method != "POST" or settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return
    fields = {
        name: [value[:LONGEST] for value in request.POST.getlist(name)][:40]
        for name in FIELDS
        if name in request.POST
    }
    if fields:
        request.session[DRAFT] = {"path": request.path, "fields": fields}


def take(request: HttpRequest) -> dict[str, list[str]]:
    """The draft of this page, once; {} when there is none."""
    draft: dict[str, Any] = request.session.get(DRAFT, {})
    if draft.get("path") != request.path:
        return {}
    del request.session[DRAFT]
    fields: dict[str, list[str]] = draft["fields"]
    return fields
