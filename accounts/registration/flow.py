"""Shared state of the pre-login flows (sign-up, "forgotten password"). They do not reveal whether a number has an
account.

The state of a visitor is one session key for each flow: phone, time, time of the last SMS request, and after the
right codes the proof, which ends when the row's password changes. Codes are valid only in the flow that requested
them.
"""

import time
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _

from accounts.access import logins
from accounts.choices.approvals import Approval
from accounts.factors import result_messages, sms_codes
from accounts.factors.sms_codes import RESEND_AFTER, SendResult, SendStatus
from accounts.models import User
from hitobit_portal import background
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

#: Session keys of the flows.
SIGN_UP, FORGOT = logins.SIGN_UP, logins.FORGOT
MAX_AGE_SECONDS = 15 * 60  # seconds from the number to the codes, and from the codes to the new password


def begin(request: HttpRequest, key: str, phone: str, **extra: Any) -> None:
    """Start a flow with the number that the visitor entered. An earlier proof ends."""
    state = {"phone": phone, "at": int(time.time()), "asked": 0, "nonce": logins.new_nonce()}
    request.session[key] = {**state, **extra}


def get_state(request: HttpRequest, key: str) -> dict[str, Any] | None:
    """Return the state of the flow ``key``; None if it was not started, or too long ago."""
    state = request.session.get(key)
    if not isinstance(state, dict) or time.time() - state["at"] > MAX_AGE_SECONDS:
        return None
    return state


def end(request: HttpRequest, key: str) -> None:
    request.session.pop(key, None)


def seconds_until_resend(state: dict[str, Any]) -> int:
    """Return the seconds until this visitor can request another SMS, counted from their own last request only."""
    remaining = state["asked"] + RESEND_AFTER.total_seconds() - time.time()
    return int(remaining) + 1 if remaining > 0 else 0


def request_sms(request: HttpRequest, key: str, work: Any, *, spoken: bool = False) -> None:
    """Send the SMS by ``work(request, phone, spoken)`` in the background."""
    state = request.session[key]
    if seconds_until_resend(state):
        messages.info(
            request, _("A code was just sent. You can request another one when the countdown ends.")
        )
        return
    # SECURITY: in the background, or the response time would reveal who has an account.
    if background.tasks.submit(work, request, state["phone"], spoken):
        request.session[key] = {**state, "asked": int(time.time())}
    else:
        messages.error(request, str(result_messages.for_sending(SendResult(SendStatus.FAILED, 0))))


def may_send(request: HttpRequest, user: User, approval: Approval) -> bool:
    """Count one message that a visitor without a login requested. Return whether it may be sent."""
    if sms_codes.seconds_until_resend(user, approval):
        return False
    if not sms_codes.is_unauthenticated(request, user, approval):
        return True  # within the account's own limits
    return ratelimits.acquire(Rate.SMS_OUTSIDE_PHONE, user.phone) is None


def rejection_text() -> str:
    """SECURITY: one text for a wrong code, a locked account and a number without an account."""
    return _(
        "This was not accepted: a code is wrong, already used or older than two minutes, or "
        "there were too many attempts. Request a new SMS and try again. If that does not help, "
        "wait 15 minutes."
    )


def record_proof(request: HttpRequest, key: str, user: User) -> None:
    """Record the right codes: this browser may choose the new password within MAX_AGE_SECONDS."""
    # SECURITY: against session fixation: an id that was planted before the codes becomes worthless.
    request.session.cycle_key()
    request.session[key] = {
        **request.session[key],
        "at": int(time.time()),
        "user": user.pk,
        "hash": user.get_session_auth_hash(),
    }


def proved_user(request: HttpRequest, key: str) -> User | None:
    """Return the user who may choose a new password in this browser. The proof ends when any password was set."""
    state = get_state(request, key)
    if state is None or "user" not in state:
        return None
    user = User.objects.select_related("totp", "sms").filter(pk=state["user"]).first()
    return user if user is not None and is_proof_valid(state, user) else None


def is_proof_valid(state: dict[str, Any], user: User) -> bool:
    return constant_time_compare(str(state.get("hash", "")), user.get_session_auth_hash())
