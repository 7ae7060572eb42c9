"""Which events are told to their owner, by which channel: puts a row into the outbox in the event's own transaction."""

from accounts.events import Event
from accounts.models import AuditEvent, Notice, User

#: Told whatever the person prefers: each may be the first sign of a theft.
MANDATORY = frozenset(
    {
        Event.LOGIN_NEW_DEVICE,
        Event.PASSWORD_CHANGED,
        Event.PASSWORD_RESET,
        Event.PHONE_CHANGED,
        Event.PHONE_CHANGE_ASKED,
        Event.TOTP_CHANGED,
        Event.FACTORS_RESET_ASKED,
        Event.FACTORS_RESET,
        Event.EMAIL_CHANGED,
        Event.RECOVERY_USED,
        Event.KEY_CREATED,
        Event.KEY_CHANGED,
        Event.KEY_REVOKED,
        Event.KEY_EXPIRES_SOON,
        Event.ACCOUNT_FROZEN,
        Event.ACCOUNT_THAWED,
        Event.CODE_LOCKED,
        Event.LOGIN_LIMITED,
    }
)
#: Told to those who want it (`User.optional_notices` holds the values).
OPTIONAL = (Event.LOGIN, Event.LOGIN_PASSWORD_REFUSED, Event.RECOVERY_MADE)


def put(event: AuditEvent, *also: tuple[str, str]) -> None:
    """Rows for the owner's own channels, and for ``also``: (channel, address), e.g. the number that was replaced."""
    user = event.customer
    if user is None or not _is_told(Event(event.event), user):
        return
    channels = [*_channels(user), *also]
    Notice.objects.bulk_create(
        [Notice(user=user, event=event, channel=channel, to=to) for channel, to in dict.fromkeys(channels)]
    )


def _is_told(event: Event, user: User) -> bool:
    return event in MANDATORY or (event in OPTIONAL and event.value in user.optional_notices)


def _channels(user: User) -> list[tuple[str, str]]:
    channels = [(Notice.Channel.SMS.value, user.phone)] if user.has_phone else []
    if user.email:
        channels.append((Notice.Channel.EMAIL.value, user.email))
    return channels
