"""Who of the staff may see and do what. The table is `accounts.choices.roles`; nothing here knows a role by name."""

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.access.decorators import customer
from accounts.choices.roles import Right
from accounts.models import User


def has_right(request: HttpRequest, right: Right) -> bool:
    """Whether the member of staff has ``right``; superusers have all."""
    return customer(request).has_perm(right.value)


def require_right(request: HttpRequest, right: Right) -> None:
    """Raises `PermissionDenied` (403) without ``right``."""
    if not has_right(request, right):
        raise PermissionDenied


def can_list_customers(request: HttpRequest) -> bool:
    """Whether the member of staff may see rows of customers whom they could not name: each list asks this.

    SECURITY: without it, a list of keys or of events is the list of customers that the role must not have.
    """
    return has_right(request, Right.SEARCH_MANY)


def visible_accounts(request: HttpRequest) -> QuerySet[User]:
    """The accounts that this member of staff may look at; numbers that somebody merely typed are none."""
    people = User.objects.exclude(joined_at=None)
    # SECURITY: colleagues' sessions, addresses and factors are what one would need to become one of them.
    return people if has_right(request, Right.SEE_STAFF) else people.filter(is_staff=False)


def can_act_on(request: HttpRequest, user: User) -> bool:
    """SECURITY: nobody resets or thaws themselves, and support can't end a superuser's sessions all day."""
    me = customer(request)
    return user.pk != me.pk and (me.is_superuser or not (user.is_staff or user.is_superuser))
