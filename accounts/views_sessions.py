"""Where somebody is logged in, which browsers they trust, and their last logins."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages as notices
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import activity, agents, audit, sessions
from accounts.events import Event
from accounts.models import AuditEvent, LoginSession, TrustedDevice, User
from accounts.stages import customer

HISTORY = 50
LOGINS = (
    Event.LOGIN,
    Event.LOGIN_NEW_DEVICE,
    Event.LOGIN_PASSWORD_REFUSED,
    Event.LOGIN_LIMITED,
    Event.CODE_REFUSED,
    Event.CODE_LOCKED,
)
LONGEST_NUMBER = 18  # digits of a row id that a database takes


@dataclass(frozen=True)
class Place:
    """An open session, or a trusted browser, as a row of the page."""

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
    """The lists; a POST ends one session (``end``), all others (``others``), or a trust (``forget``)."""
    user = customer(request)
    if request.method == "POST":
        return _posted(request, user)
    current = sessions.current(request, user)
    context = {
        "sessions": [_of_session(row, current) for row in sessions.open_sessions(user)],
        "devices": [_of_device(row) for row in _trusted(user)],
        "history": _history(user),
    }
    return render(request, "accounts/sessions.html", context)


def _posted(request: HttpRequest, user: User) -> HttpResponse:
    if "end" in request.POST:
        _end(request, user, request.POST["end"])
    elif "others" in request.POST:
        _end_others(request, user)
    elif "forget" in request.POST:
        _forget(request, user, request.POST["forget"])
    return redirect("sessions")


def _end(request: HttpRequest, user: User, number: str) -> None:
    try:
        pk = uuid.UUID(number)
    except ValueError:
        raise Http404 from None
    # SECURITY: somebody else's session is not there, so that no id can be probed for.
    session = LoginSession.objects.filter(user=user, pk=pk).first()
    with transaction.atomic():
        if session is None or not sessions.end(user, pk):
            raise Http404
        name = agents.describe(session.agent)
        audit.record(Event.SESSION_ENDED, request, customer=user, target=str(pk), label=name)
    notices.success(request, _("The session was ended. That browser has to log in again."))


def _end_others(request: HttpRequest, user: User) -> None:
    with transaction.atomic():
        sessions.end_all(user, keep=request)
        audit.record(Event.SESSIONS_ENDED, request, customer=user)
    notices.success(request, _("All other sessions were ended, and no device is trusted any longer."))


def _forget(request: HttpRequest, user: User, number: str) -> None:
    if not (number.isascii() and number.isdigit() and len(number) <= LONGEST_NUMBER):
        raise Http404
    device = TrustedDevice.objects.filter(user=user, pk=int(number)).first()
    with transaction.atomic():
        if device is None or not TrustedDevice.objects.filter(user=user, pk=device.pk).delete()[0]:
            raise Http404
        name = agents.describe(device.agent)
        audit.record(Event.DEVICE_FORGOTTEN, request, customer=user, target=number, label=name)
    notices.success(request, _("The device is no longer trusted: its next login asks for a code."))


def _trusted(user: User) -> list[TrustedDevice]:
    return list(TrustedDevice.objects.filter(user=user, expires_at__gt=timezone.now()))


def _history(user: User) -> list[activity.Row]:
    kinds = [event.value for event in LOGINS]
    events = AuditEvent.objects.filter(customer=user, event__in=kinds).order_by("-pk")
    return [activity.row(event) for event in events[:HISTORY]]


def _of_session(row: LoginSession, current: LoginSession | None) -> Place:
    is_this = current is not None and row.pk == current.pk
    name = agents.describe(row.agent)
    return Place(str(row.pk), name, _icon(name), row.address, row.started_at, row.seen_at, is_this=is_this)


def _of_device(row: TrustedDevice) -> Place:
    name = agents.describe(row.agent)
    return Place(
        str(row.pk), name, _icon(name), row.address, row.created_at, row.used_at, until=row.expires_at
    )


def _icon(name: str) -> str:
    return "phone" if name.endswith(("Android", "iPhone")) else "desktop"
