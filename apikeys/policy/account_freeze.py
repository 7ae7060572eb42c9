"""Reject new keys and changes that add power while the owner's account is frozen."""

from datetime import datetime
from typing import Protocol

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _


class Owner(Protocol):
    """The fields of a key's owner (`accounts.models.User`) that are read here."""

    frozen_at: datetime | None


class AccountFrozen(ValidationError):
    """The owner's account is frozen."""

    def __init__(self) -> None:
        super().__init__(
            _("Your account is frozen. Unfreeze it before you create a key or give a key more power.")
        )


def check_not_frozen(owner: Owner) -> None:
    """Raise `AccountFrozen` if the account of ``owner`` is frozen. The row must have been read just before."""
    # SECURITY: an attacker with an open session must not prepare keys that work once the owner thaws the account.
    if owner.frozen_at is not None:
        raise AccountFrozen
