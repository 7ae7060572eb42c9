"""Rows for numbers without an account, and how one becomes an account.

SECURITY: sign-up and "forgotten password" do the same work for a number that nobody has as for one that somebody has;
so both have a row, with its counters and codes. Such a row (``joined_at`` is None) is no account: it is inactive, has
no usable password, and is removed after a day.
"""

from datetime import timedelta

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.actions import invitations
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import FactorGuard, SmsCode, SmsDevice, User

RETENTION = timedelta(days=1)


class NumberTakenError(Exception):
    """The number has an account by now, or its invitation can't be used any more; nothing was changed."""


def get_or_create_row(phone: str) -> User:
    """The row of ``phone`` (E.164): its owner's account, or a placeholder, which is made where there is none."""
    fields = {"joined_at": None, "is_active": False, "password": make_password(None)}
    with transaction.atomic():
        user, made = User.objects.select_related("totp", "sms").get_or_create(phone=phone, defaults=fields)
        if made:
            FactorGuard.objects.get_or_create(user=user)
    return user


def extend(user: User) -> bool:
    """Notes that the number's owner is here: the row is kept for another day. False when it is an account."""
    return User.objects.filter(pk=user.pk, joined_at=None).update(created_at=timezone.now()) == 1


def open_account(request: HttpRequest, user: User, password: str, invitation: int | None) -> User:
    """Turns the placeholder into an account whose phone is confirmed; at most once. Raises `NumberTakenError`.

    ``invitation``: the id of the one that is used up by this, where one is needed.
    """
    hashed = make_password(password)  # slow, so before the lock
    try:
        account = _open(request, user, hashed, invitation)
    except FactorGuard.DoesNotExist:  # the row was cleared away at this very moment
        account = None
    if account is None:
        raise NumberTakenError
    return account


def _open(request: HttpRequest, user: User, hashed: str, invitation: int | None) -> User | None:
    now = timezone.now()
    with transaction.atomic(durable=True):
        verification.lock(user)
        opened = User.objects.filter(pk=user.pk, joined_at=None).update(
            joined_at=now, created_at=now, is_active=True, password=hashed
        )
        if not opened or (invitation is not None and not invitations.use(invitation, user.phone)):
            transaction.set_rollback(True)
        else:
            SmsDevice.objects.create(
                user=user, number=user.phone, confirmed=True, confirmed_at=now, name="sms"
            )
            account = User.objects.select_related("sms").get(pk=user.pk)
            audit.record(Event.SIGNED_UP, request, customer=account)
            audit.record(Event.PHONE_CONFIRMED, request, customer=account)
            return account
    return None


def delete_for_number(phone: str) -> None:
    """Removes the placeholder of ``phone``, so that an existing account can take the number over."""
    _delete(Q(phone=phone))


def delete_expired(older_than: timedelta = RETENTION) -> int:
    """Removes placeholders that nobody has used for ``older_than``; how many."""
    now = timezone.now()
    waiting = SmsCode.objects.filter(expires_at__gt=now).values("user")
    return _delete(Q(created_at__lt=now - older_than) & ~Q(pk__in=waiting))


def _delete(which: Q) -> int:
    with transaction.atomic():
        # The lock under which accounts are opened: one that becomes an account at this moment is left alone.
        unwanted = User.objects.filter(which, joined_at=None)
        guards = FactorGuard.objects.select_for_update(skip_locked=True).filter(user__in=unwanted)
        found = [guard.pk for guard in guards]
        User.objects.filter(pk__in=found, joined_at=None).delete()
    return len(found)
