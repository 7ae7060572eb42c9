"""What sign-up and "forgotten password" share: people without a login, who learn nothing about whose a number is.

Where such a visitor stands is one session key for each way: phone, when it was typed, when an SMS was asked for, and
after the right codes the proof, which ends when the row's password does. Codes count on the way that asked for them.
"""

import time
from typing import Any

from django.contrib import messages as notices
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _

from accounts.access import logins
from accounts.choices.approvals import Approval
from accounts.factors import messages, sms_codes
from accounts.factors.sms_codes import RESEND_AFTER, Sending, Sent
from accounts.models import User
from hitobit_portal import background
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

#: The ways, and the keys of the session.
SIGN_UP, FORGOT = logins.SIGN_UP, logins.FORGOT
LONGEST = 15 * 60  # seconds from the number to the codes, and from the codes to the new password


def begin(request: HttpRequest, way: str, phone: str, **more: Any) -> None:
    """Notes the number with which a visitor sets out; what was proved before is over."""
    state = {"phone": phone, "at": int(time.time()), "asked": 0, "nonce": logins.new_nonce()}
    request.session[way] = {**state, **more}


def state(request: HttpRequest, way: str) -> dict[str, Any] | None:
    """Where the visitor stands on ``way``; None when they did not set out, or too long ago."""
    found = request.session.get(way)
    if not isinstance(found, dict) or time.time() - found["at"] > LONGEST:
        return None
    return found


def end(request: HttpRequest, way: str) -> None:
    request.session.pop(way, None)


def resend_in(found: dict[str, Any]) -> int:
    """Seconds until this visitor can ask for another SMS; counted from their own asking, whoever has the number."""
    left = found["asked"] + RESEND_AFTER.total_seconds() - time.time()
    return int(left) + 1 if left > 0 else 0


def ask(request: HttpRequest, way: str, work: Any, *, spoken: bool = False) -> None:
    """Has ``work(request, phone, spoken)`` send the SMS outside of this answer's time."""
    found = request.session[way]
    if resend_in(found):
        notices.info(
            request, _("A code was sent a moment ago. You can ask for another one when the countdown ends.")
        )
        return
    # SECURITY: not in the time of this answer, or a stop-watch tells who has an account.
    if background.run(work, request, found["phone"], spoken):
        request.session[way] = {**found, "asked": int(time.time())}
    else:
        notices.error(request, str(messages.of_sending(Sent(Sending.FAILED, 0))))


def may_send(request: HttpRequest, user: User, approval: Approval) -> bool:
    """Counts one message to somebody's phone that a person without a login asked for."""
    if sms_codes.resend_in(user, approval):
        return False
    if not sms_codes.is_stranger(request, user, approval):
        return True  # within the account's own caps
    return ratelimits.acquire(Rate.SMS_OUTSIDE_PHONE, user.phone) is None


def refused() -> str:
    """SECURITY: one sentence for a wrong code, a locked account and a number that nobody has."""
    return _(
        "This was not accepted: a code is wrong, was used, or is older than two minutes, or too many were tried. "
        "Ask for a new SMS and try again; if that does not help, wait 15 minutes."
    )


def prove(request: HttpRequest, way: str, user: User) -> None:
    """After the right codes: this browser may choose the new password, within `LONGEST`."""
    # SECURITY: an id that was planted before the codes is worth nothing after them.
    request.session.cycle_key()
    request.session[way] = {
        **request.session[way],
        "at": int(time.time()),
        "user": user.pk,
        "hash": user.get_session_auth_hash(),
    }


def proved(request: HttpRequest, way: str) -> User | None:
    """Who may choose a new password in this browser. The proof is over once any password was set."""
    found = state(request, way)
    if found is None or "user" not in found:
        return None
    user = User.objects.select_related("totp", "sms").filter(pk=found["user"]).first()
    return user if user is not None and is_proof_of(found, user) else None


def is_proof_of(found: dict[str, Any], user: User) -> bool:
    return constant_time_compare(str(found.get("hash", "")), user.get_session_auth_hash())
