"""What fresh codes have approved and the next page does: one thing, for ten minutes, once.

For actions whose codes and whose work are on two pages: a new password, another phone or authenticator, new codes.
"""

import time
from typing import Any

from django.db.models import Max
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from accounts.access import logins
from accounts.choices.approvals import Purpose
from accounts.models import DelayedChange, RecoveryDevice, User

SESSION_KEY = "proof"
MAX_AGE_SECONDS = 10 * 60


def grant(request: HttpRequest, user: User, purposes: Purpose, **content: str) -> None:
    """Notes that both codes approved ``purposes``; ``content`` is the exact content (``phone``). One proof at a time."""
    # SECURITY: an id that was planted before the codes is worth nothing after them.
    request.session.cycle_key()
    request.session[SESSION_KEY] = {
        "what": purposes.value,
        "until": int(time.time()) + MAX_AGE_SECONDS,
        "state": _account_state(user),
        "nonce": logins.new_nonce(),
        **content,
    }


def get(request: HttpRequest, user: User, *purposes: Purpose) -> dict[str, Any] | None:
    """The proof of one of ``purposes`` that this session holds; None when there is none, or it is old or used.

    SECURITY: asked again under `otp.lock`, in the transaction that does the work: of many requests with one proof,
    one does it. The session can't tell (each request has read its own copy); the rows that the work changes can.
    """
    state = request.session.get(SESSION_KEY)
    if not isinstance(state, dict) or time.time() > state["until"]:
        return None
    if state["what"] not in {purpose.value for purpose in purposes}:
        return None
    return state if constant_time_compare(state["state"], _account_state(user)) else None


def is_granted(request: HttpRequest, user: User, purposes: Purpose) -> bool:
    return get(request, user, purposes) is not None


def totp_seed(state: dict[str, Any], user: User) -> str:
    """The seed of the authenticator that is set up by this proof (`get`); the same after a refresh."""
    return logins.derive_seed(state.get("nonce", state["state"]), user)


def clear(request: HttpRequest) -> None:
    """Takes a used proof out of the session."""
    request.session.pop(SESSION_KEY, None)


def _account_state(user: User) -> str:
    """What every action that takes a proof changes: the proofs given before it are over."""
    fresh = User.objects.get(pk=user.pk)
    codes = RecoveryDevice.objects.filter(user=fresh).values_list("confirmed_at", flat=True).first()
    waiting = DelayedChange.objects.filter(user=fresh).aggregate(newest=Max("pk"))["newest"]
    return f"{fresh.get_session_auth_hash()} {codes.isoformat() if codes else ''} {waiting or ''}"
