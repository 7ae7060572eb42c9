"""Change the mobile number: at once with both codes; after a day without the old phone."""

import time
from typing import Any

from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from accounts import audit, sms
from accounts.access.decorators import customer
from accounts.actions import phone, scheduled_changes
from accounts.choices import approvals
from accounts.choices.approvals import Purpose
from accounts.choices.events import Event
from accounts.factors import result_messages, sms_codes, step_up, verification
from accounts.factors.sms_codes import SendResult, SendStatus
from accounts.factors.verification import Factor, VerificationOutcome, VerificationResult
from accounts.factors.views import ApprovalPage
from accounts.models import DelayedChange, User
from accounts.profile.forms import LostPhoneForm, NewPhoneForm
from accounts.profile.overview import form_view, step_up_page
from accounts.registration import flow
from accounts.registration.forms import SmsCodeForm
from hitobit_portal import background
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import date_local

#: Session keys: the entered number, and the last SMS request (number and time).
NEW_PHONE, SMS_REQUESTED = "new_phone", "new_phone_asked"


@form_view
def settings_phone(request: HttpRequest) -> HttpResponse:
    """Take the new number. The page does not reveal whether it has an account."""
    user = customer(request)
    form = NewPhoneForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        number = form.cleaned_data["phone"]
        request.session[NEW_PHONE] = number
        problem = result_messages.for_sending(
            sms_codes.send_code(request, user, approvals.change_phone(number))
        )
        if problem:
            messages.error(request, problem)
        return redirect("settings_phone_codes")
    return render(request, "accounts/settings_phone.html", {"form": form})


@form_view
def settings_phone_codes(request: HttpRequest) -> HttpResponse:
    """Take both current codes for the new number, which the SMS names."""
    number = request.session.get(NEW_PHONE)
    if not number:
        return redirect("settings_phone")
    page = ApprovalPage(
        approvals.change_phone(number),
        title=_("Change mobile number"),
        back=reverse("settings_phone"),
        operation=_("Change mobile number"),
        facts=[(_("New number"), number, True)],
    )
    return step_up_page(
        request, page, "settings_phone_confirm", then=lambda: _request_sms(request, number), phone=number
    )


@form_view
def settings_phone_confirm(request: HttpRequest) -> HttpResponse:
    """Take the code that was sent to the new number, then change the number or schedule the change."""
    user = customer(request)
    step_up_state = step_up.get(request, user, Purpose.CHANGE_PHONE, Purpose.LOST_PHONE)
    if step_up_state is None:
        return redirect("settings_phone")
    number, is_lost = step_up_state["phone"], step_up_state["what"] == Purpose.LOST_PHONE.value
    form = SmsCodeForm()
    if request.method == "POST":
        if "resend" in request.POST or "speak" in request.POST:
            _request_sms(request, number, spoken="speak" in request.POST)
            return redirect("settings_phone_confirm")
        form = SmsCodeForm(request.POST)
        if form.is_valid():
            result = _confirm(request, user, step_up_state, form.cleaned_data["code"])
            if result.accepted:
                return _redirect_after_change(request, result.value, is_lost)
            form.add_error("code", result_messages.for_one_code(result))
    context = {
        "form": form,
        "phone": number,
        "is_lost": is_lost,
        "resend_in": _resend_in(request, number),
        "can_speak": sms.can_speak(),
    }
    return render(request, "accounts/settings_phone_confirm.html", context)


@form_view
def settings_phone_lost(request: HttpRequest) -> HttpResponse:
    """For users who get no SMS: a recovery code and the authenticator replace it, and the change waits for a day."""
    user = customer(request)
    if scheduled_changes.waiting(user).filter(kind=DelayedChange.Kind.PHONE).exists():
        messages.info(
            request, _("A number change is already pending. Stop it first if the new number is wrong.")
        )
        return redirect("settings")
    form = LostPhoneForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        number = form.cleaned_data["phone"]
        codes = {
            Factor.RECOVERY: form.cleaned_data["recovery_code"],
            Factor.TOTP: form.cleaned_data["totp_code"],
        }
        result = verification.verify(
            request,
            user,
            approvals.lost_phone(number),
            codes,
            effect=lambda: _record_recovery_code(request, user),
        )
        if result.accepted:
            step_up.grant(request, user, Purpose.LOST_PHONE, phone=number)
            _request_sms(request, number)
            return redirect("settings_phone_confirm")
        is_spent = result.outcome is VerificationOutcome.SPENT
        form.add_error("totp_code" if is_spent else None, result_messages.for_two_codes(result))
    context = {"form": form, "totp_wait": verification.seconds_until_next_totp(user)}
    return render(request, "accounts/settings_phone_lost.html", context)


def _record_recovery_code(request: HttpRequest, user: User) -> None:
    audit.record(Event.RECOVERY_USED, request, customer=user, left=verification.recovery_codes_left(user))


def _resend_in(request: HttpRequest, number: str) -> int:
    last_request = request.session.get(SMS_REQUESTED, {})
    return flow.seconds_until_resend(last_request) if last_request.get("phone") == number else 0


def _request_sms(request: HttpRequest, number: str, *, spoken: bool = False) -> None:
    """Send the code to the new number, in the background."""
    if _resend_in(request, number):
        messages.info(
            request, _("A code was just sent. You can request another one when the countdown ends.")
        )
        return
    user = User.objects.get(pk=customer(request).pk)
    # SECURITY: in the background and with the same message, so that the response time does not reveal whose numbers
    # are registered.
    if background.tasks.submit(_send, request, user, number, spoken):
        request.session[SMS_REQUESTED] = {"phone": number, "asked": int(time.time())}
    else:
        messages.error(request, str(result_messages.for_sending(SendResult(SendStatus.FAILED, 0))))


def _send(request: HttpRequest, user: User, number: str, spoken: bool) -> None:
    """Send the code; if the number has an account, tell its owner that somebody entered it. Both leave the same
    traces.
    """
    approval = approvals.confirm_phone(number)
    owner = User.objects.filter(phone=number).exclude(joined_at=None).first()
    if owner is None:
        sms_codes.send_code(request, user, approval, spoken=spoken)
        return
    with translation.override(owner.language or translation.get_language()):
        text = _(
            "Hitobit\nSomebody tried to use this number for another account. It is still yours: you "
            "do not need to do anything."
        )
        sms_codes.send_code(request, user, approval, replacement_text=text)


def _confirm(
    request: HttpRequest, user: User, step_up_state: dict[str, Any], code: str
) -> VerificationResult:
    """Verify the code of the new number. The value is True, the scheduled change, or None if the step-up was used
    before.
    """
    number, what = step_up_state["phone"], Purpose(step_up_state["what"])

    def effect() -> bool | DelayedChange | None:
        if not step_up.is_granted(request, user, what):
            return None
        if what is Purpose.LOST_PHONE:
            return scheduled_changes.schedule_phone_change(request, user, number)
        phone.replace(request, user, number)
        return True

    try:
        return verification.verify(
            request, user, approvals.confirm_phone(number), {Factor.SMS: code}, effect=effect
        )
    except IntegrityError:
        # SECURITY: an account was opened with the number meanwhile; reported like any other rejection.
        return VerificationResult(VerificationOutcome.REFUSED)


def _redirect_after_change(
    request: HttpRequest, value: bool | DelayedChange | None, is_lost: bool
) -> HttpResponse:
    if value is None:
        messages.error(request, _("These codes were already used. This step changed nothing."))
        return redirect("settings")
    step_up.clear(request)
    request.session.pop(NEW_PHONE, None)
    if is_lost and isinstance(value, DelayedChange):
        messages.success(
            request,
            fill(
                _("The new number takes effect on %(when)s. You can stop it here until then."),
                when=date_local(value.due_at),
            ),
        )
    else:
        messages.success(
            request,
            _(
                "Your number was changed and all other sessions have ended. For 24 hours your API keys "
                "are read-only; both codes end that earlier."
            ),
        )
    return redirect("settings")
