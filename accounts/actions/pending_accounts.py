"""Pending accounts: rows for numbers without an account, and how a row becomes an account.

SECURITY: sign-up and "forgotten password" do the same work for numbers with and without an account, so both have a
row with counters and codes. A pending account (``joined_at`` is None) is inactive, has no usable password, and is
deleted after a day.
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
    """The number has an account by now, or its invitation is no longer valid. Nothing was changed."""


def get_or_create_row(phone: str) -> User:
    """Return the row of ``phone`` (E.164): its account, or a pending account, which is created if there is none."""
    fields = {"joined_at": None, "is_active": False, "password": make_password(None)}
    with transaction.atomic():
        user, made = User.objects.select_related("totp", "sms").get_or_create(phone=phone, defaults=fields)
        if made:
            FactorGuard.objects.get_or_create(user=user)
    return user


def extend(user: User) -> bool:
    """Keep the row for another day, because the number's owner has proved it. Return False if it is an account."""
    return User.objects.filter(pk=user.pk, joined_at=None).update(created_at=timezone.now()) == 1


def open_account(request: HttpRequest, user: User, password: str, invitation: int | None) -> User:
    """Turn the pending account into an account with a confirmed phone, at most once. Raise `NumberTakenError`.

    ``invitation``: the id of the invitation that this uses, if one is needed.
    """
    hashed = make_password(password)  # slow, so before the lock
    try:
        account = _open(request, user, hashed, invitation)
    except FactorGuard.DoesNotExist:  # the row was deleted at this moment
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
    """Delete the pending account of ``phone``, so that an existing account can use the number."""
    _delete(Q(phone=phone))


def delete_expired(older_than: timedelta = RETENTION) -> int:
    """Delete pending accounts that were not used for ``older_than``. Return their number."""
    now = timezone.now()
    waiting = SmsCode.objects.filter(expires_at__gt=now).values("user")
    return _delete(Q(created_at__lt=now - older_than) & ~Q(pk__in=waiting))


def _delete(which: Q) -> int:
    with transaction.atomic():
        # The lock under which accounts are opened: a row that becomes an account at this moment is kept.
        unwanted = User.objects.filter(which, joined_at=None)
        guards = FactorGuard.objects.select_for_update(skip_locked=True).filter(user__in=unwanted)
        unlocked = [guard.pk for guard in guards]
        User.objects.filter(pk__in=unlocked, joined_at=None).delete()
    return len(unlocked)
