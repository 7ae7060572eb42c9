"""The gate in front of every write that may give a key more power: the codes that were given must suffice for it.

Pages decide which codes they ask for from what they read; the gate decides again under the lock, at the time of the
write, and from the rows as they are before and after it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.choices.approvals import Approval
from apikeys.models import ApiKey
from apikeys.policy import account_freeze, power
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.power import Codes


class CodesMissing(ValidationError):
    """The change takes more codes than were given."""

    def __init__(self) -> None:
        super().__init__(_("This takes the SMS code and the authenticator code."))


class ChangedMeanwhile(ValidationError):
    """The key is not as it was when the change was asked for."""

    def __init__(self) -> None:
        super().__init__(_("The key was changed in another window meanwhile. Look at it and try again."))


def state_of(key: ApiKey) -> dict[str, Any]:
    """The key as the person sees it who is asked for codes, in JSON values: what these codes are bound to."""
    return {
        "name": key.label,
        "settings": key.settings.as_json(),
        "trade_until": key.trade_until.isoformat() if key.trade_until else "",
        "credential": key.newest_serial,
    }


def key_approval(
    purpose: KeyPurpose,
    key: ApiKey,
    asked: dict[str, Any] | None,
    words: dict[str, str] | None = None,
    **about: Any,
) -> Approval:
    """An approval about ``key`` as it was when the codes were ``asked`` for (`state_of`; None: now), and nothing else.

    SECURITY: the SMS names the key, and its reader knows what that key can do. Codes for a key that only reads must not
    add a credential or an address to the same key once it withdraws, or after another key was given its name.
    """
    asked = asked or state_of(key)
    content = {"key": str(key.pk), "asked": asked, **about}
    return Approval(purpose, content, {"name": asked["name"], **(words or {})})


@contextmanager
def changing(key: ApiKey, given: Codes, asked: dict[str, Any] | None = None) -> Iterator[ApiKey]:
    """Locks ``key`` and yields it as it is; what the block writes may add the power that ``given`` allows.

    ``asked``: `state_of` the key when the codes were asked for. Raises `ChangedMeanwhile` when that is another one now,
    `CodesMissing` when the block adds too much, `AccountFrozen` when it adds any while the account is frozen; then
    nothing of it is kept.
    """
    with transaction.atomic():
        # The key's row alone: `life.delete_all` holds the owner's row and waits for the keys'.
        rows = ApiKey.objects.select_for_update(no_key=True, of=("self",)).select_related("owner")
        current = rows.get(pk=key.pk)
        if asked is not None and state_of(current) != asked:
            raise ChangedMeanwhile
        before, now = current.power, timezone.now()
        yield current
        needed = power.codes_for(before, rows.get(pk=key.pk).power, now)
        if needed is not Codes.NONE:
            account_freeze.check_not_frozen(current.owner)
        if needed > given:
            raise CodesMissing
