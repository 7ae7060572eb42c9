"""What other apps add to the staff's pages about people and to the overview.

An app registers a function that loads its part of a page's context; `accounts` knows none of them.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from accounts.choices.registry import Registry
from accounts.models import User

#: Name → context of the page of one customer. The functions check the rights of the role themselves.
CUSTOMER_PAGE: Registry[str, Callable[[HttpRequest, User], dict[str, Any]]] = Registry({})
#: Name → context of the page on which an action on a customer is confirmed.
ACTION_PAGE: Registry[str, Callable[[HttpRequest, User], dict[str, Any]]] = Registry({})
#: Name → context of the overview.
OVERVIEW: Registry[str, Callable[[HttpRequest], dict[str, Any]]] = Registry({})


def customer_context(request: HttpRequest, user: User) -> dict[str, Any]:
    return {name: value for load in CUSTOMER_PAGE.values() for name, value in load(request, user).items()}


def action_context(request: HttpRequest, user: User) -> dict[str, Any]:
    return {name: value for load in ACTION_PAGE.values() for name, value in load(request, user).items()}


def overview_context(request: HttpRequest) -> dict[str, Any]:
    return {name: value for load in OVERVIEW.values() for name, value in load(request).items()}
