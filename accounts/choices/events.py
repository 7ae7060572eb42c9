"""The closed vocabulary of security events, to which each app adds an enumeration of its own. Pure: no ORM."""

import enum
from collections.abc import Mapping
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.choices.registry import RegistrationError, Registry, require_start


class Look(NamedTuple):
    """What a person reads, and the icon and tone of the page's row."""

    title: Promise
    icon: str
    tone: str


class SecurityEvent(enum.Enum):
    """Base of the apps' enumerations: one member an event; the value is the tag that is stored.

    An app declares a subclass and passes the looks of its members to `register` in `AppConfig.ready()`.
    """

    _value_: str

    @property
    def look(self) -> Look:
        return LOOKS[self]


class Event(SecurityEvent):
    """The events of accounts, and of the portal as a whole."""

    LOGIN = "login"
    LOGIN_PASSWORD_REFUSED = "login.password_refused"  # nosec B105
    LOGIN_LIMITED = "login.limited"
    LOGIN_EXCHANGE_REFUSED = "login.exchange_refused"
    LOGOUT = "logout"
    CODE_REFUSED = "code.refused"
    CODE_LOCKED = "code.locked"
    SMS_SENT = "sms.sent"
    SMS_FAILED = "sms.failed"
    SMS_CAPPED = "sms.capped"
    PHONE_CONFIRMED = "factor.phone_confirmed"
    TOTP_CONFIRMED = "factor.totp_confirmed"
    RECOVERY_MADE = "factor.recovery_made"
    RECOVERY_RENEWED = "factor.recovery_renewed"
    RECOVERY_USED = "factor.recovery_used"
    SIGNED_UP = "account.signed_up"
    INVITED = "account.invited"
    LOGIN_NEW_DEVICE = "login.new_device"
    DEVICE_TRUSTED = "device.trusted"
    DEVICE_FORGOTTEN = "device.forgotten"
    SESSION_ENDED = "session.ended"
    SESSIONS_ENDED = "session.others_ended"
    SESSIONS_ENDED_BY_EXCHANGE = "session.ended_by_exchange"
    PASSWORD_CHANGED = "password.changed"  # nosec B105
    PASSWORD_RESET = "password.reset"  # nosec B105
    PHONE_CHANGED = "factor.phone_changed"
    PHONE_CHANGE_ASKED = "factor.phone_change_asked"
    TOTP_CHANGED = "factor.totp_changed"
    FACTORS_RESET_ASKED = "factor.reset_asked"
    FACTORS_RESET = "factor.reset"
    DELAYED_STOPPED = "factor.change_stopped"
    EMAIL_ASKED = "email.asked"
    EMAIL_CHANGED = "email.changed"
    ACCOUNT_FROZEN = "account.frozen"
    ACCOUNT_THAWED = "account.thawed"
    QUARANTINE_LIFTED = "account.quarantine_lifted"
    PREFERENCES_CHANGED = "account.preferences"
    NOTICE_FAILED = "notice.failed"
    AUDIT_PRUNED = "audit.pruned"
    AUDIT_EXPORTED = "audit.exported"
    AUDIT_RESTARTED = "audit.restarted"
    AUDIT_EXPLAINED = "audit.explained"
    PRUNED = "data.pruned"
    MASTER_KEY_ROTATED = "master_key.rotated"
    STAFF_CHANGED_USER = "staff.changed_user"
    STAFF_VIEWED = "staff.viewed"
    STAFF_SEARCHED = "staff.searched"
    STAFF_EXPORTED = "staff.exported"
    STAFF_ENDED_SESSIONS = "staff.ended_sessions"
    QUARANTINED = "account.quarantined"
    ACCOUNT_CLOSED = "account.closed"
    ACCOUNT_REOPENED = "account.reopened"
    ERASURE_REQUESTED = "account.erasure_requested"
    ERASURE_CONFIRMED = "account.erasure_confirmed"
    ERASURE_CANCELLED = "account.erasure_cancelled"
    CUSTOMER_ERASED = "account.erased"
    NOTICE_RESENT = "notice.resent"
    STAFF_MADE = "staff.made"
    USERS_IMPORTED = "users.imported"
    USERS_EXPORTED = "users.exported"
    USER_CREATED = "users.created"
    EXCHANGE_ID_SET = "account.exchange_id_set"
    EXCHANGE_LINKED = "account.exchange_linked"
    SMS_TESTED = "sms.tested"
    TRIAL_LOADED = "trial.loaded"
    WEBHOOK_MADE = "webhook.made"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_MOVED = "webhook.moved"
    WEBHOOK_ROTATED = "webhook.rotated"
    WEBHOOK_DELETED = "webhook.deleted"
    WEBHOOK_TESTED = "webhook.tested"
    WEBHOOK_RESENT = "webhook.resent"


LOOKS: Registry[SecurityEvent, Look] = Registry(
    {
        Event.LOGIN: Look(_("Logged in"), "user", ""),
        Event.LOGIN_PASSWORD_REFUSED: Look(_("Login attempt with a wrong password"), "alert", "warn"),
        Event.LOGIN_LIMITED: Look(_("Login blocked temporarily after too many attempts"), "alert", "danger"),
        Event.LOGIN_EXCHANGE_REFUSED: Look(_("Login with the Hitobit account refused"), "alert", "warn"),
        Event.LOGOUT: Look(_("Logged out"), "exit", ""),
        Event.CODE_REFUSED: Look(_("Wrong code"), "alert", "warn"),
        Event.CODE_LOCKED: Look(_("Codes blocked temporarily after too many wrong ones"), "alert", "danger"),
        Event.SMS_SENT: Look(_("SMS code sent"), "sms", ""),
        Event.SMS_FAILED: Look(_("SMS code could not be sent"), "sms", "warn"),
        Event.SMS_CAPPED: Look(_("SMS code not sent: limit reached"), "sms", "danger"),
        Event.PHONE_CONFIRMED: Look(_("Mobile number confirmed"), "shield", "ok"),
        Event.TOTP_CONFIRMED: Look(_("Authenticator turned on"), "shield", "ok"),
        Event.RECOVERY_MADE: Look(_("Recovery codes created"), "shield", "info"),
        Event.RECOVERY_RENEWED: Look(
            _("New recovery codes created; the old ones no longer work"), "shield", "warn"
        ),
        Event.RECOVERY_USED: Look(_("Recovery code used"), "shield", "warn"),
        Event.SIGNED_UP: Look(_("Account opened"), "user", "ok"),
        Event.INVITED: Look(_("Invitation created"), "user", ""),
        Event.LOGIN_NEW_DEVICE: Look(_("Login from a new device"), "devices", "warn"),
        Event.DEVICE_TRUSTED: Look(_("Device trusted for 30 days"), "devices", "info"),
        Event.DEVICE_FORGOTTEN: Look(_("Device trust removed"), "devices", "info"),
        Event.SESSION_ENDED: Look(_("Session ended from another device"), "exit", "info"),
        Event.SESSIONS_ENDED: Look(_("All other sessions ended"), "exit", "info"),
        Event.SESSIONS_ENDED_BY_EXCHANGE: Look(
            _("All sessions ended, because you logged out of Hitobit"), "exit", "info"
        ),
        Event.PASSWORD_CHANGED: Look(_("Password changed"), "lock", "warn"),
        Event.PASSWORD_RESET: Look(_("Forgotten password reset"), "lock", "danger"),
        Event.PHONE_CHANGED: Look(_("Mobile number changed"), "sms", "danger"),
        Event.PHONE_CHANGE_ASKED: Look(_("Replacement of a lost mobile number requested"), "sms", "danger"),
        Event.TOTP_CHANGED: Look(_("Authenticator changed"), "shield", "danger"),
        Event.FACTORS_RESET_ASKED: Look(_("Two-factor reset requested"), "shield", "danger"),
        Event.FACTORS_RESET: Look(_("Two-factor authentication reset"), "shield", "danger"),
        Event.DELAYED_STOPPED: Look(_("Pending two-factor change stopped"), "shield", "ok"),
        Event.EMAIL_ASKED: Look(_("Confirmation link sent to a new e-mail address"), "info", "info"),
        Event.EMAIL_CHANGED: Look(_("E-mail address for notices changed"), "info", "warn"),
        Event.ACCOUNT_FROZEN: Look(_("Account frozen"), "lock", "danger"),
        Event.ACCOUNT_THAWED: Look(_("Account unfrozen"), "play", "ok"),
        Event.QUARANTINE_LIFTED: Look(_("Quarantine of API keys ended"), "shield", "ok"),
        Event.PREFERENCES_CHANGED: Look(_("Preferences changed"), "sliders", ""),
        Event.NOTICE_FAILED: Look(_("A notice could not be delivered"), "alert", "warn"),
        Event.AUDIT_PRUNED: Look(_("Old security events pruned"), "trash", "warn"),
        Event.AUDIT_EXPORTED: Look(_("Security events exported by an operator"), "download", "info"),
        Event.AUDIT_RESTARTED: Look(_("Chain of security events restarted"), "alert", "danger"),
        Event.AUDIT_EXPLAINED: Look(_("Gap in security event numbers explained"), "alert", "warn"),
        Event.PRUNED: Look(_("Old data removed"), "trash", ""),
        Event.MASTER_KEY_ROTATED: Look(_("Secrets re-encrypted with a new master key"), "rotate", "warn"),
        Event.STAFF_CHANGED_USER: Look(_("Account changed by staff"), "user", "warn"),
        Event.STAFF_VIEWED: Look(_("Viewed by staff"), "eye", ""),
        Event.STAFF_SEARCHED: Look(_("Searched by staff"), "search", ""),
        Event.STAFF_EXPORTED: Look(_("Security events exported"), "download", "warn"),
        Event.STAFF_ENDED_SESSIONS: Look(_("All sessions ended by staff"), "exit", "warn"),
        Event.QUARANTINED: Look(_("API keys put in quarantine"), "shield", "danger"),
        Event.ACCOUNT_CLOSED: Look(_("Account closed"), "lock", "danger"),
        Event.ACCOUNT_REOPENED: Look(_("Account reopened"), "play", "ok"),
        Event.ERASURE_REQUESTED: Look(_("Account closed, to be erased"), "trash", "danger"),
        Event.ERASURE_CONFIRMED: Look(_("Erasure of personal data confirmed"), "trash", "danger"),
        Event.ERASURE_CANCELLED: Look(_("Erasure of personal data cancelled"), "play", "ok"),
        Event.CUSTOMER_ERASED: Look(_("Personal data of a customer erased"), "trash", "warn"),
        Event.NOTICE_RESENT: Look(_("Notice sent again"), "sms", "info"),
        Event.USERS_IMPORTED: Look(_("Customers imported"), "user", "warn"),
        Event.USERS_EXPORTED: Look(_("Customers exported"), "download", "warn"),
        Event.USER_CREATED: Look(_("Account created by the exchange"), "user", "info"),
        Event.EXCHANGE_ID_SET: Look(
            _("Account linked to the Hitobit account by an operator"), "user", "info"
        ),
        Event.EXCHANGE_LINKED: Look(_("Account linked to your Hitobit account"), "user", "warn"),
        Event.STAFF_MADE: Look(_("Staff account created"), "user", "warn"),
        Event.SMS_TESTED: Look(_("Test message sent by an operator"), "sms", "info"),
        Event.TRIAL_LOADED: Look(_("Sample customers created"), "user", "warn"),
        Event.WEBHOOK_MADE: Look(_("Webhook created"), "code", "warn"),
        Event.WEBHOOK_CHANGED: Look(_("Webhook changed"), "code", "warn"),
        Event.WEBHOOK_MOVED: Look(_("Webhook address changed"), "code", "danger"),
        Event.WEBHOOK_ROTATED: Look(_("New webhook secret created"), "rotate", "warn"),
        Event.WEBHOOK_DELETED: Look(_("Webhook deleted"), "trash", "warn"),
        Event.WEBHOOK_TESTED: Look(_("Test event sent to a webhook"), "code", "info"),
        Event.WEBHOOK_RESENT: Look(_("Event sent to a webhook again"), "code", "info"),
    }
)


#: Events of what may change what a key can do: nobody is told of it before every gateway knows.
AWAITED: set[SecurityEvent] = {
    event
    for event in Event
    if event.value.startswith(("account.", "password.", "factor.", "staff.changed_user"))
}


def register(looks: Mapping[SecurityEvent, Look], *, awaited: bool) -> None:
    """Add the events of an app to the vocabulary, with their looks; only in `AppConfig.ready()`.

    ``awaited``: whether they are about what keys can do, so that nobody is told of them before every gateway knows.
    Raise `RegistrationError` for an event or a value that is registered already, and after start.
    """
    require_start()
    known = {event.value for event in LOOKS}
    if again := [event.value for event in looks if event.value in known]:
        raise RegistrationError(f"Registered already: {', '.join(again)}.")
    LOOKS.register(looks)
    if awaited:
        AWAITED.update(looks)


def all_events() -> list[SecurityEvent]:
    """Return every event of the vocabulary, by app."""
    return list(LOOKS)


def event_of(value: str) -> SecurityEvent:
    """Return the event that is stored as ``value``. Raise `ValueError` when no app registered it."""
    for event in LOOKS:
        if event.value == value:
            return event
    raise ValueError(f"{value!r} is no registered event")


def choices() -> list[tuple[str, Promise]]:
    """Return (value, title) of every event. Called by the model's field, which needs no migration for a new event."""
    return [(event.value, look.title) for event, look in LOOKS.items()]
