"""Access levels of views. A view without one of these decorators is for finished logins only.

`accounts.access.middleware.DefaultDenyMiddleware` enforces the level.
"""

from collections.abc import Callable
from typing import TypeVar

from django.http import HttpRequest, HttpResponse

from accounts.models import User

V = TypeVar("V", bound=Callable[..., HttpResponse])


def public(view: V) -> V:
    """Anybody may call the view."""
    view.access = "public"  # type: ignore[attr-defined]
    return view


def pending(view: V) -> V:
    """Only somebody whose password was right and whose login is not finished (``request.pending_user``)."""
    view.access = "pending"  # type: ignore[attr-defined]
    return view


def first_password(view: V) -> V:
    """Only somebody who has logged in with a password that is to be replaced (`User.must_replace_password`)."""
    view.access = "first password"  # type: ignore[attr-defined]
    return view


def customer(request: HttpRequest) -> User:
    """The person of a finished login. `DefaultDenyMiddleware` has seen to it; anything else is a programming error."""
    if not isinstance(request.user, User):
        raise TypeError("this view was reached without a finished login")
    return request.user
