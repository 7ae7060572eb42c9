"""While an account is frozen no key of it is made or given more power."""

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.models import User


class AccountFrozen(ValidationError):
    """The owner has frozen the account."""

    def __init__(self) -> None:
        super().__init__(_("Your account is frozen: thaw it before you make a key or give one more power."))


def refuse(owner: User) -> None:
    """Raises `AccountFrozen` when ``owner``, a row that was just read, is frozen."""
    # SECURITY: whoever still has a session must not arm keys that go off when the owner thaws the account.
    if owner.frozen_at is not None:
        raise AccountFrozen
