"""Requests of the exchange's back office for a key: made and withdrawn by its API, answered by the customer alone.

SECURITY: a request is no power. Whoever stole the back office's token can make requests, and nothing that they made
works before the customer has seen exactly what it is and typed both codes for it.
"""

import enum
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.choices.approvals import Approval
from accounts.models import User
from accounts.operations import chores
from apikeys.models import ApiKey, KeyRequest
from apikeys.policy import account_freeze, key_terms, names
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import LIVE_KEYS, RequestState
from apikeys.policy.events import KeyEvent
from apikeys.policy.settings_change import Settings, SettingsChange
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

LIFETIME = timedelta(days=7)
#: More would hide one among many, and a person who is asked too often says yes.
MAX_WAITING = 5
#: Closed in one round of the recurring work.
BATCH = 500
#: Compared with it, a requested key's settings are all new.
NOTHING = Settings(frozenset(), "", ())


class RequestProblem(enum.Enum):
    """Why no request can be made. The values are codes and titles of problem documents."""

    CLOSED = "account-closed", "The account is closed."
    FROZEN = "account-frozen", "The account is frozen."
    NOT_FROZEN = "account-not-frozen", "The account is not frozen."
    FACTORS = (
        "factors-missing",
        "The customer does not have both factors, and so could not confirm the request.",
    )
    KEY_LIMIT = "key-limit", f"The customer has {LIVE_KEYS} keys, as many as an account can have."
    WAITING = "too-many-waiting", f"{MAX_WAITING} requests to this customer are waiting already."
    NAME = "name-taken", "The customer has a key, or a request that is waiting, with this name."
    ANSWERED = "request-closed", "The request was answered already, or has expired."


class RequestNotMade(Exception):
    """No request was made, or it was not withdrawn, for the `RequestProblem` in ``problem``."""

    def __init__(self, problem: RequestProblem) -> None:
        super().__init__(problem.name)
        self.problem = problem


class TooManyRequests(Exception):
    """The customer got as many requests as are allowed in a day; ``wait``: seconds until the next one."""

    def __init__(self, wait: int) -> None:
        super().__init__()
        self.wait = wait


def make(user: User, name: str, settings: Settings, token: str) -> KeyRequest:
    """Make a request for a key with the clean name ``name``, and notify the customer.

    ``token``: the name of the management token. Raise `RequestNotMade` and `TooManyRequests`.
    """
    with transaction.atomic():
        # The owner's row is the lock for the counts, as for the keys themselves.
        owner = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        problem = problem_of(owner) or _problem_of_key(owner, name)
        if problem is not None:
            raise RequestNotMade(problem)
        _acquire(owner, Rate.KEY_REQUEST_CUSTOMER)
        now = timezone.now()
        # A key that would have expired before its confirmation is no longer worth one.
        ends = [now + LIFETIME, *([settings.expiry] if settings.expiry else [])]
        request = KeyRequest.objects.create(
            owner=owner, requested_by=token, label=name, label_folded=names.fold(name), waits_until=min(ends),
            **_columns(settings),
        )  # fmt: skip
        changes = SettingsChange(NOTHING, settings).codes()
        _record(KeyEvent.REQUESTED, None, request, via="api", token=token, changes=changes)
    return request


def request_thaw(user: User, token: str) -> None:
    """Ask the customer to thaw the account. Raise `RequestNotMade` and `TooManyRequests`.

    SECURITY: nothing but a notice, which leads to the page that takes both codes.
    """
    with transaction.atomic():
        owner = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        problem = problem_of(owner)
        if problem is not RequestProblem.FROZEN:
            raise RequestNotMade(problem or RequestProblem.NOT_FROZEN)
        _acquire(owner, Rate.THAW_REQUEST_CUSTOMER)
        audit.record(KeyEvent.THAW_REQUESTED, None, customer=owner, via="api", token=token)


def problem_of(owner: User) -> RequestProblem | None:
    """Return why the customer could not confirm anything now; a frozen account last, as it alone can be thawed."""
    if not owner.is_active:
        return RequestProblem.CLOSED
    if not owner.has_both_factors:
        return RequestProblem.FACTORS
    return RequestProblem.FROZEN if owner.frozen_at is not None else None


def _problem_of_key(owner: User, name: str) -> RequestProblem | None:
    live, waiting, folded = ApiKey.objects.live(owner), waiting_for(owner), names.fold(name)
    if live.count() >= LIVE_KEYS:
        return RequestProblem.KEY_LIMIT
    if waiting.count() >= MAX_WAITING:
        return RequestProblem.WAITING
    if live.filter(label_folded=folded).exists() or waiting.filter(label_folded=folded).exists():
        return RequestProblem.NAME
    return None


def _acquire(owner: User, rate: Rate) -> None:
    # SECURITY: each request is a notice. A stolen token could otherwise make and withdraw requests, and flood a phone.
    wait = ratelimits.acquire(rate, str(owner.pk))
    if wait is not None:
        raise TooManyRequests(wait)


def _columns(settings: Settings) -> dict[str, Any]:
    columns = settings.as_json()
    return {**columns, "networks": list(settings.networks), "expires_at": settings.expiry}


def waiting_for(owner: User) -> QuerySet[KeyRequest]:
    """Return the requests that ``owner`` can answer now, newest first."""
    return KeyRequest.objects.filter(
        owner=owner, state=RequestState.WAITING, waits_until__gt=timezone.now()
    ).order_by("-pk")


def approval(request: KeyRequest) -> Approval:
    """Return an approval that is bound to everything that the request says.

    SECURITY: codes for one request confirm no other one, nor the same one with other settings.
    """
    content = _content(request)
    words = {"name": request.label, "terms": key_terms.short(request.settings)}
    return Approval(KeyPurpose.CONFIRM_REQUEST, content, words)


def _content(request: KeyRequest) -> dict[str, Any]:
    return {
        "request": request.pk,
        "name": request.label,
        "settings": request.settings.as_json(),
        "requested_by": request.requested_by,
    }


class NoLongerWaiting(ValidationError):
    """The request was answered, withdrawn or changed since the customer saw it, or it has expired."""

    def __init__(self) -> None:
        super().__init__(_("This request is no longer waiting: it was answered, withdrawn, or has expired."))


def confirm(http: HttpRequest, shown: KeyRequest, wizard: Any) -> ApiKey:
    """Create the key with its settings in force, as the effect of both codes. Return the key.

    ``shown``: the request as the customer saw it; ``wizard``: the attempt, as of a key that the customer creates.
    Raise `NoLongerWaiting`, `AccountFrozen`, `KeyLimitReached`, and `IntegrityError` if the name is taken.
    """
    with transaction.atomic():
        request = KeyRequest.objects.select_for_update(of=("self",)).select_related("owner").get(pk=shown.pk)
        if not request.is_waiting or _content(request) != _content(shown):
            raise NoLongerWaiting
        owner, settings = request.owner, request.settings
        account_freeze.check_not_frozen(owner)
        key = ApiKey.objects.create_with_secret(owner, request.label, wizard)
        before = key.settings
        key.apply(settings.permissions, settings.ip_policy, settings.networks, settings.expiry)
        if not close(request, RequestState.CONFIRMED, key):
            raise NoLongerWaiting
        about: dict[str, Any] = {"customer": owner, "target": str(key.pk), "label": key.label}
        audit.record(KeyEvent.APPROVED, http, **about, purpose=KeyPurpose.CONFIRM_REQUEST.value)
        audit.record(KeyEvent.CREATED, http, **about)
        changes = SettingsChange(before, key.settings).codes()
        if changes:
            audit.record(KeyEvent.CHANGED, http, **about, changes=changes)
        _record(KeyEvent.REQUEST_CONFIRMED, http, request, token=request.requested_by, key=str(key.pk))
    return key


def decline(http: HttpRequest, request: KeyRequest) -> bool:
    """Decline the request, without codes, because no power is added. Return whether it was still waiting."""
    with transaction.atomic():
        closed = request.is_waiting and close(request, RequestState.DECLINED)
        if closed:
            _record(KeyEvent.REQUEST_DECLINED, http, request, token=request.requested_by)
    return closed


def cancel(request: KeyRequest, token: str) -> bool:
    """Withdraw the request. Return False if it was withdrawn before. Raise `RequestNotMade` if it has another end."""
    with transaction.atomic():
        if request.is_waiting and close(request, RequestState.CANCELLED):
            _record(KeyEvent.REQUEST_CANCELLED, None, request, via="api", token=token)
            return True
        request.refresh_from_db()
        if request.state != RequestState.CANCELLED:
            raise RequestNotMade(RequestProblem.ANSWERED)
    return False


def close(request: KeyRequest, state: RequestState, key: ApiKey | None = None) -> bool:
    """Give a waiting request its end. Return whether this call did: of two answers at once only one counts."""
    closed_at = timezone.now()
    rows = KeyRequest.objects.filter(pk=request.pk, state=RequestState.WAITING)
    return rows.update(state=state, closed_at=closed_at, key=key) == 1


def close_expired(limit: int | None = None) -> int:
    """Close the requests that nobody answered in time. Return their number. Safe to run concurrently."""
    over = KeyRequest.objects.filter(state=RequestState.WAITING, waits_until__lte=timezone.now())
    count = 0
    for request in over.select_related("owner").order_by("waits_until")[:limit]:
        with transaction.atomic():
            if close(request, RequestState.EXPIRED):
                _record(KeyEvent.REQUEST_EXPIRED, None, request, token=request.requested_by)
                count += 1
    return count


def _close_batch() -> object:
    return chores.MORE if close_expired(BATCH) >= BATCH else None


def _record(event: KeyEvent, http: HttpRequest | None, request: KeyRequest, **detail: Any) -> None:
    audit.record(event, http, customer=request.owner, target=str(request.pk), label=request.label, **detail)


def register() -> None:
    """Register the recurring work. Called by `ApiKeysConfig.ready()`."""
    chores.CHORES.register({"requests for keys that expired": (_close_batch, 600)})
