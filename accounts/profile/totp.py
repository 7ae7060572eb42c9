"""Replace the authenticator, also after the old one was lost; renew the recovery codes."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from accounts.access import pending_login, redirects
from accounts.access.decorators import customer, pending
from accounts.actions import authenticator
from accounts.choices import approvals
from accounts.choices.approvals import Purpose
from accounts.factors import recovery_codes, result_messages, step_up, totp, verification
from accounts.factors.forms import CodeForm
from accounts.factors.verification import Factor
from accounts.factors.views import ApprovalPage
from accounts.login.views import complete
from accounts.models import User
from accounts.profile.overview import form_view, step_up_page


@form_view
def settings_totp(request: HttpRequest) -> HttpResponse:
    """Take both current codes for a new authenticator."""
    title = _("Set up a new authenticator")
    page = ApprovalPage(approvals.CHANGE_TOTP, title=title, back=reverse("settings"), operation=title)
    return step_up_page(request, page, "settings_totp_new")


@never_cache
@form_view
def settings_totp_new(request: HttpRequest) -> HttpResponse:
    """Show the new seed until one of its codes was entered. The old seed works until then."""
    user = customer(request)
    step_up_state = step_up.get(request, user, Purpose.CHANGE_TOTP)
    if step_up_state is None:
        return redirect("settings_totp")
    # SECURITY: the seed belongs to this step-up: another browser of the account gets another seed.
    seed = step_up.totp_seed(step_up_state, user)

    def effect() -> bool:
        if not step_up.is_granted(request, user, Purpose.CHANGE_TOTP):
            return False
        authenticator.replace(request, user, seed)
        return True

    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        code = {Factor.TOTP: form.cleaned_data["code"]}
        result = verification.verify(request, user, approvals.CONFIRM_TOTP, code, effect=effect, seed=seed)
        if result.accepted:
            step_up.clear(request)
            _notify_replaced(request)
            return redirect("settings")
        form.add_error("code", result_messages.for_one_code(result))
    context = {"form": form, **totp.qr_context(user, seed)}
    return render(request, "accounts/settings_totp_new.html", context)


def _notify_replaced(request: HttpRequest) -> None:
    messages.success(
        request,
        _(
            "The new authenticator is on and all other sessions have ended. For 24 hours your API "
            "keys are read-only; both codes end that earlier."
        ),
    )


@pending
@never_cache
@form_view
def replace_totp(request: HttpRequest) -> HttpResponse:
    """The same for a lost authenticator: after the password and a recovery code, within the login."""
    user: User = request.pending_user  # type: ignore[attr-defined]
    if pending_login.next_step(request, user) != "replace_totp":
        return redirect(pending_login.next_step(request, user))
    seed = pending_login.totp_seed(request, user)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        code = {Factor.TOTP: form.cleaned_data["code"]}
        result = verification.verify(
            request,
            user,
            approvals.CONFIRM_TOTP,
            code,
            effect=lambda: authenticator.replace(request, user, seed),
            seed=seed,
        )
        if result.accepted:
            pending_login.record_proof(request, Factor.TOTP.value)
            _notify_replaced(request)
            fresh = pending_login.pending_user(request)
            if fresh is None:  # the account was frozen at this moment
                return redirects.redirect_to_login(request)
            return complete(request, fresh, fresh.totp, Factor.RECOVERY.value)
        form.add_error("code", result_messages.for_one_code(result))
    context = {"form": form, **totp.qr_context(user, seed)}
    return render(request, "accounts/replace_totp.html", context)


@form_view
def settings_recovery(request: HttpRequest) -> HttpResponse:
    """Take both codes for new recovery codes."""
    title = _("Create new recovery codes")
    page = ApprovalPage(approvals.RENEW_RECOVERY, title=title, back=reverse("settings"), operation=title)
    return step_up_page(request, page, "settings_recovery_new")


@never_cache
@form_view
def settings_recovery_new(request: HttpRequest) -> HttpResponse:
    """Show ten new codes once for each step-up. A later visit shows that they were already shown."""
    user = customer(request)
    codes = []
    # Not for HEAD: nobody would see them.
    if request.method == "GET" and step_up.is_granted(request, user, Purpose.RENEW_RECOVERY):
        codes = recovery_codes.generate(
            request,
            user,
            renew=True,
            only_if=lambda: step_up.is_granted(request, user, Purpose.RENEW_RECOVERY),
        )
    context = {"codes": codes, "download": recovery_codes.download_uri(codes)}
    return render(request, "accounts/settings_recovery_new.html", context)
