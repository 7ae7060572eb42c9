"""Sign-up: the number, the SMS code, the password. Then the normal enrolment continues."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts import sms
from accounts.access import passwords, pending_login
from accounts.access.decorators import public
from accounts.actions import invitations, pending_accounts
from accounts.actions.invitations import InvitationError
from accounts.choices import approvals
from accounts.factors import sms_codes, verification
from accounts.factors.verification import Factor
from accounts.models import User
from accounts.registration import flow
from accounts.registration.forms import NewPasswordForm, PhoneForm, SmsCodeForm
from hitobit_portal.http import error_pages
from hitobit_portal.http.context import address_of
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def signup(request: HttpRequest) -> HttpResponse:
    """Step one: the number. The response is the same whether or not it has an account."""
    if _is_logged_in(request):
        return redirect("dashboard")
    if settings.SIGNUP != "open":
        return _closed(request)
    form = PhoneForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _begin(request, form.cleaned_data["phone"], None)
    return render(request, "accounts/signup.html", {"form": form})


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invited(request: HttpRequest, token: str) -> HttpResponse:
    """The link of an invitation: sign-up for its number only. A GET sends nothing and does not use the invitation."""
    if _is_logged_in(request):
        return redirect("dashboard")
    if settings.SIGNUP == "closed":
        return _closed(request)
    invitation = invitations.read(token)
    if isinstance(invitation, InvitationError):
        status = 404 if invitation is InvitationError.FORGED else 410
        return render(
            request, "accounts/signup_invitation.html", {"refusal": invitation.value}, status=status
        )
    if request.method == "POST":
        return _begin(request, invitation.phone, invitation.pk)
    return render(request, "accounts/signup_invitation.html", {"phone": invitation.phone})


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def signup_code(request: HttpRequest) -> HttpResponse:
    """Step two: the SMS code."""
    state = _signup_state(request)
    if isinstance(state, HttpResponse):
        return state
    if flow.proved_user(request, flow.SIGN_UP):
        return redirect("signup_password")
    form = SmsCodeForm()
    if request.method == "POST":
        if "resend" in request.POST or "speak" in request.POST:
            return _resend(request)
        form = SmsCodeForm(request.POST)
        if form.is_valid():
            user = pending_accounts.get_or_create_row(state["phone"])
            codes = {Factor.SMS: form.cleaned_data["code"]}
            result = verification.verify(
                request, user, approvals.SIGN_UP, codes, effect=lambda: pending_accounts.extend(user)
            )
            if result.accepted and result.value:
                flow.record_proof(request, flow.SIGN_UP, user)
                return redirect("signup_password")
            form.add_error("code", flow.rejection_text())
    context = {
        "form": form,
        "phone": state["phone"],
        "resend_in": flow.seconds_until_resend(state),
        "can_speak": sms.can_speak(),
    }
    return render(request, "accounts/signup_code.html", context)


@public
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def signup_password(request: HttpRequest) -> HttpResponse:
    """Step three: the password. It creates the account, with a confirmed phone."""
    state = _signup_state(request)
    if isinstance(state, HttpResponse):
        return state
    user = flow.proved_user(request, flow.SIGN_UP)
    if user is None:
        return redirect("signup_code")
    form = NewPasswordForm(user)
    if request.method == "POST":
        wait = ratelimits.acquire_address(Rate.NEW_PASSWORD_ADDRESS, address_of(request))
        if wait is not None:
            return error_pages.too_many(request, wait)
        form = NewPasswordForm(user, request.POST)
        if form.is_valid():
            return _open_account(request, user, form.cleaned_data["password"], state["invitation"])
    return render(request, "accounts/signup_password.html", {"form": form, "phone": user.phone})


@public
@never_cache
@sensitive_post_parameters("password")
@require_POST
def password_strength(request: HttpRequest) -> HttpResponse:
    """Return ``{"score": 0-4, "text": "..."}`` for the strength meter. Nothing is stored."""
    wait = ratelimits.acquire_address(Rate.PASSWORD_STRENGTH_ADDRESS, address_of(request))
    if wait is not None:
        return error_pages.too_many(request, wait)
    strength = passwords.strength(
        request.POST.get("password", "")[: passwords.MAX_LENGTH + 1], _own_phone(request)
    )
    return JsonResponse({"score": strength.score, "text": strength.text})


def _own_phone(request: HttpRequest) -> str:
    """Return the number that this visitor has proved or entered, "" if there is none."""
    if isinstance(request.user, User):
        return request.user.phone
    states = (flow.get_state(request, way) for way in (flow.SIGN_UP, flow.FORGOT))
    return next((str(state["phone"]) for state in states if state), "")


def _is_logged_in(request: HttpRequest) -> bool:
    return request.user.is_authenticated and request.user.is_verified()


def _closed(request: HttpRequest) -> HttpResponse:
    context = {"by_invitation": settings.SIGNUP == "invite"}
    return render(request, "accounts/signup_closed.html", context, status=403)


def _signup_state(request: HttpRequest) -> HttpResponse | dict[str, Any]:
    """Return the state of the sign-up, or the response for a visitor who may not continue it."""
    if _is_logged_in(request):
        return redirect("dashboard")
    state = flow.get_state(request, flow.SIGN_UP)
    number = state["invitation"] if state else None
    if settings.SIGNUP == "closed" or (state and settings.SIGNUP == "invite" and number is None):
        return _closed(request)
    if state is None or (number is not None and not invitations.is_usable(number, state["phone"])):
        return redirect("signup")
    return state


def _begin(request: HttpRequest, phone: str, invitation: int | None) -> HttpResponse:
    wait = ratelimits.acquire_address(Rate.SIGNUP_ADDRESS, address_of(request))
    if wait is not None:
        return error_pages.too_many(request, wait)
    flow.begin(request, flow.SIGN_UP, phone, invitation=invitation)
    flow.request_sms(request, flow.SIGN_UP, _send)
    return redirect("signup_code")


def _resend(request: HttpRequest) -> HttpResponse:
    wait = ratelimits.acquire_address(Rate.SIGNUP_ADDRESS, address_of(request))
    if wait is not None:
        return error_pages.too_many(request, wait)
    flow.request_sms(request, flow.SIGN_UP, _send, spoken="speak" in request.POST)
    return redirect("signup_code")


def _send(request: HttpRequest, phone: str, spoken: bool) -> None:
    """Send the code; if the number has an account, tell its owner that somebody entered it. Runs in the background."""
    user = pending_accounts.get_or_create_row(phone)
    if not flow.may_send(request, user, approvals.SIGN_UP):
        return
    if user.joined_at is None:
        sms_codes.send_code(request, user, approvals.SIGN_UP, spoken=spoken)
        return
    with translation.override(user.language or translation.get_language()):
        text = _(
            "Hitobit\nSomebody tried to open an account with this number. You already have one: you "
            "do not need to do anything. If it was you, log in."
        )
        sms_codes.send_code(request, user, approvals.SIGN_UP, replacement_text=text)


def _open_account(request: HttpRequest, user: User, password: str, invitation: int | None) -> HttpResponse:
    try:
        account = pending_accounts.open_account(request, user, password, invitation)
    except pending_accounts.NumberTakenError:
        flow.end(request, flow.SIGN_UP)
        messages.error(request, _("This sign-up has ended. If your account is already open, log in."))
        return redirect("login")
    flow.end(request, flow.SIGN_UP)
    pending_login.begin(request, account, "")
    pending_login.record_proof(request, Factor.SMS.value)
    messages.success(request, _("Your account is open. Now set up the authenticator."))
    return redirect(pending_login.next_step(request, account))
