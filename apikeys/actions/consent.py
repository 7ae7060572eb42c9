"""Check that the entered codes are sufficient for every write that may give a key more power.

Pages decide which codes to ask for from the rows that they read. `changing` decides again under the lock, at the time
of the write, from the rows before and after it.
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
    """The change requires more codes than were entered."""

    def __init__(self) -> None:
        super().__init__(_("This needs the SMS code and the authenticator code."))


class ChangedMeanwhile(ValidationError):
    """The key was changed since the codes were requested."""

    def __init__(self) -> None:
        super().__init__(_("The key was changed in another window meanwhile. Check it and try again."))


def state_of(key: ApiKey) -> dict[str, Any]:
    """Return the key, in JSON values, as shown to the person who is asked for codes. The codes are bound to it."""
    return {
        "name": key.label,
        "settings": key.settings.as_json(),
        "trade_until": key.trade_until.isoformat() if key.trade_until else "",
        "credential": key.newest_serial,
    }


def key_approval(
    purpose: KeyPurpose,
    key: ApiKey,
    approved_state: dict[str, Any] | None,
    words: dict[str, str] | None = None,
    **about: Any,
) -> Approval:
    """Return an approval bound to ``key`` in ``approved_state`` (`state_of`, when the codes were requested; None: now).

    SECURITY: the SMS names the key, and its reader knows what that key can do. Codes for a key that only reads must not
    add a credential or an address to the same key once it can withdraw, or after its name was given to another key.
    """
    approved_state = approved_state or state_of(key)
    content = {"key": str(key.pk), "asked": approved_state, **about}
    return Approval(purpose, content, {"name": approved_state["name"], **(words or {})})


@contextmanager
def changing(key: ApiKey, given: Codes, approved_state: dict[str, Any] | None = None) -> Iterator[ApiKey]:
    """Lock ``key`` and yield its current row. The block may add the power that the codes ``given`` allow.

    ``approved_state``: `state_of` the key when the codes were requested. Raises `ChangedMeanwhile` if the state is not
    the same now, `CodesMissing` if the block adds too much power, `AccountFrozen` if it adds power while the account is
    frozen; the transaction is then rolled back.
    """
    with transaction.atomic():
        # Lock only the key's row: `lifecycle.delete_all` holds the owner's row and waits for the keys.
        rows = ApiKey.objects.select_for_update(no_key=True, of=("self",)).select_related("owner")
        current = rows.get(pk=key.pk)
        if approved_state is not None and state_of(current) != approved_state:
            raise ChangedMeanwhile
        before, now = current.power, timezone.now()
        yield current
        needed = power.codes_for(before, rows.get(pk=key.pk).power, now)
        if needed is not Codes.NONE:
            account_freeze.check_not_frozen(current.owner)
        if needed > given:
            raise CodesMissing
