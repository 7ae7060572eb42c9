"""Enrolment: mobile number, authenticator, recovery codes; in this order, and nothing else before it is done."""

import base64
import io
from urllib.parse import quote

import pyotp
import qrcode
from django.contrib import messages as notices
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import audit, messages, otp, purposes, recovery, sms_codes, stages
from accounts.events import Event
from accounts.forms import CodeForm
from accounts.models import SmsDevice, TotpDevice, User
from accounts.otp import Factor
from accounts.stages import pending
from accounts.views_login import complete
from hitobit_portal import crypto

ISSUER = "Hitobit"


@pending
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enrol_sms(request: HttpRequest) -> HttpResponse:
    """Confirms the account's own number by a code. The first one goes out with the first sight of the page."""
    user: User = request.pending_user  # type: ignore[attr-defined]
    if stages.next_step(request, user) != "enrol_sms":
        return redirect(stages.next_step(request, user))
    form = CodeForm()
    if request.method == "POST" and "resend" not in request.POST:
        form = CodeForm(request.POST)
        if form.is_valid():
            code = {Factor.SMS: form.cleaned_data["code"]}
            result = otp.verify(
                request, user, purposes.ENROL_SMS, code, effect=lambda: _confirm_phone(request, user)
            )
            if result.accepted:
                stages.prove(request, Factor.SMS.value)
                return redirect("enrol_totp")
            form.add_error("code", messages.of_one(result))
    elif "resend" in request.POST or (
        request.method == "GET" and not sms_codes.resend_in(user, purposes.ENROL_SMS)
    ):
        problem = messages.of_sending(sms_codes.send_code(request, user, purposes.ENROL_SMS))
        if problem:
            notices.error(request, problem)
        if request.method == "POST":
            return redirect("enrol_sms")
    context = {
        "form": form,
        "masked_phone": user.phone,
        "resend_in": sms_codes.resend_in(user, purposes.ENROL_SMS),
        "sent": user.sms_codes.filter(purpose=purposes.ENROL_SMS.purpose.value).exists(),
    }
    return render(request, "accounts/enrol_sms.html", context)


def _confirm_phone(request: HttpRequest, user: User) -> None:
    now = timezone.now()
    defaults = {"number": user.phone, "confirmed": True, "confirmed_at": now, "name": "sms"}
    SmsDevice.objects.update_or_create(user=user, defaults=defaults)
    audit.record(Event.PHONE_CONFIRMED, request, customer=user)


@pending
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enrol_totp(request: HttpRequest) -> HttpResponse:
    """Shows the seed (QR and text) until a code of it was typed."""
    user: User = request.pending_user  # type: ignore[attr-defined]
    if stages.next_step(request, user) != "enrol_totp":
        return redirect(stages.next_step(request, user))
    seed = _unconfirmed_seed(user)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        code = {Factor.TOTP: form.cleaned_data["code"]}
        result = otp.verify(
            request, user, purposes.ENROL_TOTP, code, effect=lambda: _confirm_totp(request, user)
        )
        if result.accepted:
            stages.prove(request, Factor.TOTP.value)
            return redirect("recovery_codes")
        form.add_error("code", messages.of_one(result))
    path, size = qr_path(provisioning_uri(user, seed))
    context = {
        "form": form,
        "secret": seed,
        "qr_path": path,
        "qr_size": size,
        "account_name": f"{ISSUER}: {user.phone}",
    }
    return render(request, "accounts/enrol_totp.html", context)


def _unconfirmed_seed(user: User) -> str:
    """The seed that waits for its first code; made on the first visit, the same after a refresh."""
    with transaction.atomic(durable=True):
        otp.lock(user)
        device = TotpDevice.objects.filter(user=user).first()
        if device is None:
            device = TotpDevice(user=user, confirmed=False, name="totp")
            device.seed_sealed = crypto.seal(pyotp.random_base32().encode(), otp.seal_owner(user))
            device.save()
        return crypto.unseal(device.seed_sealed, otp.seal_owner(user)).decode()


def _confirm_totp(request: HttpRequest, user: User) -> None:
    TotpDevice.objects.filter(user=user).update(confirmed=True, confirmed_at=timezone.now())
    audit.record(Event.TOTP_CONFIRMED, request, customer=user)


def provisioning_uri(user: User, seed: str) -> str:
    """``otpauth://`` of the authenticator apps (Key URI Format)."""
    return pyotp.TOTP(seed).provisioning_uri(name=user.phone, issuer_name=ISSUER)


def qr_path(text: str) -> tuple[str, int]:
    """The QR code as one SVG path (``d``) of unit squares, and the side of its view box with the quiet zone of 4."""
    code = qrcode.QRCode(border=4, error_correction=qrcode.constants.ERROR_CORRECT_M)
    code.add_data(text)
    rows = code.get_matrix()
    path = io.StringIO()
    for y, row in enumerate(rows):
        for x, dark in enumerate(row):
            if dark:
                path.write(f"M{x} {y}h1v1h-1z")
    return path.getvalue(), len(rows)


@pending
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Shows ten recovery codes once; then the login is complete."""
    user: User = request.pending_user  # type: ignore[attr-defined]
    if stages.next_step(request, user) != "recovery_codes":
        return redirect(stages.next_step(request, user))
    if request.method == "POST" and "renew" not in request.POST:
        return complete(request, user, user.totp, "enrolment")
    codes = recovery.make(request, user, renew=request.method == "POST")
    text = "\r\n".join(codes)
    encoded = quote(base64.b64encode(text.encode()).decode())
    download = f"data:text/plain;charset=utf-8;base64,{encoded}"
    return render(
        request, "accounts/recovery_codes.html", {"codes": codes, "download": download if codes else ""}
    )
