"""A key's states: paused at once, resumed by both codes, its trading renewed; and all keys deleted at once."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages as notices
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts.access.guard import customer
from accounts.factors import messages, verification
from accounts.factors.forms import CodeForm
from accounts.factors.verification import Factor, Outcome
from accounts.factors.views import Asked, both_codes
from apikeys.actions import consent, lifecycle
from apikeys.actions.consent import CodesMissing
from apikeys.models import ApiKey
from apikeys.pages.detail import own_key
from apikeys.pages.lifecycle_forms import DeleteAllForm, delete_all_phrase
from apikeys.policy import account_freeze
from apikeys.policy.choices import KeyState
from apikeys.policy.power import Codes
from hitobit_portal.i18n.jalali import date_local, digits


@require_http_methods(["GET", "HEAD", "POST"])
def pause(request: HttpRequest, pk: str) -> HttpResponse:
    """What pausing does, and one button. No code: it only takes power away."""
    key = own_key(request, pk)
    if key.state != KeyState.ACTIVE:
        return redirect("key_detail", key.pk)
    if request.method != "POST":
        return render(request, "apikeys/key_pause.html", {"key": key})
    lifecycle.pause(request, key)
    notices.success(
        request, _("The API “%(name)s” is paused. Every request with it is refused.") % {"name": key.label}
    )
    return redirect("key_detail", key.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def resume(request: HttpRequest, pk: str) -> HttpResponse:
    """Both codes: a paused key gets all its power back."""
    key = own_key(request, pk)
    if key.state != KeyState.FROZEN:
        return redirect("key_detail", key.pk)
    state = consent.state_of(key)
    asked = Asked(
        lifecycle.resume_approval(key, state),
        title=key.label,
        back=reverse("key_detail", args=[key.pk]),
        operation=_("Resume this API"),
        facts=[(_("Key name"), key.label, False)],
        diff=[_("State: paused → active")],
        is_key=True,
    )

    def done(_value: Any) -> HttpResponse:
        notices.success(request, _("The API “%(name)s” works again.") % {"name": key.label})
        return redirect("key_detail", key.pk)

    try:
        account_freeze.check_not_frozen(customer(request))  # before an SMS is sent for nothing
        return both_codes(
            request,
            asked,
            effect=lambda: lifecycle.resume(request, key, state),
            done=done,
            already_done=ApiKey.objects.filter(pk=key.pk, state=KeyState.ACTIVE).exists,
        )
    except ValidationError as error:
        notices.error(request, " ".join(error.messages))
        return redirect("key_detail", key.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def renew(request: HttpRequest, pk: str) -> HttpResponse:
    """90 more days of trading for an unrestricted key: by the authenticator's code while it trades, then by both."""
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
        notices.error(request, " ".join(error.messages))
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
        if result.outcome in (Outcome.ACCEPTED, Outcome.ALREADY_DONE):
            return _renewed(request, result.value)
        form.add_error(None, messages.of_one(result))
    return render(request, "apikeys/key_renew.html", {"key": key, "form": form})


def _renew_ended(request: HttpRequest, key: ApiKey) -> HttpResponse:
    """Once trading has ended, a renewal adds power."""
    if "code" in request.POST:
        return _ended_meanwhile(request)
    state = consent.state_of(key)
    asked = Asked(
        lifecycle.renew_approval(key, state),
        title=key.label,
        back=reverse("key_detail", args=[key.pk]),
        operation=_("Renew for 90 days"),
        facts=[(_("Key name"), key.label, False), (_("Trading ended"), date_local(key.trade_until), False)],
        diff=[_("Trading from any IP: ended → for 90 days")],
        is_key=True,
        sends_first=True,
    )
    return both_codes(
        request,
        asked,
        effect=lambda: lifecycle.renew(request, key, Codes.BOTH, state),
        done=lambda renewed: _renewed(request, renewed),
        already_done=_is_renewed(key),
    )


def _is_renewed(key: ApiKey) -> Callable[[], Any]:
    return ApiKey.objects.filter(pk=key.pk, trade_until__gt=key.trade_until).first


def _ended_meanwhile(request: HttpRequest) -> HttpResponse:
    """The form of one code was open while trading ended."""
    notices.warning(request, _("Trading has ended meanwhile: renewing it takes the SMS code, too."))
    return redirect(request.path)


def _renewed(request: HttpRequest, key: ApiKey) -> HttpResponse:
    words = {"name": key.label, "until": date_local(key.trade_until)}
    notices.success(request, _("The API “%(name)s” may trade until %(until)s.") % words)
    return redirect("key_detail", key.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def delete_all(request: HttpRequest) -> HttpResponse:
    """Ends all keys for good, after a phrase was typed. Lists what ends."""
    keys = list(ApiKey.objects.live(customer(request)))
    if not keys:
        return redirect("keys")
    form = DeleteAllForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        count = lifecycle.delete_all(request, customer(request))
        text = ngettext("%(n)s key was deleted.", "%(n)s keys were deleted.", count) % {"n": digits(count)}
        notices.success(request, text)
        return redirect("keys")
    context = {"keys": keys, "form": form, "phrase": delete_all_phrase()}
    return render(request, "apikeys/keys_delete_all.html", context)
