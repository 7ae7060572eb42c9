"""Freeze the account, with or without a login; thaw it or end the quarantine, both with both codes."""

import time
from functools import partial
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access.decorators import customer, public
from accounts.actions import freeze as actions_freeze
from accounts.actions import scheduled_changes
from accounts.choices import approvals
from accounts.choices.events import event_of
from accounts.factors import verification
from accounts.factors.views import ApprovalPage, two_code_page
from accounts.models import Notice, User
from accounts.notifications import links
from hitobit_portal.http import error_pages
from hitobit_portal.http.context import address_of
from hitobit_portal.i18n.jalali import masked_phone
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

#: In the session: until when the browser that froze an account is told what that means.
JUST_FROZEN = "just_frozen"
EXPLAINED_SECONDS = 600


@require_http_methods(["GET", "HEAD", "POST"])
def freeze(request: HttpRequest) -> HttpResponse:
    """Explain the freeze and offer one button; for a frozen account, offer to thaw it."""
    user = customer(request)
    if request.method != "POST":
        return render(request, "accounts/freeze.html")
    # No code: the victim of a theft has no time, and a thief gains nothing by a freeze.
    actions_freeze.freeze(request, user)
    request.session.flush()
    response = _to_frozen(request)
    response["Clear-Site-Data"] = '"cache"'  # the pages behind the Back button
    return response


def _to_frozen(request: HttpRequest) -> HttpResponse:
    request.session[JUST_FROZEN] = int(time.time()) + EXPLAINED_SECONDS
    return redirect("frozen")


@public
@never_cache
@require_safe
def frozen(request: HttpRequest) -> HttpResponse:
    """After a freeze, when nobody is logged in: explain what happened and how to undo it.

    Who froze nothing in this browser is told nothing, least of all that an account is frozen.
    """
    if request.session.get(JUST_FROZEN, 0) < time.time():
        return redirect("freeze" if request.user.is_authenticated else "login")
    return render(request, "accounts/frozen.html")


@require_http_methods(["GET", "HEAD", "POST"])
def thaw(request: HttpRequest) -> HttpResponse:
    """Thaw the account with both codes."""
    user = customer(request)
    page = ApprovalPage(
        approvals.THAW,
        title=_("Unfreeze the account"),
        back=reverse("freeze"),
        operation=_("Unfreeze the account"),
    )

    def is_thawed() -> bool:
        return not User.objects.filter(pk=user.pk, frozen_at__isnull=False).exists()

    def done(_value: Any) -> HttpResponse:
        messages.success(request, _("The account is unfrozen. Your API keys work again."))
        return redirect("dashboard")

    if user.frozen_at is None:
        return redirect("dashboard")
    return two_code_page(
        request, page, effect=partial(actions_freeze.thaw, request, user), done=done, already_done=is_thawed
    )


@require_http_methods(["GET", "HEAD", "POST"])
def quarantine(request: HttpRequest) -> HttpResponse:
    """End the quarantine early with both codes."""
    user = customer(request)
    page = ApprovalPage(
        approvals.LIFT_QUARANTINE,
        title=_("End the quarantine"),
        back=reverse("dashboard"),
        operation=_("End the quarantine"),
    )

    def is_lifted() -> bool:
        return not User.objects.get(pk=user.pk).in_quarantine

    def done(_value: Any) -> HttpResponse:
        messages.success(request, _("The quarantine has ended. Your API keys can trade and withdraw again."))
        return redirect("dashboard")

    if not user.in_quarantine:
        return redirect("dashboard")
    effect = partial(actions_freeze.lift_quarantine, request, user)
    return two_code_page(request, page, effect=effect, done=done, already_done=is_lifted)


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def notice(request: HttpRequest, token: str) -> HttpResponse:
    """The page of the link in a notice. A GET changes nothing (mail programs open links); a button uses the link."""
    notice_sent = links.find(token)
    # SECURITY: only wrong links count, and a right link is never refused: a neighbour behind the same address must
    # not keep an owner from freezing. The tag has 128 bits; the limit bounds work, not the chance of a right guess.
    if notice_sent is None:
        wait = ratelimits.acquire_address(Rate.NOTICE_LINK_ADDRESS, address_of(request))
        return error_pages.too_many(request, wait) if wait is not None else _link_gone(request)
    if request.method == "POST":
        return _use_link(request, notice_sent)
    context = {
        "title": event_of(notice_sent.event.event).look.title,
        "at": notice_sent.event.at,
        "phone": _shown_phone(notice_sent),
        "is_waiting": _can_stop(notice_sent.user),
        "is_held": not links.link_may_stop(notice_sent.user)
        and scheduled_changes.waiting(notice_sent.user).exists(),
        "is_frozen": notice_sent.user.frozen_at is not None,
    }
    return render(request, "accounts/notice_link.html", context)


def _use_link(request: HttpRequest, notice_sent: Notice) -> HttpResponse:
    """Freeze the account, or only stop a scheduled change (``stop``)."""
    only_stop = "stop" in request.POST
    with transaction.atomic():
        verification.lock(notice_sent.user)
        if only_stop and not _can_stop(notice_sent.user):
            # It took effect meanwhile, or another link stopped one before. This link can still freeze the account.
            return redirect(request.path)
        # SECURITY: of many parallel requests one continues; a used link does nothing, even if it is read from the
        # phone later.
        if not links.use_up(notice_sent):
            return _link_gone(request)
        scheduled_changes.stop_by_link(notice_sent.user, request)
        if not only_stop:
            actions_freeze.freeze(request, notice_sent.user, via="link")
    if only_stop:
        messages.success(
            request, _("The change was stopped. Your number and authenticator stay as they are.")
        )
        return redirect("login")
    return _to_frozen(request)


def _can_stop(user: User) -> bool:
    return links.link_may_stop(user) and scheduled_changes.waiting(user).exists()


def _shown_phone(notice_sent: Notice) -> str:
    """Return the number that the notice was sent to, which its reader knows; not a number that replaced it."""
    return masked_phone(
        notice_sent.to if notice_sent.channel == Notice.Channel.SMS else notice_sent.user.phone
    )


def _link_gone(request: HttpRequest) -> HttpResponse:
    # SECURITY: one response for forged, expired and used links, so that it does not reveal which ids exist.
    return render(request, "accounts/notice_link_gone.html", status=404)
