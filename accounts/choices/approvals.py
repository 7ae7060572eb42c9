"""What a code may approve, with an enumeration an app, and how the approval is bound to it. Pure."""

import enum
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.choices.registry import RegistrationError, Registry, require_start
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.free_text import plain


class ApprovalPurpose(enum.Enum):
    """Base of the apps' enumerations: one member a kind of approval; the value is stored beside the SMS code.

    An app declares a subclass and passes what it says of its members to `register` in `AppConfig.ready()`.
    """

    _value_: str


class Purpose(ApprovalPurpose):
    """What accounts has approved."""

    LOGIN = "login"
    ENROL_SMS = "enrol.sms"
    ENROL_TOTP = "enrol.totp"
    SIGN_UP = "account.sign_up"
    FORGOT = "password.forgot"
    CHANGE_PASSWORD = "password.change"  # nosec B105
    CHANGE_PHONE = "phone.change"
    LOST_PHONE = "phone.lost"
    CONFIRM_PHONE = "phone.confirm"
    CHANGE_TOTP = "totp.change"
    CONFIRM_TOTP = "totp.confirm"
    CHANGE_EMAIL = "email.change"
    RENEW_RECOVERY = "recovery.renew"
    THAW = "account.thaw"
    LIFT_QUARANTINE = "account.lift_quarantine"
    END_SESSIONS = "sessions.end"
    LINK_EXCHANGE = "exchange.link"


#: Approved before any password: their failures are counted apart (`FactorGuard`).
OUTSIDE: frozenset[ApprovalPurpose] = frozenset({Purpose.SIGN_UP, Purpose.FORGOT})
#: The code is the first one of an authenticator that is turned on by it.
NEW_AUTHENTICATOR: frozenset[ApprovalPurpose] = frozenset({Purpose.ENROL_TOTP, Purpose.CONFIRM_TOTP})
#: The SMS goes to a number that is not confirmed yet, and proves just that number.
NEW_NUMBER: frozenset[ApprovalPurpose] = frozenset(
    {Purpose.ENROL_SMS, Purpose.SIGN_UP, Purpose.CONFIRM_PHONE}
)


#: What the SMS and the page say that a code is for.
SENTENCES: Registry[ApprovalPurpose, Promise] = Registry(
    {
        Purpose.LOGIN: _("login to the API portal"),
        Purpose.ENROL_SMS: _("confirming this mobile number"),
        Purpose.ENROL_TOTP: _("turning on the authenticator"),
        Purpose.SIGN_UP: _("opening an account with this number"),
        Purpose.FORGOT: _("resetting your forgotten password"),
        Purpose.CHANGE_PASSWORD: _("changing your password"),
        Purpose.CHANGE_PHONE: _("changing your mobile number to %(phone)s"),
        Purpose.LOST_PHONE: _("replacing your lost mobile number with %(phone)s"),
        Purpose.CONFIRM_PHONE: _("confirming %(phone)s as the new mobile number"),
        Purpose.CHANGE_TOTP: _("setting up a new authenticator"),
        Purpose.CONFIRM_TOTP: _("turning on the new authenticator"),
        Purpose.CHANGE_EMAIL: _("changing your e-mail to %(email)s"),
        Purpose.RENEW_RECOVERY: _("creating new recovery codes"),
        Purpose.THAW: _("unfreezing your account: all API keys work again"),
        Purpose.LIFT_QUARANTINE: _("ending the quarantine: your API keys can trade and withdraw again"),
        Purpose.END_SESSIONS: _("ending the other sessions of your account"),
        Purpose.LINK_EXCHANGE: _("permanently linking this account to the Hitobit account %(external_id)s"),
    }
)
#: The same in the activity page and in notices: what a code was for.
PAST: Registry[ApprovalPurpose, Promise] = Registry(
    {
        Purpose.LOGIN: _("for login"),
        Purpose.ENROL_SMS: _("for confirming the phone"),
        Purpose.ENROL_TOTP: _("for turning on the authenticator"),
        Purpose.SIGN_UP: _("for opening the account"),
        Purpose.FORGOT: _("for resetting a forgotten password"),
        Purpose.CHANGE_PASSWORD: _("for changing the password"),
        Purpose.CHANGE_PHONE: _("for changing the mobile number"),
        Purpose.LOST_PHONE: _("for replacing a lost mobile number"),
        Purpose.CONFIRM_PHONE: _("for confirming the new mobile number"),
        Purpose.CHANGE_TOTP: _("for setting up a new authenticator"),
        Purpose.CONFIRM_TOTP: _("for turning on the new authenticator"),
        Purpose.CHANGE_EMAIL: _("for changing the e-mail"),
        Purpose.RENEW_RECOVERY: _("for creating new recovery codes"),
        Purpose.THAW: _("for unfreezing the account"),
        Purpose.LIFT_QUARANTINE: _("for ending the quarantine"),
        Purpose.END_SESSIONS: _("for ending the other sessions"),
        Purpose.LINK_EXCHANGE: _("for linking the account to the Hitobit account"),
    }
)


def register(sentences: Mapping[ApprovalPurpose, Promise], past: Mapping[ApprovalPurpose, Promise]) -> None:
    """Add the purposes of an app; only in `AppConfig.ready()`.

    ``sentences``: what the SMS and the page say that a code is for, filled by `Approval.words`; ``past``: what pages
    and notices say later that it was for. Raise `RegistrationError` for a purpose or a value that is registered
    already, for one without both texts, and after start.
    """
    require_start()
    known = {purpose.value for purpose in SENTENCES}
    if again := [purpose.value for purpose in sentences if purpose.value in known]:
        raise RegistrationError(f"Registered already: {', '.join(again)}.")
    if sentences.keys() != past.keys():
        raise RegistrationError("A purpose needs a sentence, and words for the past.")
    SENTENCES.register(sentences)
    PAST.register(past)


def all_purposes() -> list[ApprovalPurpose]:
    """Return every purpose, by app."""
    return list(SENTENCES)


def past_text(value: str) -> str:
    """Return what a code was for, in the active language; "" for a ``value`` that no purpose has."""
    return next((str(text) for purpose, text in PAST.items() if purpose.value == value), "")


@dataclass(frozen=True)
class Change:
    """One part of what is approved, for the page. ``tone``: "warn" if it takes a protection away."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class ChangeRow:
    """The same as a row of a table: what ``name`` was, and what it will be, a line each."""

    name: str
    before: Sequence[str]
    after: Sequence[str]
    tone: str = ""


#: Words of a sentence that people chose.
FREE_WORDS = frozenset({"name"})


@dataclass(frozen=True)
class Approval:
    """One thing to approve: its purpose, the exact content, and the words that name it.

    ``content`` holds JSON values; two approvals are the same only if purpose and content are equal.
    ``words`` fill the purpose's sentence, for the SMS and the page. ``to``: the number (E.164) that the SMS goes to,
    when it is not the account's own.

    SECURITY: a code is bound to more than this: to the login that asked for it, which `accounts.factors.verification`
    and `accounts.factors.sms_codes` take from the request (`accounts.access.logins`). So no approval can forget it.
    """

    purpose: ApprovalPurpose
    content: dict[str, Any]
    words: dict[str, str]
    to: str = ""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a purpose that no app registered."""
        if self.purpose not in SENTENCES:
            raise ValueError(f"{self.purpose} is no registered purpose")

    @property
    def binding(self) -> str:
        """64 hex digits that stand for purpose and content.

        SECURITY: a code obtained for a harmless change must not approve a dangerous one.
        """
        text = json.dumps(
            [self.purpose.value, self.content], sort_keys=True, ensure_ascii=True, separators=(",", ":")
        )
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def sentence(self) -> str:
        # SECURITY: a thief's key may be named as a link; the SMS to the owner would carry it in Hitobit's name.
        words = {name: plain(word) if name in FREE_WORDS else word for name, word in self.words.items()}
        return fill(SENTENCES[self.purpose], **words)


LOGIN = Approval(Purpose.LOGIN, {}, {})
ENROL_SMS = Approval(Purpose.ENROL_SMS, {}, {})
ENROL_TOTP = Approval(Purpose.ENROL_TOTP, {}, {})
SIGN_UP = Approval(Purpose.SIGN_UP, {}, {})
FORGOT = Approval(Purpose.FORGOT, {}, {})
CHANGE_PASSWORD = Approval(Purpose.CHANGE_PASSWORD, {}, {})
CHANGE_TOTP = Approval(Purpose.CHANGE_TOTP, {}, {})
CONFIRM_TOTP = Approval(Purpose.CONFIRM_TOTP, {}, {})
RENEW_RECOVERY = Approval(Purpose.RENEW_RECOVERY, {}, {})
THAW = Approval(Purpose.THAW, {}, {})
LIFT_QUARANTINE = Approval(Purpose.LIFT_QUARANTINE, {}, {})


def end_sessions(which: str) -> Approval:
    """``which``: the id of one session, or "others"."""
    return Approval(Purpose.END_SESSIONS, {"which": which}, {})


def link_exchange(external_id: str) -> Approval:
    """``external_id``: the exchange's id of the customer."""
    return Approval(Purpose.LINK_EXCHANGE, {"external_id": external_id}, {"external_id": plain(external_id)})


def change_phone(phone: str) -> Approval:
    """``phone``: the new number, E.164."""
    return Approval(Purpose.CHANGE_PHONE, {"phone": phone}, {"phone": phone})


def lost_phone(phone: str) -> Approval:
    return Approval(Purpose.LOST_PHONE, {"phone": phone}, {"phone": phone})


def confirm_phone(phone: str) -> Approval:
    return Approval(Purpose.CONFIRM_PHONE, {"phone": phone}, {"phone": phone}, to=phone)


def change_email(email: str) -> Approval:
    """``email``: the new address; "" when there is to be none."""
    # The full stop of its domain is shown as "·", or the phone would make a link of it; the page has it as it is.
    shown = plain(email) if email else gettext("none (removed)")
    return Approval(Purpose.CHANGE_EMAIL, {"email": email}, {"email": shown})
