"""Webhooks in Django admin: what each endpoint was told; a test event, and sending again. Nothing is changed here.

SECURITY: no page changes an address, a filter or a secret: whoever has a session of staff must not have all customers'
events sent to a server of their own.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.decorators import customer
from accounts.choices.events import choices
from accounts.choices.roles import Right
from accounts.models import AuditEvent, WebhookDelivery, WebhookEndpoint
from accounts.staff import access, access_log, paging, presenters
from accounts.staff.base_admin import ReadOnlyAdmin
from accounts.webhooks import endpoints, outbox

STATES: dict[str, tuple[Promise, Q]] = {
    "": (gettext_lazy("All"), Q()),
    "waiting": (gettext_lazy("Waiting"), outbox.WAITING),
    "given-up": (gettext_lazy("Failed"), Q(gave_up_at__isnull=False)),
}


@dataclass(frozen=True)
class DeliveryRow:
    """A row of the page. ``event``: None if it was pruned."""

    delivery: WebhookDelivery
    event: AuditEvent | None
    title: Promise | str
    state: str
    tone: str
    at: datetime
    is_over: bool


class WebhookAdmin(ReadOnlyAdmin):
    """The list of endpoints, and the page of one with its deliveries."""

    right = Right.VIEW_WEBHOOK
    id_form = "uuid"  # random

    def get_urls(self) -> list[URLPattern]:
        send = self.admin_site.admin_view(self.send_view)
        return [
            path("<uuid:object_id>/send/", send, name="accounts_webhookendpoint_send"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        access.require_right(request, self.right)
        access_log.record_view(request, "webhooks")
        # An outer join: an endpoint without deliveries has one row of nothing.
        is_waiting = Q(deliveries__isnull=False, deliveries__delivered_at=None, deliveries__gave_up_at=None)
        waiting = Count("deliveries", filter=is_waiting)
        given_up = Count("deliveries", filter=Q(deliveries__gave_up_at__isnull=False))
        context = {
            **self.admin_site.each_context(request),
            "section": "webhooks",
            "endpoints": list(WebhookEndpoint.objects.annotate(waiting=waiting, given_up=given_up)),
        }
        return TemplateResponse(request, "admin/webhooks.html", context)

    def row_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        access.require_right(request, self.right)
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        access_log.record_view(request, "webhook", target=str(endpoint.pk), label=endpoint.name)
        state = request.GET.get("state", "")
        state = state if state in STATES else ""
        deliveries = WebhookDelivery.objects.filter(STATES[state][1], endpoint=endpoint)
        page = paging.page_of(deliveries, request.GET, order=("created_at", "pk"), reveal=_uuid)
        context = {
            **self.admin_site.each_context(request),
            "section": "webhooks",
            "endpoint": endpoint,
            "rows": _rows(page.rows),
            "page": page,
            "state": state,
            "states": [(value, title) for value, (title, _which) in STATES.items()],
            "may_send": access.has_right(request, Right.SEND_WEBHOOK),
        }
        return TemplateResponse(request, "admin/webhook.html", context)

    def send_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Send a test event, or with ``message`` one delivery again."""
        access.require_right(request, self.right)
        access.require_right(request, Right.SEND_WEBHOOK)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        by = {"actor": customer(request), "via": "staff"}
        if message := request.POST.get("message", ""):
            rows = WebhookDelivery.objects.filter(endpoint=endpoint).select_related("endpoint")
            delivery = get_object_or_404(rows, pk=message) if _uuid(message) else None
            if delivery is not None and endpoints.send_again(delivery, request, **by):
                messages.success(request, _("The event is in the outbox and will be sent at once."))
            else:
                messages.info(request, _("Nothing to do: this was already the case."))
        else:
            endpoints.send_test(endpoint, request, **by)
            messages.success(request, _("The test event is in the outbox and will be sent at once."))
        return redirect("admin:accounts_webhookendpoint_change", endpoint.pk)


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _rows(deliveries: list[WebhookDelivery]) -> list[DeliveryRow]:
    events = AuditEvent.objects.in_bulk([delivery.event_id for delivery in deliveries])
    titles = dict(choices())
    return [_row(delivery, events.get(delivery.event_id), titles) for delivery in deliveries]


def _row(delivery: WebhookDelivery, event: AuditEvent | None, titles: dict[str, Promise]) -> DeliveryRow:
    title = titles.get(event.event, event.event) if event is not None else _("Old security events pruned")
    state, tone, at = presenters.outbox_state(delivery, delivery.delivered_at, _("Delivered"))
    is_over = bool(delivery.delivered_at or delivery.gave_up_at)
    return DeliveryRow(delivery, event, title, state, tone, at, is_over)
