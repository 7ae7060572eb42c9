"""Step-up: an approval by both codes that the next page uses once, within ten minutes.

It serves actions whose codes and whose work are on two pages: a new password, phone, authenticator or recovery codes.
"""

import time
from typing import Any

from django.db.models import Max
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from accounts.access import logins
from accounts.choices.approvals import ApprovalPurpose
from accounts.models import DelayedChange, RecoveryDevice, User

SESSION_KEY = "proof"
MAX_AGE_SECONDS = 10 * 60


def grant(request: HttpRequest, user: User, purpose: ApprovalPurpose, **content: str) -> None:
    """Record that both codes approved ``purpose`` for ``content`` (``phone``). One at a time a session."""
    # SECURITY: against session fixation: an id that was planted before the codes becomes worthless.
    request.session.cycle_key()
    request.session[SESSION_KEY] = {
        "what": purpose.value,
        "until": int(time.time()) + MAX_AGE_SECONDS,
        "state": _account_state(user),
        "nonce": logins.new_nonce(),
        **content,
    }


def get(request: HttpRequest, user: User, *purposes: ApprovalPurpose) -> dict[str, Any] | None:
    """Return the step-up for one of ``purposes`` in this session; None if there is none, or it is expired or used.

    SECURITY: call it again under `verification.lock`, in the transaction that does the work: of many requests with
    one step-up, one does the work. The session cannot decide this (each request has read its own copy); the rows that
    the work changes can.
    """
    state = request.session.get(SESSION_KEY)
    if not isinstance(state, dict) or time.time() > state["until"]:
        return None
    if state["what"] not in {purpose.value for purpose in purposes}:
        return None
    return state if constant_time_compare(state["state"], _account_state(user)) else None


def is_granted(request: HttpRequest, user: User, purpose: ApprovalPurpose) -> bool:
    return get(request, user, purpose) is not None


def totp_seed(state: dict[str, Any], user: User) -> str:
    """Return the seed of the authenticator that this step-up sets up. It is the same after a page refresh."""
    return logins.derive_seed(state.get("nonce", state["state"]), user)


def clear(request: HttpRequest) -> None:
    """Remove a used step-up from the session."""
    request.session.pop(SESSION_KEY, None)


def _account_state(user: User) -> str:
    """Return the account state that every step-up action changes, so that earlier step-ups become invalid."""
    fresh = User.objects.get(pk=user.pk)
    codes = RecoveryDevice.objects.filter(user=fresh).values_list("confirmed_at", flat=True).first()
    waiting = DelayedChange.objects.filter(user=fresh).aggregate(newest=Max("pk"))["newest"]
    return f"{fresh.get_session_auth_hash()} {codes.isoformat() if codes else ''} {waiting or ''}"
