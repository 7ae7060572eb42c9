"""What a customer does with a key besides its settings: rename, pause, resume, renew, delete. Each leaves its event."""

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

#: The renewal is offered from a month before the end: time enough for whoever looks in once in a while.
RENEW_BEFORE = timedelta(days=30)


class NameTaken(Exception):
    """Another live key of the customer has this name."""


def rename(request: HttpRequest, key: ApiKey, name: str) -> bool:
    """Gives an active key the clean name ``name``; whether that changed anything. Raises `NameTaken`."""
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
    """Every request with the key is refused from now on; whether it was active."""
    return _move(request, key, KeyState.FROZEN, KeyEvent.FROZEN)


def resume_approval(key: ApiKey, asked: dict[str, Any] | None = None) -> Approval:
    return consent.key_approval(KeyPurpose.THAW, key, asked)


def resume(request: HttpRequest, key: ApiKey, asked: dict[str, Any] | None = None) -> bool:
    """Only after both codes, as their effect. ``asked``: `consent.state_of` the key then.

    Raises `AccountFrozen`, and `ValidationError` for a deleted key.
    """
    account_freeze.check_not_frozen(User.objects.get(pk=key.owner_id))
    with consent.changing(key, Codes.BOTH, asked=asked):
        if not _move(request, key, KeyState.ACTIVE, KeyEvent.THAWED):
            raise ValidationError(_("A deleted key can't be brought back."))
        key.end_first_settings()
    return True


def is_renewable(key: ApiKey) -> bool:
    """Whether 90 more days of trading are offered: in the last 30 days, and when they are over."""
    now = timezone.now()
    trades = key.state == KeyState.ACTIVE and key.can_trade and key.ip_policy == IpPolicy.UNRESTRICTED
    if not trades or key.trade_until is None or (key.expires_at is not None and key.expires_at <= now):
        return False
    return key.trade_until - RENEW_BEFORE <= now


def renewal_codes(key: ApiKey) -> Codes:
    """The codes that renewing takes now: the authenticator's while trading runs, both once it has ended."""
    now, before = timezone.now(), key.power
    return power.codes_for(before, replace(before, trades_until=now + UNRESTRICTED_TRADE), now)


def renew_approval(key: ApiKey, asked: dict[str, Any] | None = None) -> Approval:
    return consent.key_approval(KeyPurpose.RENEW, key, asked)


def renew(request: HttpRequest, key: ApiKey, given: Codes, asked: dict[str, Any] | None = None) -> ApiKey:
    """90 more days of trading from now; only as the effect of the codes ``given``. Returns the key as it is.

    ``asked``: `consent.state_of` the key when they were asked for. Raises `AccountFrozen`, `consent.CodesMissing` when
    trading has ended and both codes were not given, and `ValidationError` when there is nothing to renew.
    """
    with consent.changing(key, given, asked=asked) as current:
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
    """Ends the key for good; whether it was alive."""
    return _move(request, key, KeyState.REVOKED, KeyEvent.REVOKED)


def delete_all(request: HttpRequest, user: User) -> int:
    """Ends all keys of ``user`` for good, all or none; how many."""
    with transaction.atomic():
        # A key that is made meanwhile is deleted with the others or made after them. NO KEY: an event of a single
        # key's deletion refers to this row while it holds that key's row, and the two would wait for each other.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        return sum(delete(request, key) for key in ApiKey.objects.live(user).order_by("pk"))


def _move(request: HttpRequest, key: ApiKey, state: KeyState, event: KeyEvent) -> bool:
    with transaction.atomic():
        moved = key.set_state(state)
        if moved:
            _record(event, request, key)
    return moved


def _record(event: KeyEvent, request: HttpRequest, key: ApiKey, label: str = "", **detail: Any) -> None:
    audit.record(event, request, customer=key.owner, target=str(key.pk), label=label or key.label, **detail)
