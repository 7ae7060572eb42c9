"""What of a key is approved with codes: the purposes, and what the SMS, the pages and the notices say of them. Pure."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.choices import approvals
from accounts.choices.approvals import ApprovalPurpose


class KeyPurpose(ApprovalPurpose):
    """One member a kind of approval; the value is stored beside the SMS code."""

    CREATE = "key.create"
    CHANGE = "key.change"
    ROTATE = "key.rotate"
    THAW = "key.thaw"
    RENEW = "key.renew"
    RESCUE = "key.rescue"


#: What the SMS and the page say that a code is for.
SENTENCES: dict[ApprovalPurpose, Promise] = {
    KeyPurpose.CREATE: _("creating the API “%(name)s”"),
    KeyPurpose.CHANGE: _("changing the API “%(name)s”: %(changes)s"),
    KeyPurpose.ROTATE: _("a second credential for the API “%(name)s”"),
    KeyPurpose.THAW: _("resuming the paused API “%(name)s”"),
    KeyPurpose.RENEW: _("90 more days of trading for the API “%(name)s”"),
    KeyPurpose.RESCUE: _("letting the API “%(name)s” be used from %(address)s"),
}
#: What a code was for.
PAST: dict[ApprovalPurpose, Promise] = {
    KeyPurpose.CREATE: _("for creating an API"),
    KeyPurpose.CHANGE: _("for changing an API"),
    KeyPurpose.ROTATE: _("for a new credential of an API"),
    KeyPurpose.RESCUE: _("for letting a new IP use an API"),
    KeyPurpose.THAW: _("for resuming an API"),
    KeyPurpose.RENEW: _("for 90 more days of trading"),
}


def register() -> None:
    """Add the purposes to those of accounts. Called by `ApiKeysConfig.ready()`."""
    approvals.register(SENTENCES, PAST)
