"""The dashboard, and the list of keys with the form for a new key."""

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import form_drafts
from accounts.access.decorators import customer
from accounts.audit import activity
from accounts.choices.events import Event
from accounts.factors import sms_codes, verification
from accounts.models import AuditEvent
from apikeys.models import ApiKey
from apikeys.pages import presenters
from apikeys.pages.credential_forms import from_draft
from apikeys.pages.forms import NameForm
from apikeys.pages.session_state import begin_creation, create_approval
from apikeys.policy.choices import LIVE_KEYS, KeyState

DASHBOARD_KEYS = 5
DASHBOARD_EVENTS = 5


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return redirect("dashboard")


@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    """The customer's first page: keys, protection, latest events."""
    keys = list(ApiKey.objects.live(customer(request)).prefetch_related("networks", "credentials"))
    # The newest login is this one; the one before it is shown for the customer to recognise.
    logins = AuditEvent.objects.filter(customer=customer(request), event=Event.LOGIN.value).order_by("-pk")[
        1:2
    ]
    context = {
        "live_count": len(keys),
        "limit": LIVE_KEYS,
        "keys": keys,
        "healths": presenters.worst_healths(keys, DASHBOARD_KEYS),
        "waiting": presenters.waiting_addresses(customer(request)),
        "last_login": next((activity.row(event) for event in logins), None),
        "recovery_left": verification.recovery_codes_left(customer(request)),
        "totp_clock": customer(request).totp.drift,
        "events": activity.latest(customer(request), DASHBOARD_EVENTS),
    }
    return render(request, "dashboard.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def keys(request: HttpRequest) -> HttpResponse:
    """Show the list; a valid POST sends the SMS and redirects to the codes."""
    draft = form_drafts.pop(request)
    typed = {"name": draft.get("name", [""])[0], **from_draft(draft)}
    form = NameForm(owner=customer(request), initial=typed)
    listed = list(
        ApiKey.objects.filter(owner=customer(request))
        .exclude(state=KeyState.REVOKED)
        .select_related("owner")
        .prefetch_related("networks")
    )
    can_create = len(listed) < LIVE_KEYS and customer(request).frozen_at is None
    if request.method == "POST" and can_create:
        form = NameForm(request.POST, owner=customer(request))
        if form.is_valid():
            name = form.cleaned_data["name"]
            begin_creation(request, name, uuid.uuid4(), form.public)
            sent = sms_codes.send_code(request, customer(request), create_approval(name, form.public))
            request.session["sms_failed"] = not sent.is_under_way
            return redirect("key_verify_new")
    context = {
        "form": form,
        "keys": listed,
        "live_count": len(listed),
        "limit": LIVE_KEYS,
        "can_create": can_create,
        "deleted": presenters.deleted_keys(customer(request)),
    }
    return render(request, "apikeys/keys.html", context)
