"""Addresses that other programs expect on every site: security.txt, change-password, robots.txt."""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

#: How far ahead ``Expires`` of security.txt is. RFC 9116 (2.5.5) recommends less than a year.
VALID_FOR = timedelta(days=180)
#: Names of the pages that have something to read for a visitor without an account.
PUBLIC_PAGES = ("login", "signup", "forgot")


@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    """Where to report vulnerabilities (RFC 9116), from the settings. 404 if there is no contact.

    ``Expires`` is computed for each response: what is served is what the operator has configured now.
    """
    if not settings.SECURITY_CONTACT:
        raise Http404
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    fields = [("Contact", contact) for contact in settings.SECURITY_CONTACT]
    fields.append(("Expires", f"{today + VALID_FOR:%Y-%m-%dT%H:%M:%SZ}"))
    if settings.SECURITY_LANGUAGES:
        fields.append(("Preferred-Languages", ", ".join(settings.SECURITY_LANGUAGES)))
    if settings.SECURE:  # both must be https
        fields.append(("Canonical", settings.BASE_URL + reverse("security_txt")))
    if settings.SECURITY_POLICY:
        fields.append(("Policy", settings.SECURITY_POLICY))
    return _text("".join(f"{name}: {value}\n" for name, value in fields))


@require_safe
def change_password(request: HttpRequest) -> HttpResponse:
    """To the page that changes a password, for password managers (W3C, "A Well-Known URL for Changing Passwords").

    Like every page it is for finished logins: others log in first and come back here.
    """
    return redirect("settings_password")


@require_safe
def robots_txt(request: HttpRequest) -> HttpResponse:
    """Crawlers may fetch public pages only (RFC 9309). It protects nothing; it saves requests that end at the login."""
    # "$" ends the path: not the steps after these pages, and no links of invitations.
    allowed = [f"Allow: {reverse(name)}$" for name in PUBLIC_PAGES]
    lines = ["User-agent: *", *allowed, "Disallow: /"]
    return _text("\n".join(lines) + "\n")


def _text(content: str) -> HttpResponse:
    return HttpResponse(content, content_type="text/plain; charset=utf-8")
