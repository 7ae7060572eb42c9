"""What staff may do, and the roles that hold it. Pure: no ORM.

Migration 0005 makes a group for each role. Django's ``view_…`` permissions stand here too, so that this is the table.
Nobody on it adds power to a key or sees a secret: no permission for that exists, for superusers neither.
"""

import enum


class Right(enum.Enum):
    """One member a permission; the value is what ``user.has_perm()`` takes."""

    VIEW_CUSTOMER = "accounts.view_user"
    VIEW_KEY = "apikeys.view_apikey"
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
    FREEZE_KEYS = "accounts.freeze_keys"
    REVOKE_KEYS = "accounts.revoke_keys"
    EXPORT_EVENTS = "accounts.export_events"

    @property
    def codename(self) -> str:
        return self.value.partition(".")[2]


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
    (Right.FREEZE_KEYS.codename, "Can pause keys"),
    (Right.REVOKE_KEYS.codename, "Can delete keys for good"),
    (Right.EXPORT_EVENTS.codename, "Can export security events"),
]

SUPPORT, SECURITY, AUDITOR = "support", "security", "auditor"
_DAILY = {Right.VIEW_CUSTOMER, Right.VIEW_KEY, Right.FREEZE, Right.FREEZE_KEYS, Right.RESEND_NOTICE}
_SEES = {Right.VIEW_CUSTOMER, Right.VIEW_KEY, Right.VIEW_EVENT, Right.SEE_CONTACT, Right.SEARCH_MANY}
ROLES: dict[str, frozenset[Right]] = {
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
            Right.REVOKE_KEYS,
        }
    ),
    # Looks at everybody, staff too, and changes nothing.
    AUDITOR: frozenset(_SEES | {Right.SEE_STAFF, Right.EXPORT_EVENTS}),
}
