"""Staff actions on an account: right, texts and function of each. Every action requires a reason."""

from collections.abc import Callable
from dataclasses import dataclass

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.access import sessions
from accounts.access.decorators import customer
from accounts.actions import erasure, freeze, scheduled_changes
from accounts.actions.erasure import Decider
from accounts.choices.events import Event
from accounts.choices.roles import Right
from accounts.models import DelayedChange, User

#: Performs the action with a reason. Returns whether anything changed; conditional writes decide between parallel
#: requests.
Work = Callable[[HttpRequest, User, str], bool]


@dataclass(frozen=True)
class StaffAction:
    """A staff action. ``effect``: text of the confirmation page; ``applies``: whether the action makes sense now;
    ``is_barred``: whether this member of staff may not perform it, whatever their rights.
    """

    name: str
    right: Right
    title: Promise
    effect: Promise
    done: Promise
    icon: str
    applies: Callable[[User], bool]
    work: Work
    undoes: bool = False
    is_barred: Callable[[HttpRequest, User], bool] = lambda _request, _user: False


def _freeze(request: HttpRequest, user: User, reason: str) -> bool:
    return freeze.freeze(request, user, via="staff", actor=customer(request), reason=reason)


def _thaw(request: HttpRequest, user: User, reason: str) -> bool:
    return freeze.thaw(request, user, actor=customer(request), reason=reason)


def _quarantine(request: HttpRequest, user: User, reason: str) -> bool:
    return freeze.quarantine_by_staff(request, user, actor=customer(request), reason=reason)


def _end_sessions(request: HttpRequest, user: User, reason: str) -> bool:
    with transaction.atomic():
        sessions.end_all(user)
        audit.record(
            Event.STAFF_ENDED_SESSIONS, request, customer=user, actor=customer(request), reason=reason
        )
    return True


def _reset(request: HttpRequest, user: User, reason: str) -> bool:
    return (
        scheduled_changes.schedule_factor_reset(user, reason, request=request, actor=customer(request))
        is not None
    )


def _stop_reset(request: HttpRequest, user: User, reason: str) -> bool:
    kind = DelayedChange.Kind.FACTORS
    return scheduled_changes.stop_all(user, request, kind, actor=customer(request), reason=reason) > 0


def _switch(is_active: bool) -> Work:
    event = Event.ACCOUNT_REOPENED if is_active else Event.ACCOUNT_CLOSED

    def work(request: HttpRequest, user: User, reason: str) -> bool:
        with transaction.atomic():
            User.objects.select_for_update(no_key=True).get(pk=user.pk)
            # An erasure that waits is cancelled instead: it would be of an open account.
            if is_active and erasure.waiting(user) is not None:
                return False
            if not User.objects.filter(pk=user.pk, is_active=not is_active).update(is_active=is_active):
                return False
            if not is_active:
                sessions.end_all(user)
            audit.record(event, request, customer=user, actor=customer(request), reason=reason)
        return True

    return work


def _decider(request: HttpRequest) -> Decider:
    return Decider(actor=customer(request), request=request)


def _request_erasure(request: HttpRequest, user: User, reason: str) -> bool:
    try:
        return erasure.request_erasure(user, reason, _decider(request)) is not None
    except erasure.ErasureRefused:
        raise PermissionDenied from None


def _confirm_erasure(request: HttpRequest, user: User, reason: str) -> bool:
    try:
        return erasure.confirm(user, reason, _decider(request))
    except erasure.ErasureRefused:
        raise PermissionDenied from None


def _cancel_erasure(request: HttpRequest, user: User, reason: str) -> bool:
    return erasure.cancel(user, reason, _decider(request))


def _erasure_waits(user: User) -> bool:
    return erasure.waiting(user) is not None


def _erasure_is_unconfirmed(user: User) -> bool:
    waiting = erasure.waiting(user)
    return waiting is not None and waiting.confirmed_at is None


def _requested_erasure(request: HttpRequest, user: User) -> bool:
    waiting = erasure.waiting(user)
    return waiting is not None and erasure.is_requester(waiting, _decider(request))


def _reset_waits(user: User) -> bool:
    return scheduled_changes.waiting(user).filter(kind=DelayedChange.Kind.FACTORS).exists()


STAFF_ACTIONS = (
    StaffAction(
        "freeze", Right.FREEZE, _("Freeze the account"),
        _("Every request with this customer's keys is refused, and every session ends at once. The "
            "customer can undo this with both codes; so can the security role."),
        _("The account is frozen."), "lock",
        lambda user: user.frozen_at is None, _freeze,
    ),
    StaffAction(
        "thaw", Right.THAW, _("Unfreeze the account"),
        _("The keys work again with their previous settings. The customer is notified."),
        _("The account is unfrozen."), "play",
        lambda user: user.frozen_at is not None, _thaw, undoes=True,
    ),
    StaffAction(
        "quarantine", Right.QUARANTINE, _("Put the keys in quarantine"),
        _("For 24 hours the keys are read-only. The customer can end it with both codes."),
        _("The keys are read-only for 24 hours."), "shield",
        lambda user: not user.in_quarantine, _quarantine,
    ),
    StaffAction(
        "end-sessions", Right.END_SESSIONS, _("End all sessions"),
        _("Every browser has to log in again, and no device is trusted any more. Keys keep working."),
        _("All sessions were ended."), "exit",
        lambda user: True, _end_sessions,
    ),
    StaffAction(
        "reset-factors", Right.RESET_FACTORS, _("Reset two-factor authentication"),
        _("In 24 hours the confirmed phone, the authenticator and the recovery codes are removed, all "
            "sessions end, and the keys are read-only for a day. The customer is notified now through "
            "every channel and can stop it."),
        _("Two-factor authentication will be reset in 24 hours unless this is stopped."), "rotate",
        lambda user: (user.has_authenticator or user.has_phone) and not _reset_waits(user), _reset,
    ),
    StaffAction(
        "stop-reset", Right.RESET_FACTORS, _("Stop the two-factor reset"),
        _("Two-factor authentication stays as it is."),
        _("The reset was stopped."), "x",
        _reset_waits, _stop_reset, undoes=True,
    ),
    StaffAction(
        "close", Right.CLOSE, _("Close the account"),
        _("Until the account is reopened, nobody can log in and every request with its keys is "
            "refused."),
        _("The account is closed."), "x",
        lambda user: user.is_active, _switch(is_active=False),
    ),
    StaffAction(
        "reopen", Right.CLOSE, _("Reopen the account"),
        _("Login and keys work again with their previous settings."),
        _("The account is open again."), "play",
        lambda user: not user.is_active and not _erasure_waits(user), _switch(is_active=True), undoes=True,
    ),
    StaffAction(
        "erase", Right.ERASE, _("Request the erasure of personal data"),
        _("The account is closed at once, every session ends, and the customer is notified. If a second "
            "member of staff confirms it, the account, its keys and all personal data are erased for good in "
            "7 days. Until then it can be cancelled."),
        _("The account is closed. A second member of staff has to confirm the erasure."), "trash",
        lambda user: not user.is_staff and not _erasure_waits(user), _request_erasure,
    ),
    StaffAction(
        "confirm-erasure", Right.ERASE, _("Confirm the erasure of personal data"),
        _("When 7 days have passed since the request, the account, its keys and all personal data are erased "
            "for good. Until then it can be cancelled. Whoever requested it cannot confirm it."),
        _("The erasure is confirmed."), "trash",
        _erasure_is_unconfirmed, _confirm_erasure, is_barred=_requested_erasure,
    ),
    StaffAction(
        "cancel-erasure", Right.ERASE, _("Cancel the erasure of personal data"),
        _("Nothing is erased. If the request closed the account, login and keys work again with their "
            "previous settings. The customer is notified."),
        _("The erasure is cancelled."), "play",
        _erasure_waits, _cancel_erasure, undoes=True,
    ),
)  # fmt: skip
BY_NAME = {act.name: act for act in STAFF_ACTIONS}
