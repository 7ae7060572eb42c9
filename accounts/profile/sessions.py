"""The sessions page: open sessions, trusted devices, and the last logins."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import audit, sms
from accounts.access import sessions, user_agents
from accounts.access.decorators import customer
from accounts.audit import activity
from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.factors import result_messages, sms_codes, verification
from accounts.factors.forms import CodeForm
from accounts.factors.verification import Factor
from accounts.factors.views import with_sms_state
from accounts.models import AuditEvent, LoginSession, TrustedDevice, User

HISTORY = 50
LOGINS = (
    Event.LOGIN,
    Event.LOGIN_NEW_DEVICE,
    Event.LOGIN_PASSWORD_REFUSED,
    Event.LOGIN_LIMITED,
    Event.CODE_REFUSED,
    Event.CODE_LOCKED,
)
OTHERS = "others"  # used in place of a session id
MAX_ID_DIGITS = 18  # maximum digits of a row id that a database accepts


@dataclass(frozen=True)
class SessionRow:
    """A row of the page: an open session or a trusted device."""

    number: str
    name: str
    icon: str
    address: str
    since: datetime
    seen_at: datetime
    until: datetime | None = None
    is_this: bool = False


@require_http_methods(["GET", "HEAD", "POST"])
def overview(request: HttpRequest) -> HttpResponse:
    """Show the lists. A POST ends a trust (``forget``), or redirects to the page that ends one session (``end``) or
    all others (``others``).
    """
    user = customer(request)
    if request.method == "POST":
        return _handle_post(request, user)
    current = sessions.current(request, user)
    context = {
        "sessions": [_of_session(row, current) for row in sessions.open_sessions(user)],
        "devices": [_of_device(row) for row in _trusted(user)],
        "history": _history(user),
    }
    return render(request, "accounts/sessions.html", context)


def _handle_post(request: HttpRequest, user: User) -> HttpResponse:
    if "end" in request.POST:
        return _redirect_to_end(_session_of(user, request.POST["end"]).pk)
    if "others" in request.POST:
        return _redirect_to_end(OTHERS)
    if "forget" in request.POST:
        _forget(request, user, request.POST["forget"])
    return redirect("sessions")


def _redirect_to_end(which: uuid.UUID | str, method: Factor = Factor.TOTP) -> HttpResponse:
    return redirect(f"{reverse('sessions_end')}?{urlencode({'which': str(which), 'method': method.value})}")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def end(request: HttpRequest) -> HttpResponse:
    """End the session ``which``, or all others, with one code of either factor.

    SECURITY: somebody else at an open browser must not be able to log the owner out elsewhere, and keep the account,
    without a code.
    """
    user, which = customer(request), request.GET.get("which", "")
    session = None if which == OTHERS else _session_of(user, which)
    method = Factor.SMS if request.GET.get("method") == Factor.SMS.value else Factor.TOTP
    approval = approvals.end_sessions(which)
    form = CodeForm()
    if request.method == "POST":
        if {"switch", "resend", "speak"} & set(request.POST):
            return _switch(request, user, which)
        form = CodeForm(request.POST)
        if form.is_valid():
            codes = {method: form.cleaned_data["code"]}
            work = partial(_end, request, user, session) if session else partial(_end_others, request, user)
            result = verification.verify(request, user, approval, codes, effect=work)
            if result.accepted:
                messages.success(request, result.value)
                return redirect("sessions")
            form.add_error("code", result_messages.for_one_code(result))
    context = {
        "form": form,
        "method": method.value,
        "place": _of_session(session, None) if session else None,
        "masked_phone": user.phone,
        "totp_wait": verification.seconds_until_next_totp(user) if method is Factor.TOTP else 0,
        "can_speak": sms.can_speak(),
        "resend_in": sms_codes.seconds_until_resend(user, approval) if method is Factor.SMS else None,
        "sms_state": sms_codes.delivery_state(request, user, approval) if method is Factor.SMS else "",
    }
    return with_sms_state(render(request, "accounts/sessions_end.html", context), context)


def _switch(request: HttpRequest, user: User, which: str) -> HttpResponse:
    """Switch to the other factor, sending an SMS if it is that one, and redirect to the page."""
    if request.POST.get("switch") == Factor.TOTP.value:
        return _redirect_to_end(which)
    sent = sms_codes.send_code(request, user, approvals.end_sessions(which), spoken="speak" in request.POST)
    if problem := result_messages.for_sending(sent):
        messages.error(request, problem)
    return _redirect_to_end(which, Factor.SMS)


def _session_of(user: User, number: str) -> LoginSession:
    try:
        pk = uuid.UUID(number)
    except ValueError:
        raise Http404 from None
    # SECURITY: sessions of other users do not exist here, so that ids cannot be probed.
    return get_object_or_404(LoginSession, user=user, pk=pk)


def _end(request: HttpRequest, user: User, session: LoginSession) -> str:
    if sessions.end(user, session.pk):
        name = user_agents.describe(session.agent)
        audit.record(Event.SESSION_ENDED, request, customer=user, target=str(session.pk), label=name)
    return _("The session was ended. That browser has to log in again.")


def _end_others(request: HttpRequest, user: User) -> str:
    sessions.end_all(user, keep=request)
    audit.record(Event.SESSIONS_ENDED, request, customer=user)
    return _("All other sessions were ended, and no device is trusted any more.")


def _forget(request: HttpRequest, user: User, number: str) -> None:
    if not (number.isascii() and number.isdigit() and len(number) <= MAX_ID_DIGITS):
        raise Http404
    device = TrustedDevice.objects.filter(user=user, pk=int(number)).first()
    with transaction.atomic():
        if device is None or not TrustedDevice.objects.filter(user=user, pk=device.pk).delete()[0]:
            raise Http404
        name = user_agents.describe(device.agent)
        audit.record(Event.DEVICE_FORGOTTEN, request, customer=user, target=number, label=name)
    messages.success(request, _("The device is no longer trusted. Its next login asks for a code."))


def _trusted(user: User) -> list[TrustedDevice]:
    return list(TrustedDevice.objects.filter(user=user, expires_at__gt=timezone.now()))


def _history(user: User) -> list[activity.Row]:
    kinds = [event.value for event in LOGINS]
    events = AuditEvent.objects.filter(customer=user, event__in=kinds).order_by("-pk")
    return [activity.row(event) for event in events[:HISTORY]]


def _of_session(row: LoginSession, current: LoginSession | None) -> SessionRow:
    is_this = current is not None and row.pk == current.pk
    name = user_agents.describe(row.agent)
    return SessionRow(
        str(row.pk), name, _icon(name), row.address, row.started_at, row.seen_at, is_this=is_this
    )


def _of_device(row: TrustedDevice) -> SessionRow:
    name = user_agents.describe(row.agent)
    return SessionRow(
        str(row.pk), name, _icon(name), row.address, row.created_at, row.used_at, until=row.expires_at
    )


def _icon(name: str) -> str:
    return "phone" if name.endswith(("Android", "iPhone")) else "desktop"
