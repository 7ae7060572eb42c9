"""The activity page (a customer's own audit events), and the SMS inbox of the demo."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access.decorators import customer, public
from accounts.audit import activity as rows
from accounts.sms import file as inbox


@require_safe
def activity(request: HttpRequest) -> HttpResponse:
    """Show the customer's own events, newest first, in pages."""
    before = request.GET.get("before", "")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    events = rows.of_customer(customer(request), number)
    older = f"?before={events[rows.PAGE - 1].pk}" if len(events) > rows.PAGE else ""
    shown = events[: rows.PAGE]
    return render(
        request, "accounts/activity.html", {"days": rows.by_day(shown), "older": older, "count": len(shown)}
    )


@public
@require_http_methods(["GET", "HEAD", "POST"])
def demo_sms(request: HttpRequest) -> HttpResponse:
    """Show the SMS inbox of the demo. It has no URL outside the demo, and also responds 404 there."""
    if not settings.DEMO:
        raise Http404
    if request.method == "POST":
        inbox.clear()
        return redirect("demo_sms")
    return render(request, "accounts/sms_inbox.html", {"messages": inbox.messages(), "sms": inbox.messages()})
