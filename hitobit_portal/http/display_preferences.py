"""How pages look to a visitor: language, theme and digits, in cookies that hold no more than that.

Cookies, so that signed-out pages and error pages look the same; who is logged in has them in the account as well
(`accounts.actions.preferences`), from where they are written again at each login.
"""

from collections.abc import Mapping
from contextvars import ContextVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse

NAMES = ("language", "theme", "digits")
AUTO = "auto"
#: SECURITY: with it a browser takes the cookie from this host alone, over https, so that no neighbour under the same
#: domain writes one. On plain http (the demo) browsers refuse it.
HOST_PREFIX = "__Host-"
#: Of the request in work: error pages are drawn without one.
theme: ContextVar[str] = ContextVar("theme", default="")
digits: ContextVar[str] = ContextVar("digits", default="")


def allowed() -> Mapping[str, frozenset[str]]:
    """Return what each choice may be. "auto" is the absence of the cookie."""
    return {
        "language": frozenset(code for code, _name in settings.LANGUAGES),
        "theme": frozenset({"light", "dark"}),
        "digits": frozenset({"latin"}),
    }


def prefix() -> str:
    """Return the prefix of the cookies' names."""
    return HOST_PREFIX if settings.SECURE else ""


def chosen(request: HttpRequest) -> dict[str, str]:
    """The choices that this browser has stored; nothing that is not `allowed`.

    Cookies of the version before have no prefix over https; they are read in this version, and count less.
    """
    named = {}
    for name in NAMES:
        # The other name besides: of the version before, or of the script of a page that is served over https after all.
        names = (prefix() + name, HOST_PREFIX + name, name)
        named[name] = next((request.COOKIES[one] for one in names if one in request.COOKIES), "")
    return known(named)


def known(values: Mapping[str, str]) -> dict[str, str]:
    """Those of ``values`` that name a choice."""
    return {name: values[name] for name, choices in allowed().items() if values.get(name) in choices}


def store(response: HttpResponse, values: Mapping[str, str]) -> None:
    """Writes choices into the browser; ``auto`` takes one away, and what is no choice is left as it was."""
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
            response.delete_cookie(name, samesite="Lax")  # of the version before
