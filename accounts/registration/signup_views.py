"""Sign-up: the number, the SMS code, the password; then enrolment goes on as for everybody."""

from typing import Any

from django.conf import settings
from django.contrib import messages as notices
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts import sms
from accounts.access import guard, passwords
from accounts.access.guard import public
from accounts.actions import invitations, placeholders
from accounts.actions.invitations import Refusal
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
    """Step one: the number. The answer is the same whether it has an account."""
    if _is_logged_in(request):
        return redirect("dashboard")
    if settings.SIGNUP != "open":
        return _closed(request)
    form = PhoneForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _set_out(request, form.cleaned_data["phone"], None)
    return render(request, "accounts/signup.html", {"form": form})


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invited(request: HttpRequest, token: str) -> HttpResponse:
    """The invitation's link: sign-up for exactly its number. Looking at it sends nothing and uses nothing up."""
    if _is_logged_in(request):
        return redirect("dashboard")
    if settings.SIGNUP == "closed":
        return _closed(request)
    found = invitations.read(token)
    if isinstance(found, Refusal):
        status = 404 if found is Refusal.FORGED else 410
        return render(request, "accounts/signup_invitation.html", {"refusal": found.value}, status=status)
    if request.method == "POST":
        return _set_out(request, found.phone, found.pk)
    return render(request, "accounts/signup_invitation.html", {"phone": found.phone})


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def signup_code(request: HttpRequest) -> HttpResponse:
    """Step two: the code of the SMS."""
    state = _on_the_way(request)
    if isinstance(state, HttpResponse):
        return state
    if flow.proved(request, flow.SIGN_UP):
        return redirect("signup_password")
    form = SmsCodeForm()
    if request.method == "POST":
        if "resend" in request.POST or "speak" in request.POST:
            return _ask_again(request)
        form = SmsCodeForm(request.POST)
        if form.is_valid():
            user = placeholders.row_of(state["phone"])
            codes = {Factor.SMS: form.cleaned_data["code"]}
            result = verification.verify(
                request, user, approvals.SIGN_UP, codes, effect=lambda: placeholders.keep_open(user)
            )
            if result.accepted and result.value:
                flow.prove(request, flow.SIGN_UP, user)
                return redirect("signup_password")
            form.add_error("code", flow.refused())
    context = {
        "form": form,
        "phone": state["phone"],
        "resend_in": flow.resend_in(state),
        "can_speak": sms.can_speak(),
    }
    return render(request, "accounts/signup_code.html", context)


@public
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def signup_password(request: HttpRequest) -> HttpResponse:
    """Step three: the password. The account exists from here on, and its phone is confirmed."""
    state = _on_the_way(request)
    if isinstance(state, HttpResponse):
        return state
    user = flow.proved(request, flow.SIGN_UP)
    if user is None:
        return redirect("signup_code")
    form = NewPasswordForm(user)
    if request.method == "POST":
        wait = ratelimits.acquire_address(Rate.NEW_PASSWORD_ADDRESS, address_of(request))
        if wait is not None:
            return error_pages.too_many(request, wait)
        form = NewPasswordForm(user, request.POST)
        if form.is_valid():
            return _open(request, user, form.cleaned_data["password"], state["invitation"])
    return render(request, "accounts/signup_password.html", {"form": form, "phone": user.phone})


@public
@never_cache
@sensitive_post_parameters("password")
@require_POST
def password_strength(request: HttpRequest) -> HttpResponse:
    """``{"score": 0-4, "text": "..."}`` for the meter; nothing is kept."""
    wait = ratelimits.acquire_address(Rate.PASSWORD_STRENGTH_ADDRESS, address_of(request))
    if wait is not None:
        return error_pages.too_many(request, wait)
    found = passwords.strength(request.POST.get("password", "")[: passwords.LONGEST + 1], _own_phone(request))
    return JsonResponse({"score": found.score, "text": found.text})


def _own_phone(request: HttpRequest) -> str:
    """The number that this visitor has proved or typed; "" when there is none."""
    if isinstance(request.user, User):
        return request.user.phone
    states = (flow.state(request, way) for way in (flow.SIGN_UP, flow.FORGOT))
    return next((str(state["phone"]) for state in states if state), "")


def _is_logged_in(request: HttpRequest) -> bool:
    return request.user.is_authenticated and request.user.is_verified()


def _closed(request: HttpRequest) -> HttpResponse:
    context = {"by_invitation": settings.SIGNUP == "invite"}
    return render(request, "accounts/signup_closed.html", context, status=403)


def _on_the_way(request: HttpRequest) -> HttpResponse | dict[str, Any]:
    """Where the visitor stands, or the answer for who may not be here."""
    if _is_logged_in(request):
        return redirect("dashboard")
    state = flow.state(request, flow.SIGN_UP)
    number = state["invitation"] if state else None
    if settings.SIGNUP == "closed" or (state and settings.SIGNUP == "invite" and number is None):
        return _closed(request)
    if state is None or (number is not None and not invitations.usable(number, state["phone"])):
        return redirect("signup")
    return state


def _set_out(request: HttpRequest, phone: str, invitation: int | None) -> HttpResponse:
    wait = ratelimits.acquire_address(Rate.SIGNUP_ADDRESS, address_of(request))
    if wait is not None:
        return error_pages.too_many(request, wait)
    flow.begin(request, flow.SIGN_UP, phone, invitation=invitation)
    flow.ask(request, flow.SIGN_UP, _send)
    return redirect("signup_code")


def _ask_again(request: HttpRequest) -> HttpResponse:
    wait = ratelimits.acquire_address(Rate.SIGNUP_ADDRESS, address_of(request))
    if wait is not None:
        return error_pages.too_many(request, wait)
    flow.ask(request, flow.SIGN_UP, _send, spoken="speak" in request.POST)
    return redirect("signup_code")


def _send(request: HttpRequest, phone: str, spoken: bool) -> None:
    """The code; to somebody who has an account already, that somebody typed their number. Not in the answer's time."""
    user = placeholders.row_of(phone)
    if not flow.may_send(request, user, approvals.SIGN_UP):
        return
    if user.joined_at is None:
        sms_codes.send_code(request, user, approvals.SIGN_UP, spoken=spoken)
        return
    with translation.override(user.language or translation.get_language()):
        text = _(
            "Hitobit\nSomebody asked to open an account with this number. You have one already: there is nothing "
            "to do. If it was you, log in."
        )
        sms_codes.send_code(request, user, approvals.SIGN_UP, instead=text)


def _open(request: HttpRequest, user: User, password: str, invitation: int | None) -> HttpResponse:
    try:
        account = placeholders.open_account(request, user, password, invitation)
    except placeholders.TakenError:
        flow.end(request, flow.SIGN_UP)
        notices.error(request, _("This sign-up is over. If the account was opened meanwhile, log in."))
        return redirect("login")
    flow.end(request, flow.SIGN_UP)
    guard.begin(request, account, "")
    guard.prove(request, Factor.SMS.value)
    notices.success(request, _("Your account is open. Now set up the authenticator."))
    return redirect(guard.next_step(request, account))
