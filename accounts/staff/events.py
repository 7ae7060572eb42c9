"""The audit trail in Django admin: filtered, read, exported; never changed."""

from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from accounts import audit
from accounts.events import Event
from accounts.models import AuditEvent, User
from accounts.roles import Right
from accounts.staff import access, export, looked, rows
from accounts.staff.forms import LONGEST_ID, EventFilter, end_of, start_of
from accounts.staff.read_only import ReadOnly
from accounts.stages import customer
from hitobit_portal import errors, ratelimits
from hitobit_portal.ratelimits import Rate

PAGE = 50
PEOPLE = {"who": "actor", "whom": "customer"}


class EventAdmin(ReadOnly):
    right = Right.VIEW_EVENT

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("export/", wrap(self.export_view), name="accounts_auditevent_export"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """GET with filters; a POST of the same goes there with account ids in place of phone numbers.

        SECURITY: a phone number in an address would stand in every proxy's log and in the browser's history.
        """
        access.need(request, self.right)
        sent = request.POST if request.method == "POST" else request.GET
        form = EventFilter(sent)
        chosen, values = self._chosen(request, form)
        if request.method == "POST" and form.is_valid():
            return redirect(f"{reverse('admin:accounts_auditevent_changelist')}?{urlencode(values)}")
        before = request.GET.get("before", "")
        if before.isascii() and before.isdigit() and len(before) <= LONGEST_ID:
            chosen = chosen.filter(pk__lt=int(before))
        events = list(chosen.select_related("actor", "customer").order_by("-pk")[: PAGE + 1])
        shown = events[:PAGE]
        self._note(request, values)
        older = urlencode({**values, "before": shown[-1].pk}) if len(events) > PAGE else ""
        context = {
            **self.admin_site.each_context(request),
            "section": "events",
            "form": form,
            "events": rows.event_rows(shown),
            "older": older,
            "values": values,
            "query": urlencode(values),
            "may_export": access.may(request, Right.EXPORT_EVENTS),
        }
        return TemplateResponse(request, "admin/events.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One event with all that it holds."""
        access.need(request, self.right)
        if not (object_id.isascii() and object_id.isdigit() and len(object_id) <= LONGEST_ID):
            raise Http404
        event = get_object_or_404(
            self._visible(request).select_related("actor", "customer"), pk=int(object_id)
        )
        looked.at(request, "event", of=event.customer, target=str(event.pk))
        context = {
            **self.admin_site.each_context(request),
            "section": "events",
            "row": rows.event_rows([event])[0],
            "detail": sorted(event.detail.items()),
        }
        return TemplateResponse(request, "admin/event.html", context)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """POST: the filtered set as a file. It leaves an event with the filters before the first line goes out."""
        access.need(request, Right.EXPORT_EVENTS)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        kind = request.POST.get("format", "")
        form = EventFilter(request.POST)
        chosen, values = self._chosen(request, form)
        if kind not in export.FORMATS or not form.is_valid():
            return errors.bad_request(request)
        wait = ratelimits.take(Rate.EXPORT_ACCOUNT, f"staff:{customer(request).pk}")
        if wait is not None:
            return errors.too_many(request, wait)
        audit.record(
            Event.STAFF_EXPORTED, request, customer=None, actor=customer(request), format=kind, filters=values
        )
        write, content_type = export.FORMATS[kind]
        response = StreamingHttpResponse(write(export.rows(chosen)), content_type=content_type)
        name = f"security-events-{timezone.localtime():%Y%m%d-%H%M}.{kind}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def _visible(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        events = AuditEvent.objects.all()
        if access.may(request, Right.SEE_STAFF):
            return events
        # SECURITY: colleagues' logins and addresses; what they did to customers stays in sight.
        return events.exclude(customer__is_staff=True)

    def _chosen(self, request: HttpRequest, form: EventFilter) -> tuple[QuerySet[AuditEvent], dict[str, str]]:
        """The events that a valid form chooses (none for another), and its filters with ids of accounts."""
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
            events = events.filter(at__lt=end_of(values["last"]))
        plain = {name: values[name] for name in ("event", "address", "target") if name in values}
        return events.filter(**plain), kept

    def _note(self, request: HttpRequest, values: dict[str, str]) -> None:
        if not values:
            return looked.at(request, "events")
        whom = User.objects.filter(pk=int(values["whom"])).first() if "whom" in values else None
        if whom is not None:
            return looked.at(request, "events", of=whom)
        return looked.searched(request, "events", "", None, filters=values)


def _person(value: str) -> int:
    """The account's id; 0, which nobody has, for a number without an account."""
    if not value.startswith("+"):
        return int(value)
    return User.objects.filter(phone=value).values_list("pk", flat=True).first() or 0
