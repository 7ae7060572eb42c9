"""Access levels of views. A view without one of these decorators is for finished logins only.

`accounts.access.middleware.DefaultDenyMiddleware` enforces the level.
"""

from collections.abc import Callable
from typing import TypeVar

from django.http import HttpRequest, HttpResponse

from accounts.models import User

V = TypeVar("V", bound=Callable[..., HttpResponse])


def public(view: V) -> V:
    """Allow everybody to call the view."""
    view.access = "public"  # type: ignore[attr-defined]
    return view


def pending(view: V) -> V:
    """Allow only visitors with a half-finished login (``request.pending_user``): the first step was right."""
    view.access = "pending"  # type: ignore[attr-defined]
    return view


def first_password(view: V) -> V:
    """Allow only users who logged in with a password that has to be replaced (`User.must_replace_password`)."""
    view.access = "first password"  # type: ignore[attr-defined]
    return view


def customer(request: HttpRequest) -> User:
    """Return the user of a finished login. Raise `TypeError` if there is none, which `DefaultDenyMiddleware` rules
    out.
    """
    if not isinstance(request.user, User):
        raise TypeError("this view was reached without a finished login")
    return request.user
