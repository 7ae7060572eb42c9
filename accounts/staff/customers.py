"""Customers in Django admin: search, one page for each customer, and actions with a reason."""

import time
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import audit
from accounts.access import sessions
from accounts.access.decorators import customer
from accounts.actions import erasure, scheduled_changes
from accounts.choices.events import Event
from accounts.choices.roles import Right
from accounts.factors import lockout
from accounts.factors.lockout import FailureCounter
from accounts.models import FactorGuard, Notice, TrustedDevice, User
from accounts.notifications import outbox
from accounts.staff import access, access_log, opaque_ids, paging, presenters, search, sections
from accounts.staff.actions import BY_NAME, STAFF_ACTIONS, StaffAction
from accounts.staff.base_admin import ReadOnlyAdmin
from accounts.staff.forms import ReasonForm, SearchForm

STATES = [
    ("", gettext_lazy("All")),
    ("frozen", gettext_lazy("Frozen")),
    ("quarantine", gettext_lazy("In quarantine")),
    ("closed", gettext_lazy("Closed")),
    ("resetting", gettext_lazy("Reset or number change pending")),
]


class CustomerAdmin(ReadOnlyAdmin):
    """The list (`changelist_view`), the page of one customer (`row_view`), and the actions."""

    right = Right.VIEW_CUSTOMER
    id_form = opaque_ids.ACCOUNT

    def get_urls(self) -> list[URLPattern]:
        wrap, one = self.admin_site.admin_view, f"<{opaque_ids.ACCOUNT}:customer_id>"
        return [
            path(f"{one}/act/<slug:act_name>/", wrap(self.act_view), name="accounts_user_act"),
            path(
                f"{one}/notice/<{opaque_ids.NOTICE}:notice_id>/",
                wrap(self.resend_view),
                name="accounts_user_resend",
            ),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """List or search customers. A search is a POST of ``q``.

        SECURITY: a phone number in a URL would be in the log of every proxy.
        """
        access.require_right(request, self.right)
        form = SearchForm(request.POST if request.method == "POST" else {})
        text = form.cleaned_data["q"] if form.is_valid() else ""
        state = request.GET.get("state", "")
        state = state if state in search.STATES else ""
        lists = access.can_list_customers(request)
        customers = search.by_text(request, text) if text else access.visible_accounts(request)
        if not text and not lists:
            customers = customers.none()
        people = paging.page_of(
            search.in_state(customers, state),
            request.GET,
            hide=opaque_ids.AccountId.hide,
            reveal=opaque_ids.AccountId.reveal,
        )
        if text:
            access_log.record_search(request, "customers", text, people.count, state=state)
            if len(people.rows) == 1 and request.method == "POST":
                return redirect("admin:accounts_user_change", people.rows[0].pk)
        elif lists:
            access_log.record_view(request, "customers")
        context = {
            **self.admin_site.each_context(request),
            "section": "customers",
            "people": people.rows,
            "page": people,
            "q": text,
            "bad_search": not form.is_valid(),
            "state": state,
            "states": STATES if lists else [],
            "lists": lists,
        }
        return TemplateResponse(request, "admin/customers.html", context)

    def row_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        user = self._find(request, object_id)
        access_log.record_view(request, "customer", of=user)
        guard = FactorGuard.objects.filter(user=user).first() or FactorGuard(user=user)
        context = {
            **self.admin_site.each_context(request),
            "section": "customers",
            "customer": user,
            "acts": [act for act in STAFF_ACTIONS if self._is_offered(request, act, user)],
            "factors": presenters.factors_of(request, user),
            "codes_wait": max(
                lockout.lockout_seconds(guard, time.time(), counter)
                for counter in (FailureCounter.AFTER_PASSWORD, FailureCounter.KNOWN_BROWSER)
            ),
            "waiting": list(scheduled_changes.waiting(user)),
            "erasure": erasure.waiting(user),
            "sessions": sessions.open_sessions(user),
            "trusted": list(TrustedDevice.objects.filter(user=user)),
            "events": presenters.events_of(request, user),
            "notices": presenters.notice_rows(request, user),
            **sections.customer_context(request, user),
        }
        return TemplateResponse(request, "admin/customer.html", context)

    def act_view(self, request: HttpRequest, customer_id: int, act_name: str) -> HttpResponse:
        """Confirm an action on GET; perform it on POST with a ``reason``."""
        act = BY_NAME.get(act_name)
        if act is None:
            raise Http404
        access.require_right(request, act.right)
        user = self._find(request, customer_id)
        if not access.can_act_on(request, user) or act.is_barred(request, user):
            return self.forbidden(request)
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            if act.work(request, user, form.cleaned_data["reason"]):
                messages.success(request, str(act.done))
            else:
                messages.info(request, _("Nothing to do: this was already the case."))
            return redirect("admin:accounts_user_change", user.pk)
        access_log.record_view(request, "customer", of=user)
        context = {
            **self.admin_site.each_context(request),
            "section": "customers",
            "customer": user,
            "act": act,
            "form": form,
            "open_sessions": len(sessions.open_sessions(user)),
            **sections.action_context(request, user),
            "back": reverse("admin:accounts_user_change", args=[user.pk]),
        }
        return TemplateResponse(request, "admin/act.html", context)

    def resend_view(self, request: HttpRequest, customer_id: int, notice_id: int) -> HttpResponse:
        """The same for resending one notice."""
        access.require_right(request, Right.RESEND_NOTICE)
        user = self._find(request, customer_id)
        notice = get_object_or_404(Notice.objects.select_related("event"), pk=notice_id, user=user)
        row = presenters.notice_row(request, user, notice)
        if not row.may_resend:
            return self.forbidden(request)
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            self._resend(request, user, row, form.cleaned_data["reason"])
            return redirect("admin:accounts_user_change", user.pk)
        context = {
            **self.admin_site.each_context(request),
            "section": "customers",
            "customer": user,
            "row": row,
            "form": form,
            "back": reverse("admin:accounts_user_change", args=[user.pk]),
        }
        return TemplateResponse(request, "admin/resend.html", context)

    def _resend(self, request: HttpRequest, user: User, row: presenters.NoticeRow, reason: str) -> None:
        with transaction.atomic():
            again = outbox.send_again(row.notice)
            if again:
                audit.record(
                    Event.NOTICE_RESENT,
                    request,
                    customer=user,
                    actor=customer(request),
                    target=str(row.notice.pk),
                    reason=reason,
                    channel=row.notice.channel,
                    of=row.notice.event.event,
                )
        if again:
            messages.success(request, _("The notice is in the outbox and will be sent at once."))
        else:
            messages.info(request, _("Nothing to do: this was already the case."))

    def _find(self, request: HttpRequest, pk: int) -> User:
        access.require_right(request, self.right)
        people = access.visible_accounts(request).select_related("totp", "sms", "recovery")
        return get_object_or_404(people, pk=pk)

    def _is_offered(self, request: HttpRequest, act: StaffAction, user: User) -> bool:
        allowed = access.has_right(request, act.right) and access.can_act_on(request, user)
        return allowed and act.applies(user) and not act.is_barred(request, user)
