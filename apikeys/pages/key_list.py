"""The dashboard, and the list of keys with its search and the form for a new key."""

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import form_drafts
from accounts.access.decorators import customer
from accounts.audit import activity
from accounts.factors import sms_codes, verification
from apikeys.actions import address_approval, key_requests
from apikeys.models import ApiKey
from apikeys.pages import attention, presenters
from apikeys.pages.credential_forms import from_draft
from apikeys.pages.forms import NameForm
from apikeys.pages.session_state import NEW_KEY, begin_creation, create_approval
from apikeys.policy import names
from apikeys.policy.choices import LIVE_KEYS, KeyState
from apikeys.usage import clock_skew, queries

DASHBOARD_KEYS = 5
DASHBOARD_EVENTS = 5


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return redirect("dashboard")


@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    """The customer's first page: what ends soon, figures, the keys that need a look, protection, latest events."""
    keys = list(address_approval.marked(ApiKey.objects.listed(customer(request))))
    healths = presenters.healths(keys)
    rows = attention.by_gravity(attention.rows(healths))
    measured = [key for key in keys if key.skew_ms is not None and key.state == KeyState.ACTIVE]
    furthest = max(measured, key=lambda key: abs(key.skew_ms or 0), default=None)
    # The newest login is this one; the one before it is shown for the customer to recognise.
    events, last_login = activity.newest(customer(request), DASHBOARD_EVENTS)
    context = {
        "live_count": len(keys),
        "working": sum(row.works for row in rows),
        "rows": rows[:DASHBOARD_KEYS],
        "ending": [row for row in rows if row.is_short_lived],
        "use": queries.recent([health.counts for health in healths]),
        "clock_key": furthest,
        "clock_is_exact": furthest is not None and clock_skew.is_exact(furthest.skew_ms or 0),
        "clock": clock_skew.clock_state(furthest.skew_ms if furthest else None).value,
        "waiting": address_approval.open_requests_of(keys),
        "requests": key_requests.waiting_for(customer(request)),
        "last_login": last_login,
        "recovery_left": verification.recovery_codes_left(customer(request)),
        "totp_clock": customer(request).totp.drift,
        "events": events,
    }
    return render(request, "dashboard.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def keys(request: HttpRequest) -> HttpResponse:
    """Show the list; a valid POST sends the SMS and redirects to the codes."""
    draft = form_drafts.pop(request)
    # Who comes back from the codes finds the name that was typed, and the template.
    unfinished = request.session.get(NEW_KEY, {})
    typed = {
        name: draft.get(name, [unfinished.get(name, "")])[0] for name in ("name", "template")
    } | from_draft(draft)
    form = NameForm(owner=customer(request), initial=typed)
    listed = list(ApiKey.objects.listed(customer(request)))
    can_create = len(listed) < LIVE_KEYS and customer(request).frozen_at is None
    if request.method == "POST" and can_create:
        form = NameForm(request.POST, owner=customer(request))
        if form.is_valid():
            name = form.cleaned_data["name"]
            begin_creation(request, name, uuid.uuid4(), form.public, form.cleaned_data["template"])
            sent = sms_codes.send_code(request, customer(request), create_approval(name, form.public))
            request.session["sms_failed"] = not sent.is_under_way
            return redirect("key_verify_new")
    rows = attention.rows(presenters.healths(listed))
    search = _search(request)
    shown = attention.matching(attention.filtered(rows, search["state"]), search["q"])
    context = {
        "form": form,
        "keys": listed,
        "rows": attention.ordered(shown, search["sort"]),
        "search": search,
        "filters": [(name, len(attention.filtered(rows, name))) for name in attention.FILTERS],
        "live_count": len(listed),
        "limit": LIVE_KEYS,
        "can_create": can_create,
        "deleted": presenters.deleted_keys(customer(request)),
    }
    return render(request, "apikeys/keys.html", context)


def _search(request: HttpRequest) -> dict[str, str]:
    """Return what the list is searched for (``q``), which keys it has (``state``) and their order (``sort``)."""
    state, sort = request.GET.get("state", ""), request.GET.get("sort", "")
    return {
        "q": request.GET.get("q", "")[: names.MAX_LENGTH * 2],
        "state": state if state in attention.FILTERS else attention.FILTERS[0],
        "sort": sort if sort in attention.SORTS else attention.SORTS[0],
    }
