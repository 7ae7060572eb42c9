"""Both codes, for one approval: making a key, or giving a key more power."""

import uuid
from typing import Any

from django.contrib import messages as notices
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import audit, drafts, messages, otp, sms_codes
from accounts.events import Event
from accounts.forms import TwoCodesForm
from accounts.models import User
from accounts.otp import Factor, Outcome
from accounts.purposes import Approval
from accounts.stages import customer
from apikeys import wizard
from apikeys.models import ApiKey, KeyLimitReached
from apikeys.rules import State
from apikeys.views_key import apply_change, own_key
from hitobit_portal.context import address_of


@require_http_methods(["GET", "HEAD", "POST"])
def verify_new(request: HttpRequest) -> HttpResponse:
    """Step 3 of the guide: both codes make the key."""
    user, pending = customer(request), request.session.get(wizard.NEW_KEY)
    if not pending:
        # Back, refresh or a second click after the key was made: show the key.
        made = wizard.made_key(request)
        drafts.hand_on(request, reverse("keys"))
        return redirect("key_detail", made) if made else redirect("keys")
    approval = wizard.create_approval(pending["name"])
    if "resend" in request.POST:
        return _resend(request, user, approval, reverse("key_verify_new"))
    form = TwoCodesForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            result = otp.verify(
                request,
                user,
                approval,
                _codes(form),
                effect=lambda: _create(request, user, pending),
                already_done=ApiKey.objects.filter(owner=user, wizard=pending["wizard"]).first,
            )
        except KeyLimitReached:
            notices.error(request, _("You have the most keys that are allowed. Delete one first."))
            return redirect("keys")
        except IntegrityError:
            request.session.pop(wizard.NEW_KEY, None)
            notices.error(request, _("You have a key of this name already. Choose another one."))
            return redirect("keys")
        if result.outcome in (Outcome.ACCEPTED, Outcome.ALREADY_DONE):
            wizard.made(request, result.value)
            return redirect("key_detail", result.value.pk)
        form.add_error(None, messages.of_result(result))
    facts = [(_("Operation"), _("Create API"), False), (_("Key name"), pending["name"], False)]
    page = {
        "title": _("Create API"),
        "name": pending["name"],
        "facts": facts,
        "back": reverse("keys"),
        "stepper": True,
        "diff": [],
    }
    return _page(request, form, approval, page)


def _create(request: HttpRequest, user: User, pending: dict[str, str]) -> ApiKey:
    key = ApiKey.objects.create_with_secret(user, pending["name"], uuid.UUID(pending["wizard"]))
    audit.record(
        Event.KEY_APPROVED, request, customer=user, target=str(key.pk), label=key.label, purpose="key.create"
    )
    audit.record(Event.KEY_CREATED, request, customer=user, target=str(key.pk), label=key.label)
    return key


@require_http_methods(["GET", "HEAD", "POST"])
def verify_change(request: HttpRequest, pk: str) -> HttpResponse:
    """Both codes give an existing key more power: exactly the change that the page and the SMS name."""
    key = own_key(request, pk)
    change = wizard.pending_change(request, key)
    if change is None or key.state != State.ACTIVE:
        return redirect("key_detail", key.pk)
    approval = wizard.change_approval(key, change)
    if "resend" in request.POST:
        return _resend(request, customer(request), approval, reverse("key_verify", args=[key.pk]))
    form = TwoCodesForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            result = otp.verify(
                request,
                customer(request),
                approval,
                _codes(form),
                effect=lambda: apply_change(request, key, change, approved=True),
                already_done=lambda: (
                    ApiKey.objects.get(pk=key.pk).settings.as_json() == change.after.as_json()
                ),
            )
        except ValidationError as error:
            wizard.end_change(request)
            notices.error(request, " ".join(error.messages))
            return redirect("key_detail", key.pk)
        if result.outcome in (Outcome.ACCEPTED, Outcome.ALREADY_DONE):
            wizard.end_change(request)
            notices.success(request, _("Saved. The key works with these settings from now on."))
            return redirect("key_detail", key.pk)
        form.add_error(None, messages.of_result(result))
    facts = [(_("Operation"), _("Change of settings"), False), (_("Key name"), key.label, False)]
    page = {
        "title": key.label,
        "facts": facts,
        "back": reverse("key_detail", args=[key.pk]),
        "stepper": False,
    }
    return _page(request, form, approval, {**page, "diff": change.lines()})


def _codes(form: TwoCodesForm) -> dict[Factor, str]:
    return {Factor.SMS: form.cleaned_data["sms_code"], Factor.TOTP: form.cleaned_data["totp_code"]}


def _resend(request: HttpRequest, user: User, approval: Approval, back: str) -> HttpResponse:
    sent = sms_codes.send_code(request, user, approval)
    problem = messages.of_sending(sent)
    if problem:
        notices.error(request, problem)
    elif sent.state is sms_codes.Sending.SENT:
        notices.success(request, _("A new code was sent. The one before it no longer works."))
    else:
        notices.info(
            request, _("A code was sent a moment ago. You can ask for another one when the countdown ends.")
        )
    return redirect(back)


def _page(request: HttpRequest, form: TwoCodesForm, approval: Approval, page: dict[str, Any]) -> HttpResponse:
    address = address_of(request)
    facts = [*page["facts"], (_("From IP"), address, True), (_("Codes are valid for"), _("2 minutes"), False)]
    context = {
        "approval": {**page, "sentence": approval.sentence, "facts": facts},
        "form": form,
        "masked_phone": customer(request).phone,
        "resend_in": sms_codes.resend_in(customer(request), approval),
        "sms_failed": request.session.pop("sms_failed", False),
    }
    return render(request, "apikeys/verify.html", context)
