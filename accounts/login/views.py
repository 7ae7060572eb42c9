"""Login in two steps, and logout."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate
from django.contrib.auth import logout as django_logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts import audit, sms
from accounts.access import known_browsers, pending_login, redirects, sessions, trusted_devices, user_agents
from accounts.access.decorators import pending, public
from accounts.access.redirects import redirect_to_login
from accounts.actions import preferences, scheduled_changes
from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.factors import result_messages, sms_codes, verification
from accounts.factors.forms import CodeForm, LoginForm, RecoveryForm
from accounts.factors.verification import Factor
from accounts.factors.views import with_sms_state
from accounts.login import known_devices
from accounts.models import PortalDevice, User
from hitobit_portal.http import display_preferences, error_pages
from hitobit_portal.http.context import address_of
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import digits
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate, Slot

#: Factors after which "trust this device" is offered: a recovery code is used where the usual factors are missing.
TRUSTABLE = (Factor.TOTP, Factor.SMS)


@public
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """Step one: phone and password, or the way to the exchange's login."""
    # SECURITY: a password that is not asked for does not log in either, whatever is posted.
    return _first_step(request, takes_password=not settings.OIDC_REQUIRED)


@public
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def staff_login(request: HttpRequest) -> HttpResponse:
    """Step one of staff, where customers have to log in with the exchange's account (`PORTAL_OIDC_REQUIRED`)."""
    if not settings.OIDC_REQUIRED:
        next_url = redirects.safe_next(request, request.GET.get("next", ""))
        return redirect(f"{reverse('login')}?{urlencode({'next': next_url})}" if next_url else "login")
    return _first_step(request, takes_password=True)


def _first_step(request: HttpRequest, *, takes_password: bool) -> HttpResponse:
    next_url = redirects.safe_next(request, request.POST.get("next") or request.GET.get("next") or "")
    if request.user.is_authenticated and request.user.is_verified():
        return redirect(next_url or pending_login.landing_page(request.user))
    if carried := preferences.restore_after_logout(request):
        return carried
    if not takes_password:
        return first_page(request, next_url)
    form = LoginForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        phone = form.cleaned_data["phone"]
        slots = _slots(request, phone)
        wait = ratelimits.acquire_all(slots)
        if wait is not None:
            _record_limited(request, phone)
            return error_pages.too_many(request, wait)
        # For every number: a lost number is replaced by now, even if no process sends notices.
        scheduled_changes.apply_due(number=phone)
        # The same work for every number: Django hashes the password for unknown numbers too.
        user = authenticate(request, username=phone, password=form.cleaned_data["password"])
        if isinstance(user, User):
            ratelimits.release_all(slots)  # the limits are against guessing; a right password is no guess
            pending_login.begin(request, user, next_url)
            if user.has_both_factors and trusted_devices.recognise(request, user):
                pending_login.record_proof(request, "trusted")
                return complete(request, user, user.totp, "trusted")
            return redirect(pending_login.next_step(request, user))
        audit.record(Event.LOGIN_PASSWORD_REFUSED, request, customer=_find_user(phone), succeeded=False)
        form.add_error(None, _("The mobile number or the password is wrong."))
    return first_page(request, next_url, form, is_for_staff=settings.OIDC_REQUIRED)


def first_page(
    request: HttpRequest,
    next_url: str,
    form: LoginForm | None = None,
    *,
    is_for_staff: bool = False,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    """Return the login page. ``problem``: why the exchange's login did not go on; the other ways stay on the page."""
    if form is None and not settings.OIDC_REQUIRED:
        form = LoginForm()
    query = f"?{urlencode({'next': next_url})}" if next_url else ""
    context = {
        "form": form,
        "next": next_url,
        "problem": problem,
        "action": reverse("staff_login" if is_for_staff else "login"),
        "exchange": f"{reverse('oidc_login')}{query}" if settings.OIDC_ISSUER and not is_for_staff else "",
        "staff": f"{reverse('staff_login')}{query}" if form is None else "",
    }
    return render(request, "accounts/login.html", context, status=status)


def _find_user(phone: str) -> User | None:
    return User.objects.filter(phone=phone).first()


def _record_limited(request: HttpRequest, phone: str) -> None:
    """Record one event for each window, user and address: refused requests are cheap and must not fill the trail."""
    owner = _find_user(phone)
    value = f"{owner.pk if owner else ''}|{ratelimits.widest_bucket(address_of(request))}"
    if ratelimits.acquire(Rate.LOGIN_LIMITED_EVENT, value) is None:
        audit.record(Event.LOGIN_LIMITED, request, customer=owner, succeeded=False)


def _slots(request: HttpRequest, phone: str) -> list[Slot]:
    """Return the rate limits for wrong passwords.

    SECURITY: a request refused by address counts for no phone; otherwise one address could block every account, and
    evict other counters from the in-process cache.
    """
    # SECURITY: failures of others must not lock the owner out of browsers in which they logged in before.
    if browser := known_browsers.identify_by_phone(request, phone):
        return [Slot(Rate.LOGIN_BROWSER, browser)]
    address = address_of(request)
    return [
        *ratelimits.address_slots(Rate.LOGIN_ADDRESS, address),
        *ratelimits.address_slots(Rate.LOGIN_PHONE_ADDRESS, address, phone),
        Slot(Rate.LOGIN_PHONE, phone),
    ]


@pending
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def second_factor(request: HttpRequest) -> HttpResponse:
    """Step two: the authenticator, an SMS, or a recovery code, as the customer chooses."""
    user: User = request.pending_user  # type: ignore[attr-defined]
    if pending_login.next_step(request, user) != "second_factor":
        return redirect(pending_login.next_step(request, user))
    available = [
        factor for factor in _available(user) if factor.value not in pending_login.proved_factors(request)
    ]
    if not available:
        return redirect_to_login(request)
    method = _method(request, available)
    form_class = RecoveryForm if method is Factor.RECOVERY else CodeForm
    form = form_class()
    if request.method == "POST":
        if {"switch", "resend", "speak"} & set(request.POST):
            return _switch(request, user, method)
        form = form_class(request.POST)
        if form.is_valid():
            result = verification.verify(request, user, approvals.LOGIN, {method: form.cleaned_data["code"]})
            if result.accepted:
                return _factor_proved(request, user, method)
            form.add_error("code", result_messages.for_one_code(result))
    context = {
        "form": form,
        "method": method.value,
        "methods": [factor.value for factor in available],
        "masked_phone": user.phone,
        "can_speak": sms.can_speak(),
        "resend_in": sms_codes.seconds_until_resend(user, approvals.LOGIN) if method is Factor.SMS else None,
        "device": user_agents.describe(user_agents.from_request(request)),
        "can_trust": method in TRUSTABLE and user.has_both_factors and _can_trust(request, user),
        "trust": "trust" in request.POST,
        "sms_state": sms_codes.delivery_state(request, user, approvals.LOGIN) if method is Factor.SMS else "",
    }
    return with_sms_state(render(request, "accounts/second_factor.html", context), context)


def _can_trust(request: HttpRequest, user: User) -> bool:
    # SECURITY: the exchange's session may be days old, so a browser with it and a trusted device would be in without
    # any proof. Logins with the exchange's account always need the second factor.
    return not user.is_staff and not pending_login.is_by_exchange(request)


def _available(user: User) -> list[Factor]:
    factors = []
    if user.has_authenticator:
        factors.append(Factor.TOTP)
    if user.has_phone:
        factors.append(Factor.SMS)
    if verification.recovery_codes_left(user):
        factors.append(Factor.RECOVERY)
    return factors


def _method(request: HttpRequest, available: list[Factor]) -> Factor:
    """Return the chosen factor if the user has it, else the first one."""
    chosen = request.POST.get("switch") or request.GET.get("method", "")
    return next((factor for factor in available if factor.value == chosen), available[0])


def _switch(request: HttpRequest, user: User, method: Factor) -> HttpResponse:
    """Send the SMS if the method needs one, and redirect to the page."""
    if method is Factor.SMS:
        problem = result_messages.for_sending(
            sms_codes.send_code(request, user, approvals.LOGIN, spoken="speak" in request.POST)
        )
        if problem:
            messages.error(request, problem)
    response = redirect("second_factor")
    response["Location"] += f"?method={method.value}"
    return response


def _factor_proved(request: HttpRequest, user: User, method: Factor) -> HttpResponse:
    if method is Factor.RECOVERY:
        audit.record(Event.RECOVERY_USED, request, customer=user, left=verification.recovery_codes_left(user))
        messages.warning(
            request,
            fill(
                _("A recovery code was used. %(left)s left."),
                left=digits(verification.recovery_codes_left(user)),
            ),
        )
    pending_login.record_proof(request, method.value)
    if method is Factor.RECOVERY and user.has_authenticator and "lost" in request.POST:
        pending_login.start_totp_replacement(request)
        return redirect(pending_login.next_step(request, user))
    if not user.has_both_factors or not pending_login.has_enough_proofs(request):
        return redirect(pending_login.next_step(request, user))
    proved = {Factor.TOTP: "totp", Factor.SMS: "sms", Factor.RECOVERY: "recovery"}
    can_trust = _can_trust(request, user)
    response = complete(request, user, getattr(user, proved[method]), method.value)
    wants_trust = method in TRUSTABLE and can_trust and request.POST.get("trust") == "1"
    if wants_trust and trusted_devices.trust(request, response, user):
        audit.record(Event.DEVICE_TRUSTED, request, customer=user)
    return response


def complete(request: HttpRequest, user: User, device: PortalDevice, method: str) -> HttpResponse:
    """Finish the login and redirect to the page that the visitor requested."""
    detail: dict[str, Any] = {"method": method}
    if pending_login.is_by_exchange(request):
        detail["first"] = "exchange"
    target = pending_login.finish(request, user, device, method)
    is_new = known_devices.is_new(request, user)
    audit.record(Event.LOGIN, request, customer=user, **detail)
    if is_new:
        audit.record(Event.LOGIN_NEW_DEVICE, request, customer=user, **detail)
    response = redirect(target)
    display_preferences.store(response, preferences.account_preferences(user))
    return response


@public
@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """End the session and make the browser delete everything of this site (threat: secrets behind the Back button)."""
    user = request.user if isinstance(request.user, User) else None
    carried = {**display_preferences.chosen(request), **known_browsers.export_tokens(request, user)}
    if request.user.is_authenticated and isinstance(request.user, User):
        audit.record(Event.LOGOUT, request, customer=request.user)
        trusted_devices.forget(request, request.user)
        sessions.end_current(request)
    django_logout(request)
    response = redirect("login")
    # The cookies are deleted; the login page restores these values from its address.
    if carried:
        response["Location"] += f"?{urlencode(carried)}"
    response["Clear-Site-Data"] = '"cache", "cookies", "storage"'
    return response
