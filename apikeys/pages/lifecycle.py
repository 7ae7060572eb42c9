"""Pages to pause, resume, renew and delete a key, and to delete all keys."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts.access.decorators import customer
from accounts.factors import result_messages, verification
from accounts.factors.forms import CodeForm
from accounts.factors.verification import Factor, VerificationOutcome
from accounts.factors.views import ApprovalPage, two_code_page
from apikeys.actions import consent, lifecycle
from apikeys.actions.consent import CodesMissing
from apikeys.models import ApiKey
from apikeys.pages.forms import DeleteAllForm, DeleteForm, delete_all_phrase
from apikeys.pages.ownership import own_key
from apikeys.policy import account_freeze
from apikeys.policy.choices import KeyState
from apikeys.policy.power import Codes
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import date_local, digits


@require_http_methods(["GET", "HEAD", "POST"])
def pause(request: HttpRequest, pk: str) -> HttpResponse:
    """Explain and pause. No code: pausing only removes power."""
    key = own_key(request, pk)
    if key.state != KeyState.ACTIVE:
        return redirect("key_detail", key.pk)
    if request.method != "POST":
        return render(request, "apikeys/key_pause.html", {"key": key})
    lifecycle.pause(request, key)
    messages.success(
        request, fill(_("The API “%(name)s” is paused. Every request with it is refused."), name=key.label)
    )
    return redirect("key_detail", key.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def resume(request: HttpRequest, pk: str) -> HttpResponse:
    """Resume a paused key with both codes, because that restores its power."""
    key = own_key(request, pk)
    if key.state != KeyState.FROZEN:
        return redirect("key_detail", key.pk)
    state = consent.state_of(key)
    approval_page = ApprovalPage(
        lifecycle.resume_approval(key, state),
        title=key.label,
        back=reverse("key_detail", args=[key.pk]),
        operation=_("Resume this API"),
        facts=[(_("Key name"), key.label, False)],
        is_key=True,
    )

    def done(_value: Any) -> HttpResponse:
        messages.success(request, fill(_("The API “%(name)s” works again."), name=key.label))
        return redirect("key_detail", key.pk)

    try:
        account_freeze.check_not_frozen(customer(request))  # before an SMS is sent
        return two_code_page(
            request,
            approval_page,
            effect=lambda: lifecycle.resume(request, key, state),
            done=done,
            already_done=ApiKey.objects.filter(pk=key.pk, state=KeyState.ACTIVE).exists,
        )
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("key_detail", key.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def renew(request: HttpRequest, pk: str) -> HttpResponse:
    """Renew trading of an unrestricted key for 90 days: before the end with the authenticator's code, else both."""
    key = own_key(request, pk)
    if not lifecycle.is_renewable(key):
        return redirect("key_detail", key.pk)
    try:
        account_freeze.check_not_frozen(customer(request))
        if lifecycle.renewal_codes(key) is Codes.BOTH:
            return _renew_ended(request, key)
        return _renew_running(request, key)
    except CodesMissing:
        return _ended_meanwhile(request)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("key_detail", key.pk)


def _renew_running(request: HttpRequest, key: ApiKey) -> HttpResponse:
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        result = verification.verify(
            request,
            customer(request),
            lifecycle.renew_approval(key),
            {Factor.TOTP: form.cleaned_data["code"]},
            effect=lambda: lifecycle.renew(request, key, Codes.AUTHENTICATOR),
            already_done=_is_renewed(key),
        )
        if result.outcome in (VerificationOutcome.ACCEPTED, VerificationOutcome.ALREADY_DONE):
            return _renewed(request, result.value)
        form.add_error("code", result_messages.for_one_code(result))
    totp_wait = verification.seconds_until_next_totp(customer(request))
    return render(request, "apikeys/key_renew.html", {"key": key, "form": form, "totp_wait": totp_wait})


def _renew_ended(request: HttpRequest, key: ApiKey) -> HttpResponse:
    """Renew with both codes: after the end of trading, a renewal adds power."""
    if "code" in request.POST:
        return _ended_meanwhile(request)
    state = consent.state_of(key)
    approval_page = ApprovalPage(
        lifecycle.renew_approval(key, state),
        title=key.label,
        back=reverse("key_detail", args=[key.pk]),
        operation=_("Renew for 90 days"),
        facts=[(_("Key name"), key.label, False), (_("Trading ended"), date_local(key.trade_until), False)],
        is_key=True,
        sends_first=True,
    )
    return two_code_page(
        request,
        approval_page,
        effect=lambda: lifecycle.renew(request, key, Codes.BOTH, state),
        done=lambda renewed: _renewed(request, renewed),
        already_done=_is_renewed(key),
    )


def _is_renewed(key: ApiKey) -> Callable[[], Any]:
    return ApiKey.objects.filter(pk=key.pk, trade_until__gt=key.trade_until).first


def _ended_meanwhile(request: HttpRequest) -> HttpResponse:
    """Handle a form with one code that was opened before trading ended."""
    messages.warning(request, _("Trading has ended in the meantime, so renewing it also needs the SMS code."))
    return redirect(request.path)


def _renewed(request: HttpRequest, key: ApiKey) -> HttpResponse:
    text = _("The API “%(name)s” can trade until %(until)s.")
    messages.success(request, fill(text, name=key.label, until=date_local(key.trade_until)))
    return redirect("key_detail", key.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def key_delete(request: HttpRequest, pk: str) -> HttpResponse:
    """Delete a key permanently, after its name was typed."""
    key = own_key(request, pk)
    if key.state == KeyState.REVOKED:
        messages.info(request, fill(_("The API “%(name)s” was deleted."), name=key.label))
        return redirect("keys")
    form = DeleteForm(request.POST or None, key=key)
    if request.method == "POST" and form.is_valid():
        lifecycle.delete(request, key)
        messages.success(request, fill(_("The API “%(name)s” was deleted."), name=key.label))
        return redirect("keys")
    return render(request, "apikeys/key_delete.html", {"key": key, "form": form})


@require_http_methods(["GET", "HEAD", "POST"])
def delete_all(request: HttpRequest) -> HttpResponse:
    """List all keys, and delete them permanently after a phrase was typed."""
    keys = list(ApiKey.objects.live(customer(request)))
    if not keys:
        return redirect("keys")
    form = DeleteAllForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        count = lifecycle.delete_all(request, customer(request))
        text = fill(ngettext("%(n)s key was deleted.", "%(n)s keys were deleted.", count), n=digits(count))
        messages.success(request, text)
        return redirect("keys")
    context = {"keys": keys, "form": form, "phrase": delete_all_phrase()}
    return render(request, "apikeys/keys_delete_all.html", context)
