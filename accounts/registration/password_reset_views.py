""" "Forgotten password": the number, two codes, the new password. It logs nobody in and keeps the second factors."""

from django.contrib import messages
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts import audit, sms
from accounts.access import known_browsers, sessions
from accounts.access.decorators import public
from accounts.actions import freeze, pending_accounts
from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.factors import sms_codes, verification
from accounts.factors.verification import Factor
from accounts.models import User
from accounts.registration import flow
from accounts.registration.forms import ForgotRecoveryForm, ForgotTotpForm, NewPasswordForm, PhoneForm
from hitobit_portal.http import error_pages
from hitobit_portal.http.context import address_of
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

#: The second proof beside the SMS: its form and its field.
SECOND_PROOFS = {
    Factor.TOTP: (ForgotTotpForm, "totp_code"),
    Factor.RECOVERY: (ForgotRecoveryForm, "recovery_code"),
}


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def forgot(request: HttpRequest) -> HttpResponse:
    """Step one: the number. The response is the same whether or not it has an account."""
    if _is_logged_in(request):
        return redirect("dashboard")
    form = PhoneForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        wait = _rate_limit_wait(request, form.cleaned_data["phone"])
        if wait is not None:
            return error_pages.too_many(request, wait)
        flow.begin(request, flow.FORGOT, form.cleaned_data["phone"])
        flow.request_sms(request, flow.FORGOT, _send)
        return redirect("forgot_codes")
    return render(request, "accounts/forgot.html", {"form": form})


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def forgot_codes(request: HttpRequest) -> HttpResponse:
    """Step two: the SMS code together with a code of the authenticator or a recovery code."""
    state = flow.get_state(request, flow.FORGOT)
    if state is None or _is_logged_in(request):
        return redirect("forgot")
    if flow.proved_user(request, flow.FORGOT):
        return redirect("forgot_password")
    chosen = request.POST.get("switch") or request.GET.get("method")
    method = Factor.RECOVERY if chosen == Factor.RECOVERY.value else Factor.TOTP
    form_class, field = SECOND_PROOFS[method]
    form = form_class()
    if request.method == "POST":
        if {"switch", "resend", "speak"} & set(request.POST):
            return _switch_or_send(request, state["phone"], method)
        form = form_class(request.POST)
        if form.is_valid():
            codes = {Factor.SMS: form.cleaned_data["sms_code"], method: form.cleaned_data[field]}
            if _verify_codes(request, state["phone"], codes):
                return redirect("forgot_password")
            form.add_error(None, flow.rejection_text())
    context = {
        "form": form,
        "method": method.value,
        "phone": state["phone"],
        "resend_in": flow.seconds_until_resend(state),
        "can_speak": sms.can_speak(),
    }
    return render(request, "accounts/forgot_codes.html", context)


@public
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def forgot_password(request: HttpRequest) -> HttpResponse:
    """Step three: the new password. It ends all sessions, and the keys are read-only for 24 hours."""
    user = flow.proved_user(request, flow.FORGOT)
    if user is None or not _may_reset(user):
        return redirect("forgot_codes")
    form = NewPasswordForm(user)
    if request.method == "POST":
        wait = ratelimits.acquire_address(Rate.NEW_PASSWORD_ADDRESS, address_of(request))
        if wait is not None:
            return error_pages.too_many(request, wait)
        form = NewPasswordForm(user, request.POST)
        if form.is_valid():
            return _replace_password(request, user, form.cleaned_data["password"])
    return render(request, "accounts/forgot_password.html", {"form": form, "phone": user.phone})


def _is_logged_in(request: HttpRequest) -> bool:
    return request.user.is_authenticated and request.user.is_verified()


def _rate_limit_wait(request: HttpRequest, phone: str) -> int | None:
    """Return the seconds to wait, or None. The limit is by address, or separate for a browser in which the number
    logged in.
    """
    browser = known_browsers.identify_by_phone(request, phone)
    if browser:
        return ratelimits.acquire(Rate.FORGOT_BROWSER, browser)
    return ratelimits.acquire_address(Rate.FORGOT_ADDRESS, address_of(request))


def _may_reset(user: User) -> bool:
    """Return whether the account has a password to replace and a confirmed phone."""
    return user.joined_at is not None and user.is_active and user.has_usable_password() and user.has_phone


def _send(request: HttpRequest, phone: str, spoken: bool) -> None:
    """Send the code if the number has an account whose password can be reset. Runs in the background."""
    user = pending_accounts.get_or_create_row(phone)
    if _may_reset(user) and flow.may_send(request, user, approvals.FORGOT):
        with translation.override(user.language or translation.get_language()):
            sms_codes.send_code(request, user, approvals.FORGOT, spoken=spoken)


def _switch_or_send(request: HttpRequest, phone: str, method: Factor) -> HttpResponse:
    if "switch" not in request.POST:
        wait = _rate_limit_wait(request, phone)
        if wait is not None:
            return error_pages.too_many(request, wait)
        flow.request_sms(request, flow.FORGOT, _send, spoken="speak" in request.POST)
    response = redirect("forgot_codes")
    response["Location"] += "?method=recovery" if method is Factor.RECOVERY else ""
    return response


def _verify_codes(request: HttpRequest, phone: str, codes: dict[Factor, str]) -> bool:
    """Return whether the codes were right and the password of the account can be replaced."""
    user = pending_accounts.get_or_create_row(phone)

    def effect() -> bool:
        if Factor.RECOVERY in codes:
            audit.record(
                Event.RECOVERY_USED, request, customer=user, left=verification.recovery_codes_left(user)
            )
        return _may_reset(User.objects.select_related("sms").get(pk=user.pk))

    result = verification.verify(request, user, approvals.FORGOT, codes, effect=effect)
    if not (result.accepted and result.value):
        return False
    flow.record_proof(request, flow.FORGOT, user)
    return True


def _replace_password(request: HttpRequest, user: User, password: str) -> HttpResponse:
    state = request.session[flow.FORGOT]
    hashed = make_password(password)  # slow, so before the lock
    with transaction.atomic(durable=True):
        verification.lock(user)
        user.refresh_from_db()
        # SECURITY: checked again under the lock: of many requests with one proof, one sets a password.
        replaced = flow.is_proof_valid(state, user) and _may_reset(user)
        if replaced:
            User.objects.filter(pk=user.pk).update(password=hashed, must_replace_password=False)
            sessions.end_all(user)
            freeze.quarantine(user)
            audit.record(Event.PASSWORD_RESET, request, customer=user)
            # Both codes were proved here: failures of others must not block the login that follows.
            known_browsers.mark_known(request, user)
    request.session.flush()
    if not replaced:
        messages.error(request, _("These codes were already used. This step changed nothing."))
        return redirect("login")
    messages.success(
        request,
        _(
            "Your password was reset and all sessions have ended. For 24 hours your API keys are "
            "read-only; both codes end that earlier. Log in with the new password."
        ),
    )
    return redirect("login")
