"""The export page: a customer's own keys and events as files."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import audit
from accounts.access.decorators import customer
from apikeys.policy.events import KeyEvent
from apikeys.usage import export as files
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import duration
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

WHAT = {"keys": (files.KEY_COLUMNS, files.keys_of), "events": (files.EVENT_COLUMNS, files.events_of)}
FORMATS = {
    "csv": (files.as_csv, "text/csv; charset=utf-8"),
    "json": (files.as_json, "application/json"),
}


@require_http_methods(["GET", "HEAD", "POST"])
def export(request: HttpRequest) -> HttpResponseBase:
    """Show the page, or return the file for a POST with ``what`` (keys, events) and ``format`` (csv, json).

    POST, because an export records an event and a link must not do so.
    """
    what, kind = request.POST.get("what", ""), request.POST.get("format", "")
    if request.method != "POST" or what not in WHAT or kind not in FORMATS:
        return _page(request)
    wait = ratelimits.acquire(Rate.EXPORT_ACCOUNT, str(customer(request).pk))
    if wait is not None:
        messages.error(request, fill(_("Too many exports. Try again in %(wait)s."), wait=duration(wait)))
        return redirect("keys_export")
    return _file(request, what, kind)


def _page(request: HttpRequest) -> HttpResponse:
    return render(request, "apikeys/export.html", {"most": files.MAX_ROWS})


def _file(request: HttpRequest, what: str, kind: str) -> StreamingHttpResponse:
    user = customer(request)
    columns, rows = WHAT[what]
    write, content_type = FORMATS[kind]
    audit.record(KeyEvent.EXPORTED, request, customer=user, what=what, format=kind)
    name = f"hitobit-{what}-{timezone.localdate():%Y-%m-%d}.{kind}"
    return StreamingHttpResponse(
        files.stream(lambda: write(columns, rows(user))),
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
