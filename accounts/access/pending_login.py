"""Half-finished logins: the password was right, or the exchange has vouched for the customer; the second factor (or
the enrolment) is not done yet.

The state is one session key with user, time and the address to return to. It is not a Django login: ``request.user``
stays anonymous until the second factor, or the whole enrolment, is done.
"""

import time

import django_otp
from django.contrib.auth import login as django_login
from django.http import HttpRequest
from django.urls import reverse

from accounts.access import form_drafts, known_browsers, logins, sessions
from accounts.access.logins import PENDING
from accounts.models import PortalDevice, User

PENDING_SECONDS = 15 * 60


def begin(request: HttpRequest, user: User, next_url: str, *, by_exchange: bool = False) -> None:
    """Start a half-finished login after the right password, or a login with the exchange's account (``by_exchange``).

    The session id changes and nothing of the password, or of the provider's tokens, is kept.
    """
    draft = form_drafts.draft_for(request, user)
    # SECURITY: against session fixation: an id that an attacker planted becomes worthless here. Data of an earlier
    # user of this browser, including a proof of "forgotten password", is removed.
    request.session.flush()
    if draft:
        request.session[form_drafts.DRAFT] = draft
    request.session[PENDING] = {
        "user": user.pk,
        "at": int(time.time()),
        "next": next_url,
        "proved": [],
        # SECURITY: a user without both factors at this point has to prove both in this login. A factor that exists
        # later was confirmed by another login and proves nothing about this one.
        "needs": 1 if user.has_both_factors else 2,
        "nonce": logins.new_nonce(),
        # SECURITY: a new password, or "end all sessions", also ends half-finished logins.
        "hash": user.get_session_auth_hash(),
        "by_exchange": by_exchange,
    }


def pending_user(request: HttpRequest) -> User | None:
    state = request.session.get(PENDING)
    if not isinstance(state, dict) or time.time() - state["at"] > PENDING_SECONDS:
        return None
    if "nonce" not in state:
        return None  # written by the previous version, without a nonce and the number of proofs needed
    user = User.objects.select_related("totp", "sms").filter(pk=state["user"]).first()
    return user if user is not None and logins.belongs_to(state, user) else None


def is_by_exchange(request: HttpRequest) -> bool:
    """Return whether the half-finished login began with the exchange's account, and not with a password."""
    return bool(request.session.get(PENDING, {}).get("by_exchange"))


def is_current(request: HttpRequest, user: User) -> bool:
    """Return whether the half-finished login is still valid for the current user row. Call it under
    `verification.lock`.
    """
    state = request.session.get(PENDING)
    return isinstance(state, dict) and logins.belongs_to(state, User.objects.get(pk=user.pk))


def end_other_logins(request: HttpRequest, user: User) -> None:
    """End every other login of ``user``, finished or half-finished. The login of ``request`` continues.

    Call it under `verification.lock`, in the transaction that confirms a factor.
    """
    # SECURITY: other visitors who know the password have proved nothing about the factor that is confirmed now.
    if sessions.end_all(user, keep=request) and PENDING in request.session:
        state = {
            **request.session[PENDING],
            "nonce": logins.new_nonce(),
            "hash": user.get_session_auth_hash(),
        }
        request.session[PENDING] = state


def totp_seed(request: HttpRequest, user: User) -> str:
    """Return the seed of the authenticator that this half-finished login sets up. It is the same after a page
    refresh.
    """
    return logins.derive_seed(request.session[PENDING]["nonce"], user)


def record_proof(request: HttpRequest, factor: str) -> None:
    """Record a factor that was proved in this half-finished login, and change the session id."""
    request.session.cycle_key()
    state = request.session[PENDING]
    request.session[PENDING] = {**state, "proved": sorted({*state["proved"], factor}), "at": int(time.time())}


def proved_factors(request: HttpRequest) -> set[str]:
    return set(request.session.get(PENDING, {}).get("proved", []))


def has_enough_proofs(request: HttpRequest) -> bool:
    """Return whether enough factors were proved in this login to finish it."""
    needed: int = request.session.get(PENDING, {}).get("needs", 2)
    return len(proved_factors(request)) >= needed


def finish(request: HttpRequest, user: User, device: PortalDevice, method: str = "") -> str:
    """Finish the login and return the address to go to. Both factors must be confirmed, and enough of them proved."""
    if not user.has_both_factors or not has_enough_proofs(request):
        raise AssertionError(
            "a login can't finish before both factors are confirmed and enough was proved in it"
        )
    next_url = request.session.pop(PENDING, {}).get("next", "")
    django_login(request, user, backend="accounts.backends.PhoneBackend")
    request.session.cycle_key()
    django_otp.login(request, device)
    sessions.start(request, user, method)
    known_browsers.mark_known(request, user)
    return next_url or landing_page(user)


def landing_page(user: User) -> str:
    """Return where the user works: staff in the admin site, customers on their dashboard."""
    return reverse("admin:index" if user.is_staff else "dashboard")


def next_step(request: HttpRequest, user: User) -> str:
    """Return the name of the page on which a half-finished login continues."""
    # SECURITY: a user with a confirmed factor proves it before enrolling another: a stolen password is not enough.
    if (user.has_authenticator or user.has_phone) and not proved_factors(request):
        return "second_factor"
    # SECURITY: factors that another login confirmed meanwhile do not count here until they are proved in this login.
    if user.has_both_factors and not has_enough_proofs(request):
        return "second_factor"
    if not user.has_phone:
        return "enrol_sms"
    if not user.has_authenticator:
        return "enrol_totp"
    if is_replacing_totp(request):
        return "replace_totp"
    return "recovery_codes"


def start_totp_replacement(request: HttpRequest) -> None:
    """Record, after a recovery code, that this login sets up a new authenticator in place of a lost one."""
    request.session[PENDING] = {**request.session[PENDING], "replaces": "totp"}


def is_replacing_totp(request: HttpRequest) -> bool:
    state = request.session.get(PENDING, {})
    return state.get("replaces") == "totp" and "recovery" in state.get("proved", [])
