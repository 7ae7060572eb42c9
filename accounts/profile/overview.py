"""The settings page: the state of the account, with links to every change."""

from collections.abc import Callable
from typing import Any

from django.conf import settings as portal
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import sessions
from accounts.access.decorators import customer
from accounts.actions import preferences, scheduled_changes
from accounts.factors import step_up, verification
from accounts.factors.views import ApprovalPage, two_code_page
from accounts.oidc import linking

METHODS = ["GET", "HEAD", "POST"]
form_view = require_http_methods(METHODS)


@require_safe
def settings(request: HttpRequest) -> HttpResponse:
    """Show account, security, preferences, and scheduled changes."""
    user = customer(request)
    if scheduled_changes.apply_due(user=user):
        return redirect("login")  # the change that was due has ended this session too
    context = {
        # Accounts that the exchange opened have none; their login is at the exchange.
        "has_password": user.has_usable_password(),
        "sessions_open": len(sessions.open_sessions(user)),
        "recovery_left": verification.recovery_codes_left(user),
        "totp_since": user.totp.confirmed_at,
        "totp_clock": user.totp.drift,
        "waiting": scheduled_changes.waiting(user),
        "can_email": portal.EMAIL,
        "can_link": linking.is_offered(user),
        "look": preferences.settings_context(request, user),
    }
    return render(request, "accounts/settings.html", context)


@require_POST
def settings_stop(request: HttpRequest, object_id: int) -> HttpResponse:
    """Stop one of the user's own scheduled changes."""
    if scheduled_changes.stop(customer(request), object_id, request):
        messages.success(
            request, _("The change was stopped. Your number and authenticator stay as they are.")
        )
    else:
        messages.info(request, _("This change is no longer pending."))
    return redirect("settings")


def step_up_page(
    request: HttpRequest,
    page: ApprovalPage,
    target: str,
    *,
    effect: Callable[[], Any] = lambda: None,
    then: Callable[[], Any] = lambda: None,
    **about: str,
) -> HttpResponse:
    """Take both codes and grant a step-up, which the page ``target`` (a URL name) uses. ``about``: the approved
    content.

    ``effect`` runs in the transaction of the codes, ``then`` after the step-up was granted.
    """
    user, what = customer(request), page.approval.purpose
    step_up_state = step_up.get(request, user, what)
    if step_up_state is not None and step_up_state.items() >= about.items():
        return redirect(target)

    def done(_value: Any) -> HttpResponse:
        step_up.grant(request, user, what, **about)
        then()
        return redirect(target)

    return two_code_page(request, page, effect=effect, done=done)
