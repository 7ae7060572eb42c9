"""Login with the exchange's account: the way there, the way back, and the exchange's own request to log out."""

import logging
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from accounts import audit
from accounts.access import pending_login, redirects
from accounts.access.decorators import public
from accounts.choices.events import Event
from accounts.login import views as login_views
from accounts.oidc import backchannel, customers, flow, linking, provider, tokens
from accounts.oidc.customers import LoginRejectedError, Rejection
from accounts.oidc.flow import Flow
from hitobit_portal.http import error_pages
from hitobit_portal.http.context import address_of
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

logger = logging.getLogger("portal.oidc")
STATUS = {Rejection.STATE: 400, Rejection.CANCELLED: 400, Rejection.PROVIDER: 502, Rejection.DOWN: 503}
#: Rejections about a customer, or of an answer that the provider did not sign. The others are anybody's to bring about.
RECORDED = frozenset(Rejection) - set(STATUS)


def _only_if_configured(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        if not provider.is_configured():
            raise Http404
        return view(request)

    return checked


@public
@never_cache
@require_GET
@_only_if_configured
def begin(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider's login.

    By GET: the policy ``form-action 'self'`` would stop the redirect that follows a POST. SECURITY: another site can
    begin a login, but gains nothing: the login is that of the browser's own person, and the second factor comes next.
    """
    next_url = redirects.safe_next(request, request.GET.get("next", ""))
    if request.user.is_authenticated and request.user.is_verified():
        return redirect(next_url or "dashboard")
    try:
        return flow.send(request, next_url)
    except provider.ProviderDownError as error:
        return _is_down(request, error, next_url)


@public
@never_cache
@require_GET
@_only_if_configured
def callback(request: HttpRequest) -> HttpResponse:
    """Take the provider's answer. It replaces the password: the second factor, or the enrolment, comes next."""
    started = flow.take(request, request.GET.get("state", ""))
    if started is None:
        # A finished login of this browser is not touched by an answer that is not its own.
        return _refused(request, LoginRejectedError(Rejection.STATE), "")
    address = address_of(request)
    slots = ratelimits.address_slots(Rate.EXCHANGE_ANSWER_ADDRESS, address)
    if (wait := ratelimits.acquire_all(slots)) is not None:
        return error_pages.too_many(request, wait)
    try:
        claims, access_token = _claims(request, started)
        user = None
        if started.link_to:
            linking.keep(request, started, claims)
        else:
            user = customers.find_or_provision(request, claims, access_token)
    except provider.ProviderDownError as error:
        if started.link_to and request.user.is_authenticated:
            return linking.is_down(request, error)
        return _is_down(request, error, started.next_url)
    except LoginRejectedError as error:
        if started.link_to and request.user.is_authenticated:
            messages.error(request, _text(error.rejection))
        return _refused(request, error, started.next_url)
    # Neither this answer nor the beginning of this login was an attack. Many customers share an address.
    ratelimits.release_all([*slots, *ratelimits.address_slots(Rate.EXCHANGE_LOGIN_ADDRESS, address)])
    if user is None:
        return redirect("settings_exchange_confirm")
    pending_login.begin(request, user, started.next_url, by_exchange=True)
    # SECURITY: trusted devices are not asked: see `login.views`.
    return redirect(pending_login.next_step(request, user))


def _claims(request: HttpRequest, started: Flow) -> tuple[dict[str, object], object]:
    """Return the verified claims, and the access token. Raise `LoginRejectedError` or `ProviderDownError`."""
    # SECURITY: the answer names its issuer, so that an answer of another provider is not taken for this one's
    # (RFC 9207).
    issuer = request.GET.get("iss")
    if issuer != settings.OIDC_ISSUER and (issuer is not None or provider.metadata().names_itself):
        raise LoginRejectedError(Rejection.TOKEN)
    if "error" in request.GET:
        # SECURITY: the provider's words are in the address, where anybody can put others. They are shown nowhere.
        cancelled = request.GET["error"] == "access_denied"
        raise LoginRejectedError(Rejection.CANCELLED if cancelled else Rejection.PROVIDER)
    rejection = Rejection.TOKEN
    try:
        answer = provider.exchange(request.GET.get("code", ""), started.verifier)
        return tokens.verify_id_token(answer, started.nonce), answer.get("access_token")
    except provider.CodeRefusedError:
        rejection = Rejection.STATE
    except tokens.TokenError as error:
        logger.warning("ID token refused: %s", error.reason)
    raise LoginRejectedError(rejection)


def _is_down(request: HttpRequest, error: provider.ProviderDownError, next_url: str) -> HttpResponse:
    logger.error("OpenID provider: %s", error)
    response = login_views.first_page(
        request, next_url, problem=_text(Rejection.DOWN), status=STATUS[Rejection.DOWN]
    )
    response["Retry-After"] = str(int(provider.DOWN_SECONDS))
    return response


def _refused(request: HttpRequest, error: LoginRejectedError, next_url: str) -> HttpResponse:
    rejection = error.rejection
    if rejection in RECORDED:
        audit.record(
            Event.LOGIN_EXCHANGE_REFUSED,
            request,
            customer=error.user,
            succeeded=False,
            rejection=rejection.value,
        )
    if request.user.is_authenticated and request.user.is_verified():
        return redirect("dashboard")
    return login_views.first_page(
        request, next_url, problem=_text(rejection), status=STATUS.get(rejection, 403)
    )


def _text(rejection: Rejection) -> str:
    return {
        Rejection.STATE: _(
            "This login was not begun in this browser, was used already, or took longer than ten minutes. Start again."
        ),
        Rejection.CANCELLED: _("The login was cancelled at Hitobit. You can start again."),
        Rejection.PROVIDER: _(
            "The Hitobit login reported an error. Start again. If it happens again, contact support."
        ),
        Rejection.TOKEN: _(
            "The response from the Hitobit login could not be verified, so it was refused. Start again. If it happens "
            "again, contact support."
        ),
        Rejection.UNKNOWN: _("This Hitobit account has no access to the API portal. Call support."),
        Rejection.CLOSED: _("This account cannot log in. Call support."),
        Rejection.STAFF: _("Staff log in with mobile number and password."),
        Rejection.NO_PHONE: _(
            "Your Hitobit account has no confirmed mobile number to which codes can be sent. Confirm one there, then "
            "log in again."
        ),
        Rejection.PHONE_TAKEN: _(
            "The mobile number of your Hitobit account belongs to another account of the API portal. Call support."
        ),
        Rejection.LINKED: linking.linked_text(),
        Rejection.DOWN: linking.down_text(),
    }[rejection]


@csrf_exempt  # SECURITY: the provider has no session here; the token's signature says who asks
@public
@never_cache
@sensitive_post_parameters("logout_token")
@require_POST
@_only_if_configured
def backchannel_logout(request: HttpRequest) -> HttpResponse:
    """End the sessions of the customer who has logged out at the provider."""
    address = address_of(request)
    slots = ratelimits.address_slots(Rate.EXCHANGE_LOGOUT_ADDRESS, address)
    if (wait := ratelimits.acquire_all(slots)) is not None:
        return _logout_error("temporarily_unavailable", 429, wait)
    # SECURITY: of one address, only the first few tokens that do not fit make the portal fetch keys.
    asking = ratelimits.address_slots(Rate.EXCHANGE_KEYS_ADDRESS, address)
    may_ask = ratelimits.acquire_all(asking) is None
    try:
        backchannel.end_sessions(request, request.POST.get("logout_token", ""), may_ask=may_ask)
    except tokens.TokenError as error:
        logger.warning("logout token refused: %s", error.reason)
        return _logout_error("invalid_request", 400)
    except provider.ProviderDownError as error:
        logger.error("OpenID provider: %s", error)
        return _logout_error("temporarily_unavailable", 503, int(provider.DOWN_SECONDS))
    ratelimits.release_all(slots)
    if may_ask:
        ratelimits.release_all(asking)
    return HttpResponse()


def _logout_error(error: str, status: int, wait: int = 0) -> HttpResponse:
    headers = {"Retry-After": str(wait)} if wait else {}
    return JsonResponse({"error": error}, status=status, headers=headers)
