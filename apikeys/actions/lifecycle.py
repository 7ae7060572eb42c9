"""Rename, pause, resume, renew and delete keys. Each action records an event."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.choices.approvals import Approval
from accounts.models import User
from apikeys.actions import consent
from apikeys.models import ApiKey
from apikeys.policy import account_freeze, names, power
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import UNRESTRICTED_TRADE, IpPolicy, KeyState
from apikeys.policy.events import KeyEvent
from apikeys.policy.power import Codes

#: The renewal is offered from a month before the end, for customers who log in rarely.
RENEW_BEFORE = timedelta(days=30)


class NameTaken(Exception):
    """Another live key of the customer has the same name."""


def rename(request: HttpRequest, key: ApiKey, name: str) -> bool:
    """Rename an active key to the clean name ``name``. Return whether that changed anything. Raises `NameTaken`."""
    if name == key.label:
        return False
    active, before = ApiKey.objects.filter(pk=key.pk, state=KeyState.ACTIVE), key.label
    try:
        with transaction.atomic():
            changed = active.update(label=name, label_folded=names.fold(name)) == 1
            if changed:
                _record(KeyEvent.RENAMED, request, key, name, before=before)
    except IntegrityError:
        raise NameTaken from None
    key.refresh_from_db(fields=["label", "label_folded"])
    return changed


def pause(request: HttpRequest, key: ApiKey) -> bool:
    """Pause the key: all its requests are rejected from now on. Return whether it was active."""
    return _set_state(request, key, KeyState.FROZEN, KeyEvent.FROZEN)


def resume_approval(key: ApiKey, approved_state: dict[str, Any] | None = None) -> Approval:
    return consent.key_approval(KeyPurpose.THAW, key, approved_state)


def resume(request: HttpRequest, key: ApiKey, approved_state: dict[str, Any] | None = None) -> bool:
    """Resume a paused key, as the effect of both codes.

    ``approved_state``: `consent.state_of` the key when the codes were requested. Raises `AccountFrozen`, and
    `ValidationError` for a deleted key.
    """
    account_freeze.check_not_frozen(User.objects.get(pk=key.owner_id))
    with consent.changing(key, Codes.BOTH, approved_state=approved_state):
        if not _set_state(request, key, KeyState.ACTIVE, KeyEvent.THAWED):
            raise ValidationError(_("A deleted key cannot be restored."))
        key.end_first_settings()
    return True


def is_renewable(key: ApiKey) -> bool:
    """Return whether 90 more days of trading are offered: within 30 days before the end, and after it."""
    now = timezone.now()
    trades = key.state == KeyState.ACTIVE and key.can_trade and key.ip_policy == IpPolicy.UNRESTRICTED
    if not trades or key.trade_until is None or (key.expires_at is not None and key.expires_at <= now):
        return False
    return key.trade_until - RENEW_BEFORE <= now


def renewal_codes(key: ApiKey) -> Codes:
    """Return the codes that a renewal requires now: the authenticator's before the end of trading, both after it."""
    now, before = timezone.now(), key.power
    return power.codes_for(before, replace(before, trades_until=now + UNRESTRICTED_TRADE), now)


def renew_approval(key: ApiKey, approved_state: dict[str, Any] | None = None) -> Approval:
    return consent.key_approval(KeyPurpose.RENEW, key, approved_state)


def renew(
    request: HttpRequest, key: ApiKey, given: Codes, approved_state: dict[str, Any] | None = None
) -> ApiKey:
    """Extend trading to 90 days from now, as the effect of the codes ``given``. Return the key's current row.

    ``approved_state``: `consent.state_of` the key when the codes were requested. Raises `AccountFrozen`,
    `consent.CodesMissing` if trading has ended and both codes were not given, and `ValidationError` if there is nothing
    to renew.
    """
    with consent.changing(key, given, approved_state=approved_state) as current:
        if not is_renewable(current) or not current.renew_trade():
            raise ValidationError(
                _("There is nothing to renew: the key was changed in another window meanwhile.")
            )
        current.refresh_from_db(fields=["trade_until"])
        until = current.trade_until.isoformat() if current.trade_until else ""
        if given is Codes.BOTH:
            _record(KeyEvent.APPROVED, request, current, purpose=KeyPurpose.RENEW.value)
        _record(KeyEvent.RENEWED, request, current, until=until)
    return current


def delete(request: HttpRequest, key: ApiKey) -> bool:
    """Delete the key permanently. Return whether it was live."""
    return _set_state(request, key, KeyState.REVOKED, KeyEvent.REVOKED)


def delete_all(request: HttpRequest, user: User) -> int:
    """Delete all keys of ``user`` permanently, in one transaction. Return their number."""
    with transaction.atomic():
        # A key that is created concurrently is deleted too, or created afterwards. NO KEY: the event of a single key's
        # deletion refers to this row while it holds that key's row, which would be a deadlock.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        return sum(delete(request, key) for key in ApiKey.objects.live(user).order_by("pk"))


def _set_state(request: HttpRequest, key: ApiKey, state: KeyState, event: KeyEvent) -> bool:
    with transaction.atomic():
        changed = key.set_state(state)
        if changed:
            _record(event, request, key)
    return changed


def _record(event: KeyEvent, request: HttpRequest, key: ApiKey, label: str = "", **detail: Any) -> None:
    audit.record(event, request, customer=key.owner, target=str(key.pk), label=label or key.label, **detail)
