"""What fresh codes have approved and the next page does: one thing, for ten minutes, once.

For actions whose codes and whose work are on two pages: a new password, another phone or authenticator, new codes.
"""

import time
from typing import Any

from django.db.models import Max
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from accounts.access import logins
from accounts.choices.approvals import ApprovalPurpose
from accounts.models import DelayedChange, RecoveryDevice, User

PROOF = "proof"
SECONDS = 10 * 60


def give(request: HttpRequest, user: User, what: ApprovalPurpose, **about: str) -> None:
    """Notes that both codes approved ``what``; ``about`` is the exact content (``phone``). One proof at a time."""
    # SECURITY: an id that was planted before the codes is worth nothing after them.
    request.session.cycle_key()
    request.session[PROOF] = {
        "what": what.value,
        "until": int(time.time()) + SECONDS,
        "state": _state(user),
        "nonce": logins.new_nonce(),
        **about,
    }


def of(request: HttpRequest, user: User, *what: ApprovalPurpose) -> dict[str, Any] | None:
    """The proof of one of ``what`` that this session holds; None when there is none, or it is old or used.

    SECURITY: asked again under `otp.lock`, in the transaction that does the work: of many requests with one proof,
    one does it. The session can't tell (each request has read its own copy); the rows that the work changes can.
    """
    found = request.session.get(PROOF)
    if not isinstance(found, dict) or time.time() > found["until"]:
        return None
    if found["what"] not in {purpose.value for purpose in what}:
        return None
    return found if constant_time_compare(found["state"], _state(user)) else None


def holds(request: HttpRequest, user: User, what: ApprovalPurpose) -> bool:
    return of(request, user, what) is not None


def seed(found: dict[str, Any], user: User) -> str:
    """The seed of the authenticator that is set up by this proof (`of`); the same after a refresh."""
    return logins.seed(found.get("nonce", found["state"]), user)


def end(request: HttpRequest) -> None:
    """Takes a used proof out of the session."""
    request.session.pop(PROOF, None)


def _state(user: User) -> str:
    """What every action that takes a proof changes: the proofs given before it are over."""
    fresh = User.objects.get(pk=user.pk)
    codes = RecoveryDevice.objects.filter(user=fresh).values_list("confirmed_at", flat=True).first()
    waiting = DelayedChange.objects.filter(user=fresh).aggregate(newest=Max("pk"))["newest"]
    return f"{fresh.get_session_auth_hash()} {codes.isoformat() if codes else ''} {waiting or ''}"
