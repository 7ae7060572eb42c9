"""While an account is frozen no key of it is created or given more power."""

from datetime import datetime
from typing import Protocol

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _


class Owner(Protocol):
    """What is read of a key's owner (`accounts.models.User`)."""

    frozen_at: datetime | None


class AccountFrozen(ValidationError):
    """The owner has frozen the account."""

    def __init__(self) -> None:
        super().__init__(_("Your account is frozen: thaw it before you make a key or give one more power."))


def refuse(owner: Owner) -> None:
    """Raise `AccountFrozen` when ``owner``, a row that was just read, is frozen."""
    # SECURITY: an attacker with an open session must not prepare keys that work once the owner thaws the account.
    if owner.frozen_at is not None:
        raise AccountFrozen
