"""How pages look to a visitor: language, theme and digits, in cookies that hold no more than that.

Cookies, so that signed-out pages and error pages look the same; who is logged in has them in the account as well
(`accounts.preferences`), from where they are written again at each login.
"""

from collections.abc import Mapping
from contextvars import ContextVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse

#: What each cookie may hold. "auto" is the absence of the cookie.
VALUES: Mapping[str, frozenset[str]] = {
    settings.LANGUAGE_COOKIE_NAME: frozenset(code for code, _name in settings.LANGUAGES),
    "theme": frozenset({"light", "dark"}),
    "digits": frozenset({"latin"}),
}
AUTO = "auto"
#: Of the request in work: error pages are drawn without one.
theme: ContextVar[str] = ContextVar("theme", default="")
digits: ContextVar[str] = ContextVar("digits", default="")


def chosen(request: HttpRequest) -> dict[str, str]:
    """The choices that this browser has stored; nothing that is not in VALUES."""
    return known(request.COOKIES)


def known(values: Mapping[str, str]) -> dict[str, str]:
    """Those of ``values`` that name a choice."""
    return {name: values[name] for name, allowed in VALUES.items() if values.get(name) in allowed}


def store(response: HttpResponse, values: Mapping[str, str]) -> None:
    """Writes choices into the browser; ``auto`` takes one away, and what is no choice is left as it was."""
    for name, value in known(values).items():
        response.set_cookie(
            name,
            value,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            secure=settings.SECURE,
            samesite="Lax",  # not HttpOnly: the theme button writes its own
        )
    for name in VALUES:
        if values.get(name) == AUTO:
            response.delete_cookie(name, samesite="Lax")
