"""What staff may do, to which each app adds an enumeration of its own, and the roles that hold it. Pure: no ORM.

Migration 0005 makes a group for each role. Django's ``view_…`` permissions stand here too, so that this is the table.
Nobody on it adds power to a key or sees a secret: no permission for that exists, for superusers neither.
"""

import enum
from collections.abc import Collection, Mapping

from accounts.choices.registry import RegistrationError, require_start


class StaffRight(enum.Enum):
    """Base of the apps' enumerations: one member a permission; the value is what ``user.has_perm()`` takes.

    An app declares a subclass and passes the roles of its members to `register` in `AppConfig.ready()`.
    """

    _value_: str

    @property
    def codename(self) -> str:
        return self.value.partition(".")[2]


class Right(StaffRight):
    """Permissions about accounts and about the portal as a whole."""

    VIEW_CUSTOMER = "accounts.view_user"
    VIEW_EVENT = "accounts.view_auditevent"
    SEE_CONTACT = "accounts.see_contact"
    SEE_STAFF = "accounts.see_staff"
    SEARCH_MANY = "accounts.browse_customers"
    RESEND_NOTICE = "accounts.resend_notice"
    FREEZE = "accounts.freeze_customer"
    THAW = "accounts.thaw_customer"
    QUARANTINE = "accounts.quarantine_customer"
    RESET_FACTORS = "accounts.reset_factors"
    END_SESSIONS = "accounts.end_sessions"
    CLOSE = "accounts.close_customer"
    ERASE = "accounts.erase_customer"
    EXPORT_EVENTS = "accounts.export_events"
    VIEW_WEBHOOK = "accounts.view_webhookendpoint"
    SEND_WEBHOOK = "accounts.send_webhook"
    VIEW_SMS = "accounts.view_smsdelivery"


#: Those that Django does not make by itself; the permissions of the customer's model.
CUSTOM = [
    (Right.SEE_CONTACT.codename, "Can see phone numbers and e-mail in full"),
    (Right.SEE_STAFF.codename, "Can see the accounts of staff"),
    (Right.SEARCH_MANY.codename, "Can list customers without knowing one"),
    (Right.RESEND_NOTICE.codename, "Can send a notice again"),
    (Right.FREEZE.codename, "Can freeze an account"),
    (Right.THAW.codename, "Can thaw an account"),
    (Right.QUARANTINE.codename, "Can put an account's keys in quarantine"),
    (Right.RESET_FACTORS.codename, "Can reset second factors in 24 hours, and stop that"),
    (Right.END_SESSIONS.codename, "Can end all sessions of an account"),
    (Right.CLOSE.codename, "Can close and reopen an account"),
    (Right.ERASE.codename, "Can request, confirm and cancel the erasure of a customer"),
    # Rights that apikeys registers. They were made as permissions of this model and stay so in the database.
    ("freeze_keys", "Can pause keys"),
    ("revoke_keys", "Can delete keys for good"),
    (Right.EXPORT_EVENTS.codename, "Can export security events"),
]

SUPPORT, SECURITY, AUDITOR = "support", "security", "auditor"
_DAILY = {Right.VIEW_CUSTOMER, Right.FREEZE, Right.RESEND_NOTICE, Right.VIEW_SMS}
_SEES = {Right.VIEW_CUSTOMER, Right.VIEW_EVENT, Right.SEE_CONTACT, Right.SEARCH_MANY}
ROLES: dict[str, frozenset[StaffRight]] = {
    # Answers who calls. SECURITY: contact data stay masked, and a customer is found by what the caller says (whole
    # number, whole e-mail, a key): a list, or a search by parts of numbers, would be the exchange's address book.
    SUPPORT: frozenset(_DAILY),
    # Follows up what support stopped: calls back (numbers in full), undoes, resets, deletes.
    SECURITY: frozenset(
        _DAILY
        | _SEES
        | {
            Right.THAW,
            Right.QUARANTINE,
            Right.RESET_FACTORS,
            Right.END_SESSIONS,
            Right.CLOSE,
            # SECURITY: it takes two of them (`accounts.actions.erasure`).
            Right.ERASE,
            Right.VIEW_WEBHOOK,
            Right.SEND_WEBHOOK,
        }
    ),
    # Looks at everybody, staff too, and changes nothing.
    AUDITOR: frozenset(_SEES | {Right.SEE_STAFF, Right.EXPORT_EVENTS, Right.VIEW_WEBHOOK, Right.VIEW_SMS}),
}


def register(rights: Mapping[StaffRight, Collection[str]]) -> None:
    """Add the rights of an app, each with the roles that hold it; only in `AppConfig.ready()`.

    The permissions and the groups of the database are made by migrations. Raise `RegistrationError` for a right that is
    registered already, for an unknown role, and after start.
    """
    require_start()
    known = {right.value for right in all_rights()}
    if again := [right.value for right in rights if right.value in known]:
        raise RegistrationError(f"Registered already: {', '.join(again)}.")
    if unknown := {role for roles in rights.values() for role in roles} - ROLES.keys():
        raise RegistrationError(f"No such role: {', '.join(sorted(unknown))}.")
    for right, roles in rights.items():
        for role in roles:
            ROLES[role] |= {right}


def all_rights() -> set[StaffRight]:
    """Return every right of every app."""
    return {right for held in ROLES.values() for right in held}
