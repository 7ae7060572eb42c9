"""Authorization of staff. The rights of each role are in `accounts.choices.roles`; this module names no role."""

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.access.decorators import customer
from accounts.choices.roles import Right, StaffRight
from accounts.models import User


def has_right(request: HttpRequest, right: StaffRight) -> bool:
    """Return whether the staff member has ``right``. Superusers have all rights."""
    return customer(request).has_perm(right.value)


def require_right(request: HttpRequest, right: StaffRight) -> None:
    """Raise `PermissionDenied` (403) without ``right``."""
    if not has_right(request, right):
        raise PermissionDenied


def can_list_customers(request: HttpRequest) -> bool:
    """Return whether the staff member may see rows of customers whom they cannot name. Every list checks this.

    SECURITY: otherwise a list of keys or events would be the list of customers that the role must not see.
    """
    return has_right(request, Right.SEARCH_MANY)


def visible_accounts(request: HttpRequest) -> QuerySet[User]:
    """Return the accounts that this staff member may see, without pending accounts."""
    people = User.objects.exclude(joined_at=None)
    # SECURITY: sessions, addresses and factors of colleagues would help to impersonate them.
    return people if has_right(request, Right.SEE_STAFF) else people.filter(is_staff=False)


def can_act_on(request: HttpRequest, user: User) -> bool:
    """Return whether the staff member may act on ``user``.

    SECURITY: nobody resets or thaws their own account, and support cannot keep ending a superuser's sessions.
    """
    me = customer(request)
    return user.pk != me.pk and (me.is_superuser or not (user.is_staff or user.is_superuser))
