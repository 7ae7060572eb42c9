"""A customer with an account links it to their account at the exchange: a login there, then both codes here.

SECURITY: the number or address that the exchange knows proves nothing. What links is a complete login of the portal's
account, a login at the exchange in the same browser that was begun for just this account, and both codes, which are
bound to the exchange's id. Whoever has only one of the two accounts cannot link it to a foreign one.
"""

import logging
import time
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access.decorators import customer
from accounts.actions import exchange_link
from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.choices.external_ids import is_external_id
from accounts.factors.views import ApprovalPage, two_code_page
from accounts.models import User
from accounts.oidc import flow, provider
from accounts.oidc.customers import LoginRejectedError, Rejection
from accounts.oidc.flow import Flow
from hitobit_portal.i18n.fields import parse_phone

logger = logging.getLogger("portal.oidc")
#: In the session: the exchange's id that waits for both codes, for which account, and until when.
PENDING = "exchange_link"
MAX_AGE_SECONDS = 10 * 60


def is_offered(user: User) -> bool:
    """Return whether the account can be linked: once, and never that of staff."""
    return provider.is_configured() and user.external_id is None and not (user.is_staff or user.is_superuser)


@never_cache
@require_safe
def begin(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider. By GET, as a login: the policy ``form-action 'self'`` stops other ways."""
    user = customer(request)
    if not provider.is_configured():
        raise Http404
    if not is_offered(user):
        return redirect("settings")
    try:
        # A session at the exchange may be that of another person who uses this browser; a link is for good.
        return flow.send(request, reverse("settings"), link_to=user.pk, prompt="login")
    except provider.ProviderDownError as error:
        return is_down(request, error)


def is_down(request: HttpRequest, error: provider.ProviderDownError) -> HttpResponse:
    """Redirect a customer in a finished login, with the reason."""
    logger.error("OpenID provider: %s", error)
    messages.error(request, down_text())
    return redirect("settings")


def down_text() -> str:
    return _(
        "The Hitobit login is unavailable at the moment. Your API keys keep working. Try again in a few minutes."
    )


def keep(request: HttpRequest, started: Flow, claims: dict[str, Any]) -> None:
    """Keep the verified id for the page of the codes. Raise `LoginRejectedError`."""
    user = request.user
    # SECURITY: for the account that has begun it, and only within its finished login.
    if not isinstance(user, User) or not user.is_verified() or user.pk != started.link_to:
        raise LoginRejectedError(Rejection.STATE)
    subject = claims["sub"]
    is_phone = isinstance(subject, str) and user.phone in (subject, parse_phone(subject))
    if not is_external_id(subject) or is_phone:
        raise LoginRejectedError(Rejection.UNKNOWN, user)
    if User.objects.filter(external_id=subject).exclude(pk=user.pk).exists():
        raise LoginRejectedError(Rejection.LINKED, user)
    request.session[PENDING] = {"sub": subject, "user": user.pk, "until": int(time.time()) + MAX_AGE_SECONDS}


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Both codes link the account to the very id that the page and the SMS show."""
    user, subject = customer(request), _pending(request)
    if not provider.is_configured() or not subject:
        return redirect("settings")
    page = ApprovalPage(
        approvals.link_exchange(subject),
        title=_("Link to the Hitobit account"),
        back=reverse("settings"),
        operation=_("Link to the Hitobit account"),
        facts=[(_("ID at Hitobit"), subject, True)],
        sends_first=True,
    )

    def done(_value: Any) -> HttpResponse:
        request.session.pop(PENDING, None)
        messages.success(request, _("Linked. You can log in with your Hitobit account from now on."))
        return redirect("settings")

    try:
        return two_code_page(
            request,
            page,
            effect=lambda: exchange_link.link(request, user, subject, Event.EXCHANGE_LINKED),
            done=done,
            already_done=User.objects.filter(pk=user.pk, external_id=subject).first,
        )
    except exchange_link.AlreadyLinked:
        request.session.pop(PENDING, None)
        messages.error(request, linked_text())
        return redirect("settings")


def linked_text() -> str:
    return _("Your account or this Hitobit account is already linked to another account. Call support.")


def _pending(request: HttpRequest) -> str:
    state = request.session.get(PENDING, {})
    is_valid = state.get("user") == customer(request).pk and time.time() < state.get("until", 0)
    return str(state["sub"]) if is_valid else ""
