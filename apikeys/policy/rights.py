"""What staff may do with keys, and the roles that hold it. Pure: no ORM."""

from collections.abc import Collection

from accounts.choices import roles
from accounts.choices.roles import AUDITOR, SECURITY, SUPPORT, StaffRight


class KeyRight(StaffRight):
    """One member a permission; the value is what ``user.has_perm()`` takes."""

    VIEW = "apikeys.view_apikey"
    FREEZE = "accounts.freeze_keys"
    REVOKE = "accounts.revoke_keys"


#: The roles that hold each.
ROLES: dict[StaffRight, Collection[str]] = {
    KeyRight.VIEW: (SUPPORT, SECURITY, AUDITOR),
    KeyRight.FREEZE: (SUPPORT, SECURITY),
    KeyRight.REVOKE: (SECURITY,),
}


def register() -> None:
    """Add the rights to those of staff. Called by `ApiKeysConfig.ready()`."""
    roles.register(ROLES)
