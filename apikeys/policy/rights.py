"""The staff permissions for keys, and the roles that have them. Pure: no ORM."""

from collections.abc import Collection

from accounts.choices import roles
from accounts.choices.roles import AUDITOR, SECURITY, SUPPORT, StaffRight


class KeyRight(StaffRight):
    """The permissions. The value is the argument of ``user.has_perm()``."""

    VIEW = "apikeys.view_apikey"
    FREEZE = "accounts.freeze_keys"
    REVOKE = "accounts.revoke_keys"


#: The roles that have each permission.
ROLES: dict[StaffRight, Collection[str]] = {
    KeyRight.VIEW: (SUPPORT, SECURITY, AUDITOR),
    KeyRight.FREEZE: (SUPPORT, SECURITY),
    KeyRight.REVOKE: (SECURITY,),
}


def register() -> None:
    """Register the permissions with `accounts.choices.roles`. Called by `ApiKeysConfig.ready()`."""
    roles.register(ROLES)
