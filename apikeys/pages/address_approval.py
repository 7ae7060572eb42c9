"""Requests for new addresses: the owner approves one with both codes, dismisses it, or turns such requests off."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access.decorators import customer
from accounts.factors.views import ApprovalPage, two_code_page
from apikeys.actions import address_approval, consent
from apikeys.models import ApiKey, RescueRequest
from apikeys.pages.ownership import own_key
from apikeys.policy import account_freeze


@require_safe
def open_request(request: HttpRequest, request_pk: int) -> HttpResponse:
    """Redirect from the short address in the notice to the page that takes both codes."""
    row = RescueRequest.objects.filter(key__owner=customer(request), pk=request_pk).first()
    if row is None:
        raise Http404
    return redirect("key_rescue", row.key_id, row.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def approve(request: HttpRequest, pk: str, request_pk: int) -> HttpResponse:
    """Both codes add the address to the key's allow-list."""
    row = _own_request(request, pk, request_pk)
    key = row.key
    try:
        account_freeze.check_not_frozen(customer(request))  # before an SMS is sent
        return _approve(request, key, row)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("key_detail", key.pk)


def _approve(request: HttpRequest, key: ApiKey, row: RescueRequest) -> HttpResponse:
    if not address_approval.open_requests(customer(request)).filter(pk=row.pk).exists() and not row.approved:
        messages.info(
            request,
            _("This request is no longer pending: it was answered, or the key was changed meanwhile."),
        )
        return redirect("key_detail", key.pk)
    state = consent.state_of(key)
    approval_page = ApprovalPage(
        address_approval.approval(row, state),
        title=key.label,
        back=reverse("key_detail", args=[key.pk]),
        operation=_("Add a trusted IP"),
        facts=[(_("Key name"), key.label, False)],
        is_key=True,
        sends_first=True,  # who comes by the link in the notice has no code yet
    )

    def done(_value: Any) -> HttpResponse:
        messages.success(request, _("Saved. The key now works with these settings."))
        return redirect("key_detail", key.pk)

    return two_code_page(
        request,
        approval_page,
        effect=lambda: address_approval.approve(request, row, state),
        done=done,
        already_done=RescueRequest.objects.filter(pk=row.pk, approved=True).first,
    )


@require_http_methods(["GET", "HEAD", "POST"])
def dismiss(request: HttpRequest, pk: str, request_pk: int) -> HttpResponse:
    """Dismiss the request. The address cannot request again for a day."""
    row = _own_request(request, pk, request_pk)
    if request.method == "POST" and address_approval.dismiss(request, row):
        messages.success(request, _("The new IP was not added. Its requests are still refused."))
    return redirect("key_detail", row.key_id)


@require_http_methods(["GET", "HEAD", "POST"])
def toggle(request: HttpRequest, pk: str) -> HttpResponse:
    """Turn requests for new addresses on or off. No codes: requests from a new address are still rejected."""
    key = own_key(request, pk)
    wanted = request.POST.get("asks")
    asks = wanted == "on"
    if (
        request.method == "POST"
        and wanted in ("on", "off")
        and address_approval.set_requests_allowed(request, key, allowed=asks)
    ):
        text = (
            _("You will be asked about new IPs from now on.")
            if asks
            else _("You will no longer be asked about new IPs.")
        )
        messages.success(request, text)
    return redirect("key_settings", key.pk)


def _own_request(request: HttpRequest, pk: str, request_pk: int) -> RescueRequest:
    rows = RescueRequest.objects.filter(key__owner=customer(request), key__pk=pk, pk=request_pk)
    row = rows.select_related("key").first()
    if row is None:
        raise Http404
    return row
