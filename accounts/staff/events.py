"""The audit trail in Django admin: filter, read, export. It is never changed."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    QueryDict,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from accounts import audit
from accounts.access.decorators import customer
from accounts.choices.events import Event
from accounts.choices.roles import Right
from accounts.models import AuditEvent, User
from accounts.staff import access, access_log, export, opaque_ids, presenters
from accounts.staff.base_admin import ReadOnlyAdmin
from accounts.staff.forms import EventFilter, end_of, start_of
from hitobit_portal.http import error_pages
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

PAGE = 50
#: By how much the order of ids may differ from that of times: an id is assigned when the event is recorded, within a
#: transaction that may last, and clocks of machines differ by a minute at most.
DISORDER = timedelta(hours=1)
PEOPLE = {"who": "actor", "whom": "customer"}
#: Filters that name a customer or an object; one of them is enough for staff who may not list customers.
NAMING = ("whom", "target")


class EventAdmin(ReadOnlyAdmin):
    """The list with its filters, one event, and the export of the filtered list."""

    right = Right.VIEW_EVENT
    id_form = opaque_ids.EVENT

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("export/", wrap(self.export_view), name="accounts_auditevent_export"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """List events. Filters are in the URL; a POST of the form redirects there with opaque ids in place of phone
        numbers and ids.

        SECURITY: a phone number in a URL would be in the log of every proxy and in the browser's history.
        """
        access.require_right(request, self.right)
        typed = request.method == "POST"
        form = self._form(request, request.POST if typed else request.GET, typed=typed)
        chosen, values = self._chosen(request, form)
        addressed = _addressed(values)
        if typed and form.is_valid():
            return redirect(f"{reverse('admin:accounts_auditevent_changelist')}?{urlencode(addressed)}")
        if before := request.GET.get("before", ""):
            newest = opaque_ids.EventId.reveal(before)
            if newest is None:
                raise Http404
            chosen = chosen.filter(pk__lt=newest)
        events = list(chosen.select_related("actor", "customer").order_by("-pk")[: PAGE + 1])
        shown = events[:PAGE]
        self._note(request, values)
        before = opaque_ids.EventId.hide(shown[-1].pk) if len(events) > PAGE else ""
        older = urlencode({**addressed, "before": before}) if before else ""
        context = {
            **self.admin_site.each_context(request),
            "section": "events",
            "form": form,
            "events": presenters.event_rows(shown),
            "older": older,
            "values": addressed,
            "lists": access.can_list_customers(request),
            "may_export": access.has_right(request, Right.EXPORT_EVENTS) and self._is_shown(request, values),
        }
        return TemplateResponse(request, "admin/events.html", context)

    def row_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Show one event with all its fields."""
        access.require_right(request, self.right)
        event = get_object_or_404(self._visible(request).select_related("actor", "customer"), pk=object_id)
        access_log.record_view(request, "event", of=event.customer, target=str(event.pk))
        context = {
            **self.admin_site.each_context(request),
            "section": "events",
            "row": presenters.event_rows([event])[0],
            "detail": sorted(event.detail.items()),
        }
        return TemplateResponse(request, "admin/event.html", context)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Export the filtered events on POST. The event with the filters is recorded before the first line is sent."""
        access.require_right(request, self.right)
        access.require_right(request, Right.EXPORT_EVENTS)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        kind = request.POST.get("format", "")
        form = self._form(request, request.POST, typed=True)
        chosen, values = self._chosen(request, form)
        if form.is_valid() and not self._is_shown(request, values):
            return error_pages.forbidden(request)
        if kind not in export.FORMATS or not form.is_valid():
            return error_pages.bad_request(request)
        wait = ratelimits.acquire(Rate.EXPORT_ACCOUNT, f"staff:{customer(request).pk}")
        if wait is not None:
            return error_pages.too_many(request, wait)
        audit.record(
            Event.STAFF_EXPORTED, request, customer=None, actor=customer(request), format=kind, filters=values
        )
        write, content_type = export.FORMATS[kind]
        response = StreamingHttpResponse(write(export.rows(chosen)), content_type=content_type)
        name = f"security-events-{timezone.localtime():%Y%m%d-%H%M}.{kind}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def _form(self, request: HttpRequest, sent: QueryDict, *, typed: bool) -> EventFilter:
        return EventFilter(sent, typed=typed, lists=access.can_list_customers(request))

    def _is_shown(self, request: HttpRequest, values: dict[str, str]) -> bool:
        """Return whether the filters may be shown. SECURITY: staff who may not list customers have to name a customer
        or an object.
        """
        return access.can_list_customers(request) or any(name in values for name in NAMING)

    def _visible(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        events = AuditEvent.objects.all()
        if access.has_right(request, Right.SEE_STAFF):
            return events
        # SECURITY: hide logins and addresses of colleagues; their actions on customers stay visible.
        return events.exclude(customer__is_staff=True)

    def _chosen(self, request: HttpRequest, form: EventFilter) -> tuple[QuerySet[AuditEvent], dict[str, str]]:
        """Return the events of a valid form (none for an invalid one), and its filters with account ids."""
        events = self._visible(request)
        if not form.is_valid():
            return events.none(), {}
        values = {name: value for name, value in form.cleaned_data.items() if value}
        kept = {name: str(value) for name, value in values.items()}
        for name, column in PEOPLE.items():
            if name in values:
                kept[name] = str(_person(values[name]))
                events = events.filter(**{column: int(kept[name])})
        if "first" in values:
            events = events.filter(at__gte=start_of(values["first"]))
        if "last" in values:
            events = events.filter(at__lt=end_of(values["last"]), **_up_to(end_of(values["last"])))
        plain = {name: values[name] for name in ("event", "address", "target") if name in values}
        events = events.filter(**plain) if self._is_shown(request, kept) else events.none()
        return events, kept

    def _note(self, request: HttpRequest, values: dict[str, str]) -> None:
        if not values:
            return access_log.record_view(request, "events")
        whom = User.objects.filter(pk=int(values["whom"])).first() if "whom" in values else None
        if whom is not None:
            return access_log.record_view(request, "events", of=whom)
        return access_log.record_search(request, "events", "", None, filters=values)


def _up_to(end: datetime) -> dict[str, int]:
    """Return a condition on ids that every event before ``end`` meets, if there are events long enough after it.

    Without it, the list reads all events since ``end`` to find the ones before it: no index has both id and time.
    """
    later = AuditEvent.objects.filter(
        at__gte=min(end, datetime.max.replace(tzinfo=UTC) - DISORDER) + DISORDER
    )
    beyond = later.order_by("at").values_list("pk", flat=True).first()
    return {} if beyond is None else {"pk__lt": beyond}


def _addressed(values: dict[str, str]) -> dict[str, str]:
    """Return the filters for a URL: sequential ids become opaque ids."""
    shown = dict(values)
    for name in PEOPLE:
        if name in shown:
            shown[name] = opaque_ids.AccountId.hide(int(shown[name]))
    if shown.get("target", "").isdecimal():
        shown["target"] = opaque_ids.TargetId.hide(int(shown["target"]))
    return shown


def _person(value: str) -> int:
    """Return the id of the account; 0, which no account has, for a number without an account."""
    if not value.startswith("+"):
        return int(value)
    return User.objects.filter(phone=value).values_list("pk", flat=True).first() or 0
