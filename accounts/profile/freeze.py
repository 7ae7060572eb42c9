"""Stopping everything at once, with and without a login; and the two ways back, both by both codes."""

from functools import partial
from typing import Any

from django.contrib import messages as notices
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access.guard import customer, public
from accounts.actions import freeze as actions_freeze
from accounts.actions import scheduled_changes
from accounts.choices import approvals
from accounts.choices.events import event_of
from accounts.factors import verification
from accounts.factors.views import Asked, both_codes
from accounts.models import Notice, User
from accounts.notifications import links
from hitobit_portal.http import error_pages
from hitobit_portal.http.context import address_of
from hitobit_portal.i18n.jalali import masked_phone
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate


@require_http_methods(["GET", "HEAD", "POST"])
def freeze(request: HttpRequest) -> HttpResponse:
    """What freezing does, and one button; of a frozen account the way back."""
    user = customer(request)
    if request.method != "POST":
        return render(request, "accounts/freeze.html")
    # No code: whoever is being robbed has no time, and a thief gains nothing by it.
    actions_freeze.freeze(request, user)
    request.session.flush()
    response = redirect("frozen")
    response["Clear-Site-Data"] = '"cache"'  # the pages behind Back
    return response


@public
@require_safe
def frozen(request: HttpRequest) -> HttpResponse:
    """After freezing, when nobody is logged in any more: what happened, and how it is undone."""
    return render(request, "accounts/frozen.html")


@require_http_methods(["GET", "HEAD", "POST"])
def thaw(request: HttpRequest) -> HttpResponse:
    """Both codes thaw the account."""
    user = customer(request)
    asked = Asked(
        approvals.THAW,
        title=_("Thaw the account"),
        back=reverse("freeze"),
        operation=_("Thaw the account"),
    )

    def is_thawed() -> bool:
        return not User.objects.filter(pk=user.pk, frozen_at__isnull=False).exists()

    def done(_value: Any) -> HttpResponse:
        notices.success(request, _("The account is thawed. Your API keys work again."))
        return redirect("dashboard")

    if user.frozen_at is None:
        return redirect("dashboard")
    return both_codes(
        request, asked, effect=partial(actions_freeze.thaw, request, user), done=done, already_done=is_thawed
    )


@require_http_methods(["GET", "HEAD", "POST"])
def quarantine(request: HttpRequest) -> HttpResponse:
    """Both codes end the quarantine before its time."""
    user = customer(request)
    asked = Asked(
        approvals.LIFT_QUARANTINE,
        title=_("End the quarantine"),
        back=reverse("dashboard"),
        operation=_("End the quarantine"),
    )

    def is_lifted() -> bool:
        return not User.objects.get(pk=user.pk).in_quarantine

    def done(_value: Any) -> HttpResponse:
        notices.success(request, _("The quarantine has ended. Your API keys may trade and withdraw again."))
        return redirect("dashboard")

    if not user.in_quarantine:
        return redirect("dashboard")
    effect = partial(actions_freeze.lift_quarantine, request, user)
    return both_codes(request, asked, effect=effect, done=done, already_done=is_lifted)


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def notice(request: HttpRequest, token: str) -> HttpResponse:
    """The link of a notice: looking changes nothing (mail programs open links), a button uses it up."""
    found = links.find(token)
    # SECURITY: only wrong links count, and a right one is never refused: a neighbour behind the same address must not
    # keep an owner from freezing. The tag has 128 bits, so the rate limits work, not the chance of a right guess.
    if found is None:
        wait = ratelimits.acquire_address(Rate.NOTICE_LINK_ADDRESS, address_of(request))
        return error_pages.too_many(request, wait) if wait is not None else _gone(request)
    if request.method == "POST":
        return _act(request, found)
    context = {
        "title": event_of(found.event.event).look.title,
        "at": found.event.at,
        "phone": _shown_phone(found),
        "is_waiting": _can_stop(found.user),
        "is_held": not links.link_may_stop(found.user) and scheduled_changes.waiting(found.user).exists(),
        "is_frozen": found.user.frozen_at is not None,
    }
    return render(request, "accounts/notice_link.html", context)


def _act(request: HttpRequest, found: Notice) -> HttpResponse:
    """Freezes the account, or (``stop``) only stops a change that waits."""
    only_stop = "stop" in request.POST
    with transaction.atomic():
        verification.lock(found.user)
        if only_stop and not _can_stop(found.user):
            # It took force meanwhile, or another link stopped one before; this one is still good for freezing.
            return redirect(request.path)
        # SECURITY: one of many at once goes on; a link that was read out of a phone later does nothing.
        if not links.use_up(found):
            return _gone(request)
        scheduled_changes.stop_by_link(found.user, request)
        if not only_stop:
            actions_freeze.freeze(request, found.user, via="link")
    if only_stop:
        notices.success(request, _("The change was stopped: number and authenticator stay as they are."))
        return redirect("login")
    return redirect("frozen")


def _can_stop(user: User) -> bool:
    return links.link_may_stop(user) and scheduled_changes.waiting(user).exists()


def _shown_phone(found: Notice) -> str:
    """The number it went to, which its reader knows; not the one that may have replaced it meanwhile."""
    return masked_phone(found.to if found.channel == Notice.Channel.SMS else found.user.phone)


def _gone(request: HttpRequest) -> HttpResponse:
    # SECURITY: one answer for forged, expired and used up: it tells nothing about which ids exist.
    return render(request, "accounts/notice_link_gone.html", status=404)
