"""Which events are told to their owner, by which channel: puts a row into the outbox in the event's own transaction."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from django.conf import settings

from accounts.choices.events import Event, SecurityEvent, event_of
from accounts.choices.registry import RegistrationError, require_start
from accounts.models import AuditEvent, Notice, User

#: Told whatever the person prefers: each may be the first sign of a theft.
MANDATORY: set[SecurityEvent] = {
    Event.LOGIN_NEW_DEVICE,
    Event.PASSWORD_CHANGED,
    Event.PASSWORD_RESET,
    Event.PHONE_CHANGED,
    Event.PHONE_CHANGE_ASKED,
    Event.TOTP_CHANGED,
    Event.FACTORS_RESET_ASKED,
    Event.FACTORS_RESET,
    Event.EMAIL_CHANGED,
    Event.EXCHANGE_LINKED,
    Event.RECOVERY_USED,
    Event.RECOVERY_RENEWED,
    Event.ACCOUNT_FROZEN,
    Event.ACCOUNT_THAWED,
    Event.ACCOUNT_CLOSED,
    Event.ACCOUNT_REOPENED,
    Event.ERASURE_REQUESTED,
    Event.ERASURE_CANCELLED,
    Event.QUARANTINED,
    Event.CODE_LOCKED,
    Event.LOGIN_LIMITED,
}
#: Told when staff did it, or the exchange by the management API: the owner would look for the fault in their own
#: program.
OF_STAFF: set[SecurityEvent] = set()
#: Told to those who want it (`User.optional_notices` holds the values).
OPTIONAL: tuple[SecurityEvent, ...] = (Event.LOGIN, Event.LOGIN_PASSWORD_REFUSED, Event.RECOVERY_MADE)
#: SECURITY: whoever knows a phone number can bring these about; one of each in an hour is told, and no flood of them.
HOURLY: frozenset[SecurityEvent] = frozenset(
    {Event.CODE_LOCKED, Event.LOGIN_LIMITED, Event.LOGIN_PASSWORD_REFUSED}
)
HOUR = timedelta(hours=1)
#: What a stolen session or password brings about by the dozen: by SMS within `Rate.NOTICE_ACCOUNT`, then later.
#: SECURITY: the rest are never held back, or sixty of these would keep the one about the stolen phone quiet.
HELD_BACK: set[SecurityEvent] = {
    *HOURLY,
    Event.LOGIN,
    Event.LOGIN_NEW_DEVICE,
    Event.RECOVERY_MADE,
}

#: What the portal announces to many at once: sent when nothing else waits.
BULK: set[SecurityEvent] = set()
#: Whether an event that is held back otherwise is not, for its details.
URGENT: list[Callable[[AuditEvent], bool]] = []


def register(
    *,
    mandatory: Collection[SecurityEvent] = (),
    of_staff: Collection[SecurityEvent] = (),
    held_back: Collection[SecurityEvent] = (),
    bulk: Collection[SecurityEvent] = (),
    is_urgent: Callable[[AuditEvent], bool] | None = None,
) -> None:
    """Add the rules of an app's events; only in `AppConfig.ready()`.

    ``mandatory``: told whatever the person prefers; ``of_staff``: told when staff or the exchange did it;
    ``held_back``, some of these: their SMS counts against `Rate.NOTICE_ACCOUNT`, unless ``is_urgent`` returns True for
    the event; ``bulk``, some of these: sent when nothing else waits.
    Raise `RegistrationError` for an event that has a rule already, or is held back or bulk but not told; and after
    start.
    """
    require_start()
    notified = {*mandatory, *of_staff}
    if (
        len(notified) < len(mandatory) + len(of_staff)
        or notified & _all_told()
        or not notified.issuperset({*held_back, *bulk})
    ):
        raise RegistrationError("An event has a rule already, or is held back or bulk but not told.")
    MANDATORY.update(mandatory)
    OF_STAFF.update(of_staff)
    HELD_BACK.update(held_back)
    BULK.update(bulk)
    if is_urgent is not None:
        URGENT.append(is_urgent)


def _all_told() -> set[SecurityEvent]:
    return {*MANDATORY, *OF_STAFF, *OPTIONAL}


def on_event_recorded(
    sender: object, event: AuditEvent, also: Sequence[tuple[str, str]], **_options: object
) -> None:
    """Receiver of `accounts.audit.event_recorded`, in the event's transaction."""
    put(event, *also)


def put(event: AuditEvent, *also: tuple[str, str]) -> None:
    """Rows for the owner's own channels, and for ``also``: (channel, address), e.g. the number that was replaced.

    Called in the event's transaction.
    """
    kind = event_of(event.event)
    if event.customer_id is None or kind not in _all_told():
        return
    # SECURITY: the row as it is now. The one at hand may have been loaded before the number was replaced, and the
    # notice would go to the phone that was stolen.
    user = User.objects.select_related("sms").filter(pk=event.customer_id).first()
    if (
        user is None
        or not (_is_told(kind, user) or _is_of_staff(event))
        or (kind in HOURLY and _was_told(event, user))
    ):
        return
    channels = [pair for pair in [*_channels(user), *also] if _can_send(*pair)]
    Notice.objects.bulk_create(
        [
            Notice(user=user, event=event, channel=channel, to=to, priority=priority(event))
            for channel, to in dict.fromkeys(channels)
        ]
    )


def priority(event: AuditEvent) -> Notice.Priority:
    """Return when the event's notices are sent: signs of a theft first, announcements to many last.

    SECURITY: what a thief can bring about by the dozen is not urgent, or it would delay the notice about the stolen
    phone.
    """
    kind = event_of(event.event)
    if kind in BULK:
        return Notice.Priority.BULK
    return Notice.Priority.URGENT if kind in MANDATORY and not may_wait(event) else Notice.Priority.NORMAL


def may_wait(event: AuditEvent) -> bool:
    """Whether the event's SMS counts against `Rate.NOTICE_ACCOUNT`."""
    return event_of(event.event) in HELD_BACK and not any(is_urgent(event) for is_urgent in URGENT)


def _is_told(event: SecurityEvent, user: User) -> bool:
    return event in MANDATORY or (event in OPTIONAL and event.value in user.optional_notices)


def _is_of_staff(event: AuditEvent) -> bool:
    is_others = event.actor_id not in (None, event.customer_id) or event.detail.get("via") == "api"
    return event_of(event.event) in OF_STAFF and is_others


def _was_told(event: AuditEvent, user: User) -> bool:
    # The owner's row is the lock: of many at once the second sees the first one's notices.
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    return Notice.objects.filter(user=user, event__event=event.event, created_at__gt=event.at - HOUR).exists()


def _channels(user: User) -> list[tuple[str, str]]:
    channels = [(Notice.Channel.SMS.value, user.phone)] if user.has_phone else []
    if user.email:
        channels.append((Notice.Channel.EMAIL.value, user.email))
    return channels


def _can_send(channel: str, to: str) -> bool:
    return bool(to) and (channel != Notice.Channel.EMAIL or settings.EMAIL)
