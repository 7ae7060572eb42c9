"""Display preferences of a visitor: language, theme and digits, each in a cookie.

Cookies work on pages without a login and on error pages. The account has the preferences as well
(`accounts.actions.preferences`), and they are written into the browser again at each login.
"""

from collections.abc import Mapping
from contextvars import ContextVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse

NAMES = ("language", "theme", "digits")
AUTO = "auto"
#: SECURITY: with this prefix a browser accepts the cookie only from this host and over https, so that no other host of
#: the same domain can set one. On plain http (the demo) browsers refuse it.
HOST_PREFIX = "__Host-"
#: Of the current request. Error pages are rendered without a request in their context.
theme: ContextVar[str] = ContextVar("theme", default="")
digits: ContextVar[str] = ContextVar("digits", default="")


def allowed() -> Mapping[str, frozenset[str]]:
    """Return the values that each preference may have. "auto" is the absence of the cookie."""
    return {
        "language": frozenset(code for code, _name in settings.LANGUAGES),
        "theme": frozenset({"light", "dark"}),
        "digits": frozenset({"latin"}),
    }


def prefix() -> str:
    """Return the prefix of the cookies' names."""
    return HOST_PREFIX if settings.SECURE else ""


def chosen(request: HttpRequest) -> dict[str, str]:
    """Return the preferences that this browser has stored, without values that are not `allowed`.

    The previous version set cookies without the prefix over https. This version still reads them, if there is no other.
    """
    stored = {}
    for name in NAMES:
        # Both names: the previous version used the other one, and so does the script of a page behind an https proxy.
        names = (prefix() + name, HOST_PREFIX + name, name)
        stored[name] = next((request.COOKIES[cookie] for cookie in names if cookie in request.COOKIES), "")
    return known(stored)


def known(values: Mapping[str, str]) -> dict[str, str]:
    """Return the part of ``values`` that is `allowed`."""
    return {name: values[name] for name, choices in allowed().items() if values.get(name) in choices}


def store(response: HttpResponse, values: Mapping[str, str]) -> None:
    """Set the cookies of preferences. ``auto`` deletes one; other values that are not `allowed` change nothing."""
    for name, value in known(values).items():
        response.set_cookie(
            prefix() + name,
            value,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            secure=settings.SECURE,
            samesite="Lax",  # not HttpOnly: the theme button writes its own
        )
    for name in NAMES:
        if values.get(name) == AUTO:
            # A browser refuses to delete a cookie with the prefix by a header without "Secure".
            response.set_cookie(prefix() + name, "", max_age=0, secure=settings.SECURE, samesite="Lax")
        if prefix() and (name in known(values) or values.get(name) == AUTO):
            response.delete_cookie(name, samesite="Lax")  # of the previous version
