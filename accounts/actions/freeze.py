"""Stop the keys of an account: freeze (every request is refused) and quarantine (keys are read-only).

Both are stored on the account, not on its keys: one write stops all keys, also those created meanwhile, and thawing
does not resume keys that were paused one by one.
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
from hitobit_portal.database import clock

QUARANTINE = timedelta(hours=24)


def freeze(
    request: HttpRequest | None,
    user: User,
    *,
    via: str = "page",
    actor: User | None = None,
    reason: str = "",
    token: str = "",
) -> bool:
    """Freeze all keys and end all sessions at once. Return whether the account was not frozen before.

    The link in a notice does not end the sessions of an account that is already frozen. Browsers stay known to the
    account (`known_browsers`): the owner has to log in to undo the freeze, even while others try passwords.

    ``via``: "page", "link" (in a notice), "staff", "command" or "api", for the audit trail; ``actor``: who did it, if
    not the owner; ``reason``: shown to the owner; ``token``: the name of a management token.
    """
    with transaction.atomic():
        changed = User.objects.filter(pk=user.pk, frozen_at=None).update(frozen_at=timezone.now()) == 1
        # SECURITY: a link only freezes. Each login sends a notice with a link; a thief with the stolen phone could
        # otherwise end the owner's sessions again and again before the number is replaced.
        if changed or via != "link":
            sessions.end_all(user, forget_browsers=False)
        if changed:
            detail = _reason_detail(reason) | ({"token": token} if token else {})
            audit.record(Event.ACCOUNT_FROZEN, request, customer=user, actor=actor, via=via, **detail)
    user.refresh_from_db(fields=["frozen_at"])
    return changed


def _reason_detail(reason: str) -> dict[str, Any]:
    return {"reason": reason} if reason else {}


def thaw(
    request: HttpRequest | None, user: User, *, actor: User | None = None, via: str = "", reason: str = ""
) -> bool:
    """Thaw the account: as the effect of both codes (`Purpose.THAW`), by staff (``actor``) or a command (``via``)."""
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
    """Make the keys read-only for 24 hours. Call it in the transaction that replaced the password or a factor."""
    # SECURITY: an attacker who took the account over by a stolen phone cannot empty it before the owner has the
    # notice. By the database's clock: one that is a day behind would end it at once.
    User.objects.filter(pk=user.pk).update(quarantined_until=clock.now() + QUARANTINE)
    user.refresh_from_db(fields=["quarantined_until"])


def quarantine_by_staff(request: HttpRequest | None, user: User, *, actor: User | None, reason: str) -> bool:
    """Start a quarantine of 24 hours and record it. Return False if the account is already in quarantine."""
    now = clock.now()
    free = Q(quarantined_until=None) | Q(quarantined_until__lte=now)
    with transaction.atomic():
        until = now + QUARANTINE
        changed = User.objects.filter(free, pk=user.pk).update(quarantined_until=until) == 1
        if changed:
            audit.record(Event.QUARANTINED, request, customer=user, actor=actor, **_reason_detail(reason))
    return changed


def lift_quarantine(request: HttpRequest, user: User) -> bool:
    """End the quarantine, only as the effect of both codes (`Purpose.LIFT_QUARANTINE`)."""
    changed = User.objects.filter(pk=user.pk, quarantined_until__gt=timezone.now()).update(
        quarantined_until=None
    )
    if changed:
        audit.record(Event.QUARANTINE_LIFTED, request, customer=user)
    return changed == 1
