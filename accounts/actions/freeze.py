"""Stopping an account's keys: frozen by its owner (nothing passes), or in quarantine (reading passes).

Both stand on the account and not on its keys: one write stops all of them, also those that are made meanwhile, and
thawing leaves keys that were paused one by one as they were.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.access import sessions
from accounts.choices.events import Event
from accounts.models import User

QUARANTINE = timedelta(hours=24)


def freeze(
    request: HttpRequest | None,
    user: User,
    *,
    via: str = "page",
    actor: User | None = None,
    reason: str = "",
) -> bool:
    """Freezes all keys and ends all sessions at once; whether the account was not frozen before.

    The link of a notice ends the sessions of an account that is frozen already no second time. Browsers stay known to
    the account (`known_browsers`): the owner has to log in to undo this, also while strangers try passwords.

    ``via``: "page", "link" of a notice, "staff" or "command", for the audit trail; ``actor``: who did it, when it was
    not the owner; ``reason``: why, which the owner reads.
    """
    with transaction.atomic():
        changed = User.objects.filter(pk=user.pk, frozen_at=None).update(frozen_at=timezone.now()) == 1
        # SECURITY: a link freezes and no more. Each login sends a notice with one; whoever holds the stolen phone would
        # end the owner's session again and again before the number is replaced.
        if changed or via != "link":
            sessions.end_all(user, forget_browsers=False)
        if changed:
            audit.record(
                Event.ACCOUNT_FROZEN, request, customer=user, actor=actor, via=via, **_reason_detail(reason)
            )
    user.refresh_from_db(fields=["frozen_at"])
    return changed


def _reason_detail(reason: str) -> dict[str, Any]:
    return {"reason": reason} if reason else {}


def thaw(
    request: HttpRequest | None, user: User, *, actor: User | None = None, via: str = "", reason: str = ""
) -> bool:
    """After both codes (`Purpose.THAW`), as their effect; or by staff (``actor``) or a command (``via``)."""
    via_detail: dict[str, Any] = {"via": via} if via else {}
    with transaction.atomic():
        changed = User.objects.filter(pk=user.pk, frozen_at__isnull=False).update(frozen_at=None) == 1
        if changed:
            audit.record(
                Event.ACCOUNT_THAWED,
                request,
                customer=user,
                actor=actor,
                **via_detail,
                **_reason_detail(reason),
            )
    return changed


def quarantine(user: User) -> None:
    """For 24 hours the keys only read. Called in the transaction that replaced the password or a factor."""
    # SECURITY: whoever took an account over by a stolen phone can't empty it before its owner has the notice.
    User.objects.filter(pk=user.pk).update(quarantined_until=timezone.now() + QUARANTINE)
    user.refresh_from_db(fields=["quarantined_until"])


def quarantine_by_staff(request: HttpRequest | None, user: User, *, actor: User | None, reason: str) -> bool:
    """24 hours from now, with an event; False when the account is in quarantine already."""
    free = Q(quarantined_until=None) | Q(quarantined_until__lte=timezone.now())
    with transaction.atomic():
        until = timezone.now() + QUARANTINE
        changed = User.objects.filter(free, pk=user.pk).update(quarantined_until=until) == 1
        if changed:
            audit.record(Event.QUARANTINED, request, customer=user, actor=actor, **_reason_detail(reason))
    return changed


def lift_quarantine(request: HttpRequest, user: User) -> bool:
    """Only after both codes (`Purpose.LIFT_QUARANTINE`), as their effect."""
    changed = User.objects.filter(pk=user.pk, quarantined_until__gt=timezone.now()).update(
        quarantined_until=None
    )
    if changed:
        audit.record(Event.QUARANTINE_LIFTED, request, customer=user)
    return changed == 1
