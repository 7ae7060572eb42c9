"""SMS in Django admin: what providers answered to each message, newest first, with filters. No text, code or number.

Rows name no customer. The page of one lists the messages to numbers that are masked like theirs, which another
customer may share.
"""

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.choices.approvals import all_purposes, past_text
from accounts.choices.roles import Right
from accounts.models import SmsDelivery, User
from accounts.sms import delivery_log
from accounts.staff import access, access_log, opaque_ids, paging
from accounts.staff.base_admin import ReadOnlyAdmin

ALL: tuple[str, Promise] = ("", _("All"))
STATES = [ALL, ("failed", _("Failed"))]
WITHIN = [
    ("", _("at any time")),
    ("1h", _("in the last hour")),
    ("24h", _("in the last day")),
    ("72h", _("in the last 3 days")),
    ("168h", _("in the last week")),
]
#: Messages that carry no code; `accounts.choices.approvals` has the purposes of codes.
OTHER_PURPOSES: dict[str, Promise] = {"notice": _("security notice"), "test": _("test message")}
OWN_BACKENDS = "accounts.sms."


def purpose_text(value: str) -> str:
    """Return what a message was for; ``value`` itself for a purpose that no longer exists."""
    return str(OTHER_PURPOSES.get(value) or past_text(value) or value)


def backend_text(path: str) -> str:
    """Return ``accounts.sms.kavenegar`` as ``kavenegar``; the path of a back-end from elsewhere as it is."""
    return path.removeprefix(OWN_BACKENDS)


def _purposes() -> list[tuple[str, Any]]:
    codes = [(purpose.value, past_text(purpose.value)) for purpose in all_purposes()]
    return [ALL, *OTHER_PURPOSES.items(), *codes]


def _backends() -> list[tuple[str, Any]]:
    return [ALL, *((path, backend_text(path)) for path in settings.SMS_BACKENDS)]


class DeliveryFilter(forms.Form):
    """The filters, which are combined. A value that is none of the choices is ignored, as its list shows."""

    state = forms.ChoiceField(choices=STATES, required=False)
    within = forms.ChoiceField(choices=WITHIN, required=False)
    purpose = forms.ChoiceField(choices=_purposes, required=False)
    backend = forms.ChoiceField(choices=_backends, required=False)

    def condition(self) -> Q:
        self.is_valid()
        values = self.cleaned_data
        chosen = Q(**{name: values[name] for name in ("purpose", "backend") if values.get(name)})
        if values.get("state"):
            chosen &= Q(succeeded=False)
        if values.get("within"):
            chosen &= Q(at__gte=timezone.now() - timedelta(hours=int(values["within"].removesuffix("h"))))
        return chosen


class SmsDeliveryAdmin(ReadOnlyAdmin):
    """The list. A row has no page of its own."""

    right = Right.VIEW_SMS

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "",
                self.admin_site.admin_view(self.changelist_view),
                name="accounts_smsdelivery_changelist",
            )
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """List messages. ``whom``: opaque id of a customer.

        SECURITY: staff who may not list customers have to name one. Masked numbers with their times would tell who
        logs in when.
        """
        access.require_right(request, self.right)
        whom = _customer(request, request.GET)
        lists = access.can_list_customers(request)
        form = DeliveryFilter(request.GET)
        rows: QuerySet[SmsDelivery] = SmsDelivery.objects.filter(form.condition())
        if whom is not None:
            rows = rows.filter(number=delivery_log.masked_number(whom.phone))
        elif not lists or request.GET.get("whom"):
            rows = rows.none()
        page = paging.page_of(
            rows,
            request.GET,
            order=("at", "pk"),
            hide=opaque_ids.SmsDeliveryId.hide,
            reveal=opaque_ids.SmsDeliveryId.reveal,
        )
        access_log.record_view(request, "sms", of=whom)
        sent = request.GET.copy()
        for name in paging.PARAMETERS:
            sent.pop(name, None)
        context = {
            **self.admin_site.each_context(request),
            "section": "sms",
            "form": form,
            "rows": [(row, purpose_text(row.purpose), backend_text(row.backend)) for row in page.rows],
            "page": page,
            "query": sent.urlencode(),
            "is_filtered": any(sent.values()),
            "whom": whom,
            "lists": lists,
        }
        return TemplateResponse(request, "admin/sms_deliveries.html", context)


def _customer(request: HttpRequest, parameters: QueryDict) -> User | None:
    pk = opaque_ids.AccountId.reveal(parameters.get("whom", ""))
    return None if pk is None else access.visible_accounts(request).filter(pk=pk).first()
