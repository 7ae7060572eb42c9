"""The e-mail for notices: both codes, then a confirmation link to the new address."""

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.core.mail import EmailMessage
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import audit
from accounts.access import logins
from accounts.access.decorators import customer
from accounts.choices import approvals
from accounts.choices.approvals import Purpose
from accounts.choices.events import Event
from accounts.factors import result_messages, sms_codes, verification
from accounts.factors.views import ApprovalPage, two_code_page
from accounts.models import AuditEvent, User
from accounts.profile.forms import EmailForm
from accounts.profile.overview import form_view
from hitobit_portal import background

NEW_EMAIL = "new_email"
SALT = "accounts.email"
LIFETIME = 24 * 3600


@form_view
def settings_email(request: HttpRequest) -> HttpResponse:
    """Take the new address; with ``remove``, remove the current one."""
    user = customer(request)
    _require_email_enabled()
    removes = "remove" in request.POST and bool(user.email)
    form = EmailForm(user, None if removes else request.POST or None)
    if request.method == "POST" and (removes or form.is_valid()):
        email = "" if removes else form.cleaned_data["email"]
        request.session[NEW_EMAIL] = email
        problem = result_messages.for_sending(
            sms_codes.send_code(request, user, approvals.change_email(email))
        )
        if problem:
            messages.error(request, problem)
        return redirect("settings_email_codes")
    return render(request, "accounts/settings_email.html", {"form": form})


@form_view
def settings_email_codes(request: HttpRequest) -> HttpResponse:
    """Take both codes for this address, then send the link to it, or remove the current address."""
    user = customer(request)
    _require_email_enabled()
    email = request.session.get(NEW_EMAIL)
    if email is None:
        return redirect("settings_email")
    title = _("Change e-mail") if email else _("Remove e-mail")
    page = ApprovalPage(
        approvals.change_email(email),
        title=title,
        back=reverse("settings_email"),
        operation=title,
        facts=[(_("New e-mail"), email, True)] if email else [],
    )

    def done(_value: None) -> HttpResponse:
        request.session.pop(NEW_EMAIL, None)
        if not email:
            messages.success(request, _("Your e-mail address was removed. Notices now come by SMS only."))
        elif background.tasks.submit(_send, user.pk, email):
            messages.success(
                request,
                _(
                    "A link was sent to the new address. Open it within 24 hours, in a browser where you are "
                    "logged in."
                ),
            )
        else:
            messages.error(request, _("The e-mail could not be sent. Nothing was changed. Try again later."))
        return redirect("settings")

    return two_code_page(request, page, effect=lambda: _apply(request, user, email), done=done)


def _require_email_enabled() -> None:
    if not settings.EMAIL:
        raise Http404


def _apply(request: HttpRequest, user: User, email: str) -> None:
    if email:
        audit.record(Event.EMAIL_ASKED, request, customer=user)
    else:
        _store(request, user, email)


def _store(request: HttpRequest, user: User, email: str) -> None:
    """Store the address under `verification.lock`. The notice also goes to the replaced address."""
    old = User.objects.get(pk=user.pk).email
    User.objects.filter(pk=user.pk).update(email=email)
    fresh = User.objects.select_related("sms").get(pk=user.pk)
    audit.record(Event.EMAIL_CHANGED, request, customer=fresh, also=[("email", old)] if old else [])


def _send(pk: int, email: str) -> None:
    # The configured address: a Host header must not decide where the link leads.
    link = settings.BASE_URL + reverse("email_confirm", args=[_token(pk, email)])
    text = render_to_string("accounts/mail_confirm.txt", {"link": link})
    EmailMessage(_("Hitobit: confirm your e-mail address"), text, to=[email]).send()


def _token(pk: int, email: str) -> str:
    # SECURITY: the epoch makes the link void when all sessions of the user end, as a thief may have requested it.
    epoch = User.objects.get(pk=pk).session_epoch
    return signing.dumps({"user": pk, "email": email, "after": _last_change(pk), "epoch": epoch}, salt=SALT)


def _last_change(pk: int) -> int:
    """Return the id of the event that last changed the user's e-mail; older links are void."""
    changes = AuditEvent.objects.filter(customer=pk, event=Event.EMAIL_CHANGED.value).order_by("-pk")
    return changes.values_list("pk", flat=True).first() or 0


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def email_confirm(request: HttpRequest, token: str) -> HttpResponse:
    """The page of the link; its button stores the address. A GET changes nothing, because mail scanners open links."""
    user = customer(request)
    email = _email_from_token(token, user)
    if email is None:
        return render(request, "accounts/email_confirm.html", {"is_over": True}, status=410)
    if request.method == "POST" and email != user.email:
        with transaction.atomic(durable=True):
            verification.lock(user)
            # Checked again under the lock: of many clicks one stores it, and of an ended session none.
            fresh = User.objects.get(pk=user.pk)
            goes_on = logins.current_nonce(request, fresh, Purpose.CHANGE_EMAIL)
            if goes_on and _email_from_token(token, user) == email != fresh.email:
                _store(request, user, email)
        messages.success(request, _("Your e-mail address is confirmed. Security notices will be sent to it."))
        return redirect("settings")
    if email == user.email:
        messages.info(request, _("This e-mail address is already confirmed."))
        return redirect("settings")
    return render(request, "accounts/email_confirm.html", {"email": email})


def _email_from_token(token: str, user: User) -> str | None:
    """Return the address of a link that ``user`` may confirm or has just confirmed; None if the link is void or
    invalid.
    """
    try:
        payload = signing.loads(token, salt=SALT, max_age=LIFETIME)
    except signing.BadSignature:
        return None
    email: str = payload["email"]
    if payload["user"] != user.pk:
        return None
    fresh = User.objects.get(pk=user.pk)
    # Links of the previous version contain no epoch and stay valid for their 24 hours.
    is_current = (
        payload["after"] == _last_change(user.pk)
        and payload.get("epoch", fresh.session_epoch) == fresh.session_epoch
    )
    return email if is_current or email == fresh.email else None
