"""Fix a rejection or a failed health check: add an address or permission (both codes), or remove permissions."""

from collections.abc import Callable
from dataclasses import replace

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.access.decorators import customer
from accounts.factors import sms_codes
from apikeys.models import ApiKey
from apikeys.pages import session_state
from apikeys.pages.key_settings import apply_change
from apikeys.pages.ownership import own_key
from apikeys.policy import account_freeze
from apikeys.policy.choices import IpPolicy, KeyState, check_rules
from apikeys.policy.power import Codes
from apikeys.policy.settings_change import SettingsChange
from apikeys.verification import networks
from apikeys.verification.outcomes import Outcome
from hitobit_portal.i18n.bidi import fill


@require_http_methods(["GET", "HEAD", "POST"])
def add_address(request: HttpRequest, pk: str, refusal: int) -> HttpResponse:
    """Ask for both codes to add the address of a rejected request to the key's allow-list."""
    key = own_key(request, pk)
    # SECURITY: only rejections of this key that were signed with its secret: others may be from anybody.
    signed = key.refusals.filter(outcome=Outcome.ADDRESS_REFUSED.value, skew_ms__isnull=False)
    row = signed.filter(pk=refusal).first()
    if row is None:
        raise Http404
    has_it = _("This IP is already in the list.")
    return _to_codes(request, key, lambda: _with_address(key, row.address), has_it)


@require_http_methods(["GET", "HEAD", "POST"])
def grant_permission(request: HttpRequest, pk: str, refusal: int) -> HttpResponse:
    """Ask for both codes to add the permission that a rejected request needed."""
    key = own_key(request, pk)
    row = key.refusals.filter(outcome=Outcome.PERMISSION.value, pk=refusal).first()
    if row is None:
        raise Http404
    has_it = _("The key already has this permission.")
    return _to_codes(request, key, lambda: _with_permission(key, row.permission), has_it)


def _to_codes(
    request: HttpRequest, key: ApiKey, wanted: Callable[[], SettingsChange], has_it: str
) -> HttpResponse:
    """Redirect to the page of both codes for the change ``wanted``, or to the key if there is nothing to approve."""
    if request.method != "POST":
        return redirect("key_detail", key.pk)
    try:
        change = wanted()
        account_freeze.check_not_frozen(customer(request))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("key_detail", key.pk)
    if not change.adds_power:
        messages.info(request, has_it)
        return redirect("key_detail", key.pk)
    sent = sms_codes.send_code(request, customer(request), session_state.begin_change(request, key, change))
    request.session["sms_failed"] = not sent.is_under_way
    return redirect("key_verify", key.pk)


def _with_permission(key: ApiKey, permission: str) -> SettingsChange:
    """Return the change that adds ``permission``. Raises `ValidationError` if the key cannot have it."""
    if key.state != KeyState.ACTIVE:
        raise ValidationError(_("The key was changed in another window meanwhile. Check it and try again."))
    before = key.settings
    wanted = before.permissions | {permission}
    check_rules(wanted, before.ip_policy, list(before.networks))
    return SettingsChange(before, replace(before, permissions=wanted))


def _with_address(key: ApiKey, address: str) -> SettingsChange:
    """Return the change that adds ``address``. Raises `ValidationError` if the list is full or the key has none."""
    if key.state != KeyState.ACTIVE or key.ip_policy != IpPolicy.TRUSTED:
        raise ValidationError(_("The key was changed in another window meanwhile. Check it and try again."))
    before = key.settings
    try:
        values = list(dict.fromkeys([*before.networks, networks.parse_network(address).value]))
    except networks.NetworkError:  # the gateway's client may send any text
        raise ValidationError(fill(_("“%(entry)s” is not an IP."), entry=address)) from None
    check_rules(before.permissions, before.ip_policy, values)
    return SettingsChange(before, replace(before, networks=tuple(values)))


@require_http_methods(["GET", "HEAD", "POST"])
def drop_permissions(request: HttpRequest, pk: str) -> HttpResponse:
    """Remove the posted permissions at once and without codes; at least one must be left."""
    key = own_key(request, pk)
    unwanted = frozenset(request.POST.getlist("permissions"))
    left = key.permissions - unwanted
    if request.method != "POST" or key.state != KeyState.ACTIVE or left == key.permissions:
        return redirect("key_detail", key.pk)
    before = key.settings
    change = SettingsChange(before, replace(before, permissions=left))
    try:
        check_rules(left, before.ip_policy, list(before.networks))
        with transaction.atomic():
            apply_change(request, key, change, Codes.NONE)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("Saved. The key now works with these settings."))
    return redirect("key_detail", key.pk)
