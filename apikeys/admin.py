"""API keys in Django admin. Staff pause and delete keys with a reason; they cannot add power or see secrets."""

import uuid
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts import audit
from accounts.access.decorators import customer
from accounts.choices.roles import Right
from accounts.staff import access, access_log, paging, presenters
from accounts.staff.base_admin import ReadOnlyAdmin
from accounts.staff.forms import ReasonForm
from apikeys.models import ApiKey
from apikeys.policy.rights import KeyRight
from apikeys.staff.actions import ACTS, Act
from apikeys.staff.filters import KeyFilter
from apikeys.staff.key_status import reasons
from apikeys.usage import presenters as use
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import digits


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """The list with its filters, the page of a key, and two actions on one or more keys."""

    right = KeyRight.VIEW
    id_form = "uuid"  # the keys' own ids are random

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """List keys (GET), or run an action (POST with ``action`` and ``_selected_action``) after asking for a reason.

        SECURITY: without the right to list customers, staff only find the key that a customer has named: with other
        filters, the list of keys would be a list of customers.
        """
        access.require_right(request, self.right)
        if request.method == "POST":
            return self._act(request)
        form = KeyFilter(request.GET)
        keys = self._visible(request)
        lists = access.can_list_customers(request)
        has_query = form.is_valid() and (lists or form.names_a_key())
        keys = form.chosen(keys) if has_query else keys.none()
        page = paging.page_of(keys, request.GET, order=("created_at", "pk"), reveal=_uuid)
        filters = {name: str(value) for name, value in getattr(form, "cleaned_data", {}).items() if value}
        if filters:
            text = filters.pop("q", "") or filters.pop("address", "")
            access_log.record_search(request, "keys", text, page.count, filters=filters)
        else:
            access_log.record_view(request, "keys")
        sent = request.GET.copy()
        for name in paging.PARAMETERS:
            sent.pop(name, None)
        context = {
            **self.admin_site.each_context(request),
            "section": "keys",
            "form": form,
            "keys": page.rows,
            "page": page,
            "query": sent.urlencode(),
            "is_filtered": any(sent.values()),
            "has_query": has_query,
            "lists": lists,
            "acts": [act for act in ACTS.values() if access.has_right(request, act.right)],
        }
        return TemplateResponse(request, "admin/keys.html", context)

    def row_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """Show a key: its permissions, why it is rejected, and its events."""
        access.require_right(request, self.right)
        key = get_object_or_404(self._visible(request).prefetch_related("networks"), pk=object_id)
        access_log.record_view(request, "key", of=key.owner, target=str(object_id), label=key.label)
        context = {
            **self.admin_site.each_context(request),
            "section": "keys",
            "key": key,
            "reasons": reasons(key),
            "credentials": list(key.credentials.order_by("pk")),
            "acts": [
                act
                for act in ACTS.values()
                if access.has_right(request, act.right)
                and access.can_act_on(request, key.owner)
                and key.state in act.from_states
            ],
            "events": presenters.key_events(request, key.owner, str(object_id)),
            "rejections": use.rejection_lines(key),
            "usage": use.month(key),
        }
        return TemplateResponse(request, "admin/key.html", context)

    def _act(self, request: HttpRequest) -> HttpResponse:
        act = ACTS.get(request.POST.get("action", ""))
        if act is None:
            messages.warning(request, _("Choose an action for the keys."))
            return redirect("admin:apikeys_apikey_changelist")
        access.require_right(request, act.right)
        chosen = [
            pk for text in request.POST.getlist("_selected_action")[: paging.SIZE] if (pk := _uuid(text))
        ]
        keys = list(self._visible(request).filter(pk__in=chosen).order_by("-created_at", "-pk"))
        hit = [key for key in keys if key.state in act.from_states and access.can_act_on(request, key.owner)]
        if not hit:
            messages.warning(request, _("None of the selected keys can be changed this way."))
            return redirect("admin:apikeys_apikey_changelist")
        form = ReasonForm(request.POST if "reason" in request.POST else None)
        if form.is_bound and form.is_valid():
            self._do(request, act, hit, form.cleaned_data["reason"])
            if len(hit) == 1:
                return redirect("admin:apikeys_apikey_change", hit[0].pk)
            return redirect("admin:apikeys_apikey_changelist")
        one = hit[0].pk if len(chosen) == 1 else None
        context = {
            **self.admin_site.each_context(request),
            "section": "keys",
            "act": act,
            "keys": hit,
            "owners": len({key.owner_id for key in hit}),
            "left_out": len(chosen) - len(hit),
            "form": form,
            "back": reverse("admin:apikeys_apikey_change", args=[one])
            if one
            else reverse("admin:apikeys_apikey_changelist"),
        }
        return TemplateResponse(request, "admin/key_act.html", context)

    def _do(self, request: HttpRequest, act: Act, keys: list[ApiKey], reason: str) -> None:
        changed = 0
        for key in keys:
            # One transaction per key, so that no row stays locked while waiting for another one.
            with transaction.atomic():
                # The conditional write decides which of two concurrent actions records the event.
                if key.set_state(act.state):
                    changed += 1
                    audit.record(
                        act.event,
                        request,
                        customer=key.owner,
                        actor=customer(request),
                        target=str(key.pk),
                        label=key.label,
                        reason=reason,
                    )
        text = ngettext("%(n)s key was changed.", "%(n)s keys were changed.", changed)
        (messages.success if changed else messages.info)(request, fill(text, n=digits(changed)))

    def _visible(self, request: HttpRequest) -> QuerySet[ApiKey]:
        keys = ApiKey.objects.select_related("owner")
        return keys if access.has_right(request, Right.SEE_STAFF) else keys.filter(owner__is_staff=False)


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
