"""Enrolment: mobile number, authenticator, recovery codes, in this order. Nothing else is accessible before it is
done.
"""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import audit, sms
from accounts.access import pending_login
from accounts.access.decorators import pending
from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.factors import recovery_codes as factors_recovery_codes
from accounts.factors import result_messages, sms_codes, totp, verification
from accounts.factors.forms import CodeForm
from accounts.factors.verification import Factor
from accounts.factors.views import with_sms_state
from accounts.login.views import complete
from accounts.models import SmsDevice, User
from hitobit_portal.http import error_pages
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate


@pending
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enrol_sms(request: HttpRequest) -> HttpResponse:
    """Confirm the account's own number by a code. The first GET of the page sends a code."""
    user: User = request.pending_user  # type: ignore[attr-defined]
    if pending_login.next_step(request, user) != "enrol_sms":
        return redirect(pending_login.next_step(request, user))
    form = CodeForm()
    asked_again = {"resend", "speak"} & set(request.POST)
    if request.method == "POST" and not asked_again:
        form = CodeForm(request.POST)
        if form.is_valid():
            code = {Factor.SMS: form.cleaned_data["code"]}
            result = verification.verify(
                request, user, approvals.ENROL_SMS, code, effect=lambda: _confirm_phone(request, user)
            )
            if result.accepted:
                pending_login.record_proof(request, Factor.SMS.value)
                return redirect("enrol_totp")
            form.add_error("code", result_messages.for_one_code(result))
    elif asked_again or (request.method == "GET" and _needs_code(request, user)):
        problem = result_messages.for_sending(
            sms_codes.send_code(request, user, approvals.ENROL_SMS, spoken="speak" in request.POST)
        )
        if problem:
            messages.error(request, problem)
        if request.method == "POST":
            return redirect("enrol_sms")
    context = {
        "form": form,
        "masked_phone": user.phone,
        "resend_in": sms_codes.seconds_until_resend(user, approvals.ENROL_SMS),
        "can_speak": sms.can_speak(),
        "sent": sms_codes.is_code_pending(request, user, approvals.ENROL_SMS),
        "sms_state": sms_codes.delivery_state(request, user, approvals.ENROL_SMS),
    }
    return with_sms_state(render(request, "accounts/enrol_sms.html", context), context)


def _needs_code(request: HttpRequest, user: User) -> bool:
    """Return whether a GET sends an SMS. It also does if a code just went to another login, to show that message."""
    is_sent = sms_codes.is_code_pending(request, user, approvals.ENROL_SMS)
    return not (is_sent and sms_codes.seconds_until_resend(user, approvals.ENROL_SMS))


def _confirm_phone(request: HttpRequest, user: User) -> None:
    now = timezone.now()
    # Under the lock: the number that the code was sent to, otherwise the code would not have been accepted.
    number = User.objects.get(pk=user.pk).phone
    defaults = {"number": number, "confirmed": True, "confirmed_at": now, "name": "sms"}
    SmsDevice.objects.update_or_create(user=user, defaults=defaults)
    pending_login.end_other_logins(request, user)
    audit.record(Event.PHONE_CONFIRMED, request, customer=user)


@pending
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enrol_totp(request: HttpRequest) -> HttpResponse:
    """Show the seed (QR code and text) of this login until one of its codes was entered."""
    user: User = request.pending_user  # type: ignore[attr-defined]
    if pending_login.next_step(request, user) != "enrol_totp":
        return redirect(pending_login.next_step(request, user))
    # SECURITY: another half-finished login of the same account has another seed, and never sees this one.
    seed = pending_login.totp_seed(request, user)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        code = {Factor.TOTP: form.cleaned_data["code"]}
        result = verification.verify(
            request,
            user,
            approvals.ENROL_TOTP,
            code,
            effect=lambda: totp.confirm_first(request, user),
            seed=seed,
        )
        if result.accepted:
            pending_login.record_proof(request, Factor.TOTP.value)
            return redirect("recovery_codes")
        form.add_error("code", result_messages.for_one_code(result))
    return render(request, "accounts/enrol_totp.html", {"form": form, **totp.qr_context(user, seed)})


@pending
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Show ten recovery codes once, then finish the login. Only after both factors were proved in this login."""
    user: User = request.pending_user  # type: ignore[attr-defined]
    if pending_login.next_step(request, user) != "recovery_codes":
        return redirect(pending_login.next_step(request, user))
    renews = request.method == "POST"
    if renews and "renew" not in request.POST:
        return complete(request, user, user.totp, "enrolment")
    if renews and (wait := ratelimits.acquire(Rate.RECOVERY_RENEWED, str(user.pk))) is not None:
        return error_pages.too_many(request, wait)
    codes = factors_recovery_codes.generate(
        request, user, renew=renews, only_if=lambda: pending_login.is_current(request, user)
    )
    context = {"codes": codes, "download": factors_recovery_codes.download_uri(codes)}
    return render(request, "accounts/recovery_codes.html", context)
