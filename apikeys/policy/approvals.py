"""The approval purposes of keys, with their texts for SMS, pages and notices. Pure."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.choices import approvals
from accounts.choices.approvals import ApprovalPurpose


class KeyPurpose(ApprovalPurpose):
    """The purposes of approvals for keys. The value is stored with the SMS code."""

    CREATE = "key.create"
    CHANGE = "key.change"
    ROTATE = "key.rotate"
    THAW = "key.thaw"
    RENEW = "key.renew"
    APPROVE_ADDRESS = "key.rescue"
    CONFIRM_REQUEST = "key.request"


#: Texts for the SMS and the page: what a code is for.
SENTENCES: dict[ApprovalPurpose, Promise] = {
    KeyPurpose.CREATE: _("creating the API “%(name)s”"),
    KeyPurpose.CHANGE: _("changing the API “%(name)s”: %(changes)s"),
    KeyPurpose.ROTATE: _("a second credential for the API “%(name)s”"),
    KeyPurpose.THAW: _("resuming the paused API “%(name)s”"),
    KeyPurpose.RENEW: _("90 more days of trading for the API “%(name)s”"),
    KeyPurpose.APPROVE_ADDRESS: _("allowing the API “%(name)s” to be used from %(address)s"),
    KeyPurpose.CONFIRM_REQUEST: _("creating the API “%(name)s”, which Hitobit requested: %(terms)s"),
}
#: Texts for the past: what a code was for.
PAST: dict[ApprovalPurpose, Promise] = {
    KeyPurpose.CREATE: _("for creating an API"),
    KeyPurpose.CHANGE: _("for changing an API"),
    KeyPurpose.ROTATE: _("for a new credential of an API"),
    KeyPurpose.APPROVE_ADDRESS: _("for allowing a new IP to use an API"),
    KeyPurpose.THAW: _("for resuming an API"),
    KeyPurpose.RENEW: _("for 90 more days of trading"),
    KeyPurpose.CONFIRM_REQUEST: _("for creating an API that Hitobit requested"),
}


def register() -> None:
    """Register the purposes with `accounts.choices.approvals`. Called by `ApiKeysConfig.ready()`."""
    approvals.register(SENTENCES, PAST)
