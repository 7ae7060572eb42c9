"""Default deny: which stage of a login reaches which view."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.middleware import OTPMiddleware

from accounts.access import form_drafts, pending_login, sessions
from accounts.access.redirects import redirect_to_login


class ProvedFactorMiddleware(OTPMiddleware):
    """django-otp's middleware. It takes the proved factor from those that `PhoneBackend` loaded with the user."""

    def _verify_user_sync(self, request: HttpRequest, user: Any) -> Any:
        proved = request.session.get(DEVICE_ID_SESSION_KEY) if user.is_authenticated else None
        loaded = (getattr(user, name, None) for name in ("totp", "sms"))
        factor = next((one for one in loaded if one and proved == one.persistent_id), None)
        if factor is None:  # recovery codes, or nothing
            return super()._verify_user_sync(request, user)
        self._init_user_fields(user)
        user.otp_device = self._finalize_device(request, user, factor)
        return user


class DefaultDenyMiddleware:
    """Require a finished login for every view that is not decorated with `public`, `pending` or `first_password`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        access = getattr(view, "access", "full")
        if access == "public":
            return None
        owner = form_drafts.session_owner(request)
        user = request.user
        if user.is_authenticated:
            if user.is_verified() and user.has_both_factors and sessions.is_alive(request, user):
                return self._check_finished_login(user, access)
            # The session was idle for too long, was ended elsewhere, or a factor was reset meanwhile.
            request.session.flush()
            return redirect_to_login(request, owner)
        pending_user = pending_login.pending_user(request)
        if pending_user is None:
            return redirect_to_login(request, owner)
        if access == "pending":
            request.pending_user = pending_user  # type: ignore[attr-defined]
            return None
        return redirect(pending_login.next_step(request, pending_user))

    @staticmethod
    def _check_finished_login(user: Any, access: str) -> HttpResponse | None:
        # SECURITY: the operator who created the account knows this password, so it gives access to nothing else.
        if user.must_replace_password:
            return None if access == "first password" else redirect("first_password")
        return None if access == "full" else redirect("dashboard")
