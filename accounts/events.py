"""The closed vocabulary of security events. Pure: no ORM."""

import enum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Event(enum.Enum):
    """Value: the tag that is stored. ``title``: what a person reads; ``icon`` and ``tone`` are the page's."""

    title: Promise
    icon: str
    tone: str

    LOGIN = ("login", _("Logged in"), "user", "")
    LOGIN_PASSWORD_REFUSED = ("login.password_refused", _("Login with a wrong password"), "alert", "warn")
    LOGIN_LIMITED = ("login.limited", _("Login blocked for a while after many tries"), "alert", "danger")
    LOGOUT = ("logout", _("Logged out"), "exit", "")
    CODE_REFUSED = ("code.refused", _("Wrong code"), "alert", "warn")
    CODE_LOCKED = ("code.locked", _("Codes blocked for a while after many wrong ones"), "alert", "danger")
    SMS_SENT = ("sms.sent", _("SMS code sent"), "sms", "")
    SMS_FAILED = ("sms.failed", _("SMS code could not be sent"), "sms", "warn")
    SMS_CAPPED = ("sms.capped", _("SMS code not sent: too many"), "sms", "danger")
    PHONE_CONFIRMED = ("factor.phone_confirmed", _("Mobile number confirmed"), "shield", "ok")
    TOTP_CONFIRMED = ("factor.totp_confirmed", _("Authenticator turned on"), "shield", "ok")
    RECOVERY_MADE = ("factor.recovery_made", _("Recovery codes made"), "shield", "info")
    RECOVERY_USED = ("factor.recovery_used", _("Recovery code used"), "shield", "warn")
    KEY_APPROVED = ("key.approved", _("Both codes confirmed"), "shield", "ok")
    KEY_CREATED = ("key.created", _("API key created"), "key", "brand")
    KEY_REVEALED = ("key.revealed", _("Secret key shown"), "eye", "info")
    KEY_CHANGED = ("key.changed", _("API key settings changed"), "sliders", "info")
    KEY_FROZEN = ("key.frozen", _("API key paused"), "pause", "info")
    KEY_THAWED = ("key.thawed", _("API key resumed"), "play", "info")
    KEY_REVOKED = ("key.revoked", _("API key deleted"), "trash", "danger")
    STAFF_CHANGED_USER = ("staff.changed_user", _("Account changed by staff"), "user", "warn")

    def __new__(cls, tag: str, title: Promise, icon: str, tone: str) -> "Event":
        member = object.__new__(cls)
        member._value_ = tag
        member.title, member.icon, member.tone = title, icon, tone
        return member

    @classmethod
    def choices(cls) -> list[tuple[str, Promise]]:
        return [(event.value, event.title) for event in cls]
