"""Change the password: both codes, then the current and the new one. Replace the first password of a staff account."""

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from accounts import audit
from accounts.access import sessions
from accounts.access.decorators import customer
from accounts.access.decorators import first_password as first_password_only
from accounts.choices import approvals
from accounts.choices.approvals import Purpose
from accounts.choices.events import Event
from accounts.factors import step_up, verification
from accounts.factors.views import ApprovalPage
from accounts.models import User
from accounts.profile.forms import ChangePasswordForm
from accounts.profile.overview import form_view, step_up_page
from hitobit_portal.http import error_pages
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate


@form_view
def settings_password(request: HttpRequest) -> HttpResponse:
    """Take both codes for the change of the password."""
    title = _("Change password")
    page = ApprovalPage(approvals.CHANGE_PASSWORD, title=title, back=reverse("settings"), operation=title)
    return step_up_page(request, page, "settings_password_new")


@never_cache
@sensitive_post_parameters("current_password", "password")
@form_view
def settings_password_new(request: HttpRequest) -> HttpResponse:
    """Take the current and the new password. Keys are not restricted: both codes and the old password are three
    proofs.
    """
    user = customer(request)
    if not step_up.is_granted(request, user, Purpose.CHANGE_PASSWORD):
        return redirect("settings_password")
    form = _form(request, user)
    if isinstance(form, HttpResponse):
        return form
    if form.is_valid():
        return _replace(request, user, form.cleaned_data["password"])
    return render(request, "accounts/settings_password_new.html", {"form": form})


def _replace(request: HttpRequest, user: User, password: str) -> HttpResponse:
    if not _store(
        request, user, password, lambda: step_up.is_granted(request, user, Purpose.CHANGE_PASSWORD)
    ):
        messages.error(request, _("These codes were already used. This step changed nothing."))
        return redirect("settings")
    step_up.clear(request)
    messages.success(request, _("Your password was changed. All other sessions have ended."))
    return redirect("settings")


def _store(request: HttpRequest, user: User, password: str, only_if: Callable[[], bool]) -> bool:
    """Replace the password and end all other sessions. ``only_if`` is called under the lock. Return whether it was
    replaced.
    """
    ratelimits.release(Rate.PASSWORD_CHECK, str(user.pk))
    hashed = make_password(password)  # slow, so before the lock
    with transaction.atomic(durable=True):
        verification.lock(user)
        changed = only_if()
        if changed:
            User.objects.filter(pk=user.pk).update(password=hashed, must_replace_password=False)
            user.refresh_from_db(fields=["password", "must_replace_password"])
            sessions.end_all(user, keep=request)
            audit.record(Event.PASSWORD_CHANGED, request, customer=user)
    return changed


@first_password_only
@never_cache
@sensitive_post_parameters("current_password", "password")
@form_view
def first_password(request: HttpRequest) -> HttpResponse:
    """Replace the password that an operator has set; the last step of the first login."""
    user = customer(request)
    form = _form(request, user)
    if isinstance(form, HttpResponse):
        return form
    if form.is_valid():
        # Of two parallel requests, the second has nothing to replace.
        _store(request, user, form.cleaned_data["password"], lambda: _is_first(user))
        messages.success(request, _("Your password was changed. All other sessions have ended."))
        return redirect("admin:index" if user.is_staff else "dashboard")
    return render(request, "accounts/first_password.html", {"form": form})


def _is_first(user: User) -> bool:
    return User.objects.filter(pk=user.pk, password=user.password, must_replace_password=True).exists()


def _form(request: HttpRequest, user: User) -> ChangePasswordForm | HttpResponse:
    """Return the form with the posted values, or an empty form, or the response if there were too many wrong
    passwords.
    """
    if request.method != "POST":
        return ChangePasswordForm(user)
    # SECURITY: acquired before comparing: somebody with a foreign session or a borrowed phone must not guess the
    # password.
    wait = ratelimits.acquire(Rate.PASSWORD_CHECK, str(user.pk))
    if wait is not None:
        return error_pages.too_many(request, wait)
    form = ChangePasswordForm(user, request.POST)
    if not form.is_valid() and "current_password" not in form.errors:
        ratelimits.release(Rate.PASSWORD_CHECK, str(user.pk))
    return form
