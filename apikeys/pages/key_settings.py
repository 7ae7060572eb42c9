"""The settings of a key: the form on their own page, and below the secret of a key that was just created."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import audit
from accounts.access import form_drafts
from accounts.access.decorators import customer
from accounts.factors import sms_codes
from apikeys.actions import consent, lifecycle
from apikeys.models import ApiKey, Credential
from apikeys.pages import presenters, session_state
from apikeys.pages.forms import KEEP, RECOMMENDED, RenameForm, SettingsForm, taken_text
from apikeys.pages.key_templates import KeyTemplate
from apikeys.pages.ownership import own_key
from apikeys.policy import account_freeze
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import IpPolicy, KeyState
from apikeys.policy.events import KeyEvent
from apikeys.policy.power import Codes
from apikeys.policy.settings_change import Settings, SettingsChange
from hitobit_portal.http.context import address_of


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def key_settings(request: HttpRequest, pk: str) -> HttpResponse:
    """Show and save the settings. Only an active key's settings can be changed."""
    key = own_key(request, pk)
    if key.state != KeyState.ACTIVE:
        return redirect("key_detail", key.pk)
    if request.method == "POST":
        return save_posted(request, key)
    if session_state.is_fresh(request, key):
        form_drafts.move_to(request, reverse("key_detail", args=[key.pk]))
        return redirect("key_detail", key.pk)
    draft = form_drafts.pop(request)
    form, rename = _forms(key, draft)
    return _page(request, key, form, rename, fresh=False, is_unsaved=bool(draft))


def new_key_page(request: HttpRequest, key: ApiKey) -> HttpResponse:
    """Show a key that this session just created: once the secret, and the form with the first settings."""
    secret = reveal_once(request, key) if request.method == "GET" else None
    template = session_state.chosen_template(request)
    form, rename = _forms(key, form_drafts.pop(request), fresh=True, template=template)
    return _page(
        request, key, form, rename, fresh=True, secret=secret, is_unsaved=bool(template), template=template
    )


def reveal_once(request: HttpRequest, key: ApiKey) -> str | None:
    """Return the secret of a new key; None if it was shown before. The caller checks that this session created it."""
    credential = key.credentials.first()
    secret = credential.reveal() if credential else None
    if secret is not None:
        audit.record(
            KeyEvent.REVEALED, request, customer=customer(request), target=str(key.pk), label=key.label
        )
    return secret


def _forms(
    key: ApiKey,
    draft: dict[str, list[str]],
    *,
    fresh: bool = False,
    template: KeyTemplate | None = None,
) -> tuple[SettingsForm, RenameForm]:
    """Return the forms with the key's values, or with a saved draft.

    For a new key with the recommended IP policy and expiry, or with what its ``template`` proposes: in force once it
    is sent.
    """
    policy = IpPolicy.TRUSTED.value if fresh else key.ip_policy
    permissions, expiry = sorted(key.permissions), RECOMMENDED if fresh else KEEP
    if template is not None:
        permissions, policy, expiry = list(template.permissions), template.ip_policy, template.expiry
    initial = {
        "permissions": draft.get("permissions", permissions),
        "ip_policy": draft.get("ip_policy", [policy])[0],
        "network": draft.get("network", [""])[0],
        "expiry": draft.get("expiry", [expiry])[0],
        "expiry_date": draft.get("expiry_date", [""])[0],
    }
    settings = key.settings
    chips = draft.get("networks", list(settings.networks))
    form = SettingsForm(chips=chips, expires_at=settings.expires_at, initial=initial)
    return form, RenameForm(key=key, initial={"name": draft.get("name", [key.label])[0]})


def save_posted(request: HttpRequest, key: ApiKey) -> HttpResponse:
    """Save a posted form, or show it again; in place, so that a secret above it stays visible (`is_in_place`)."""
    fresh = session_state.is_fresh(request, key)
    if key.state != KeyState.ACTIVE:
        return redirect("key_detail", key.pk)
    form = SettingsForm(
        request.POST, chips=request.POST.getlist("networks"), expires_at=key.settings.expires_at
    )
    # The page of a new key has no field for the name.
    rename = RenameForm(request.POST if "name" in request.POST else None, key=key)
    removed = request.POST.get("remove_network")
    if removed is not None:
        form.chips = [value for value in form.chips if value != removed]
    elif "add_own" in request.POST:
        form.is_valid()
        form.add(f"{request.POST.get('network', '')}\n{address_of(request)}")
    elif "add_network" in request.POST:
        form.is_valid()
        form.add(request.POST.get("network", ""))
    else:
        wanted = form.wanted()
        if (rename.is_valid() or not rename.is_bound) and wanted is not None:
            return _save(request, key, form, rename, wanted, fresh)
    return _page(request, key, form, rename, fresh=fresh)


def _save(
    request: HttpRequest,
    key: ApiKey,
    form: SettingsForm,
    rename: RenameForm,
    wanted: Settings,
    fresh: bool,
) -> HttpResponse:
    """Apply changes that need no codes (a name never does), and redirect to the codes for others."""
    change = SettingsChange(key.settings, wanted)
    try:
        if change.adds_power:
            account_freeze.check_not_frozen(customer(request))
        with transaction.atomic():
            if rename.is_bound:
                lifecycle.rename(request, key, rename.cleaned_data["name"])
            first = fresh and key.end_first_settings()
            needs_codes = change.adds_power and not first
            if change.codes() and not needs_codes:
                # The codes for the creation also approve the first settings.
                apply_change(request, key, change, Codes.BOTH if first else Codes.NONE, first=first)
    except lifecycle.NameTaken:
        rename.add_error("name", taken_text())
        return _page(request, key, form, rename, fresh=fresh)
    except ValidationError as error:
        form.add_error(None, error)
        return _page(request, key, form, rename, fresh=fresh)
    if needs_codes:
        return _ask_for_codes(request, key, change)
    key.refresh_from_db()
    if is_in_place(request) and not rename.is_bound:
        return _page(
            request,
            key,
            SettingsForm(
                chips=list(wanted.networks),
                expires_at=wanted.expires_at,
                initial={**_initial(wanted), "expiry": KEEP},
            ),
            RenameForm(key=key),
            fresh=False,
            saved=True,
        )
    messages.success(request, _("Saved. The key now works with these settings."))
    return _go(request, reverse("key_detail", args=[key.pk]))


def apply_change(
    request: HttpRequest,
    key: ApiKey,
    change: SettingsChange,
    given: Codes,
    *,
    approved_state: dict[str, Any] | None = None,
    first: bool = False,
) -> None:
    """Apply ``change`` if the key was not changed since it was requested; else raise `ValidationError`.

    ``given``: the codes for it; ``approved_state``: `consent.state_of` the key when they were requested; ``first``:
    they are the codes for the creation of the key.
    """
    user, pk, after = customer(request), str(key.pk), change.after
    with consent.changing(key, given, approved_state) as current:
        # SECURITY: the codes approved a change from `before`; from another state it would give other power.
        if current.settings.as_json() != change.before.as_json():
            raise consent.ChangedMeanwhile
        current.apply(after.permissions, after.ip_policy, after.networks, after.expiry)
        if given is Codes.BOTH and not first:
            audit.record(
                KeyEvent.APPROVED,
                request,
                customer=user,
                target=pk,
                label=key.label,
                purpose=KeyPurpose.CHANGE.value,
            )
        audit.record(
            KeyEvent.CHANGED, request, customer=user, target=pk, label=key.label, changes=change.codes()
        )


def _initial(settings: Settings) -> dict[str, Any]:
    return {"permissions": sorted(settings.permissions), "ip_policy": settings.ip_policy}


def _ask_for_codes(request: HttpRequest, key: ApiKey, change: SettingsChange) -> HttpResponse:
    sent = sms_codes.send_code(request, customer(request), session_state.begin_change(request, key, change))
    request.session["sms_failed"] = not sent.is_under_way
    return _go(request, reverse("key_verify", args=[key.pk]))


def is_in_place(request: HttpRequest) -> bool:
    """Return whether ``static/js/inplace.js`` sent the form. It replaces the form and leaves the rest of the page."""
    return request.headers.get("HX-Request") == "true"


def _go(request: HttpRequest, target: str) -> HttpResponse:
    """Redirect to another page. A script would follow a usual redirect itself, so it gets the target in a header."""
    if is_in_place(request):
        return HttpResponse(status=204, headers={"HX-Redirect": target})
    return redirect(target)


def _page(
    request: HttpRequest,
    key: ApiKey,
    form: SettingsForm,
    rename: RenameForm,
    *,
    fresh: bool,
    secret: str | None = None,
    saved: bool = False,
    is_unsaved: bool = False,
    template: KeyTemplate | None = None,
) -> HttpResponse:
    """Render the form: alone if it is sent in place, else in the page of a new key (``fresh``) or of the settings.

    ``template``: what the form was filled in from. ``is_unsaved``: it shows something else than what is in force, as
    every posted form does that was not saved.
    """
    context = {
        "key": key,
        "form": form,
        "rename": rename,
        # A page that may still show a new key's secret has no field for the name, also when only the form is replaced.
        "asks_name": not fresh and (rename.is_bound or not is_in_place(request)),
        "fresh": fresh,
        "is_unsaved": is_unsaved or (form.is_bound and not saved),
        "saved": saved,
        "template": template,
        "networks": form.shown_chips(),
        "own_address": address_of(request),
    }
    if is_in_place(request):
        name = "apikeys/_settings_form.html"
    elif fresh:
        name = "apikeys/key_new.html"
        kinds = presenters.kinds(key)
        # A key with the customer's own public key has no secret to show.
        just_made = Credential.Kind.HMAC.label not in kinds
        context |= {"kinds": kinds, "just_made": just_made, "secret": secret}
        context["steps"] = {} if key.last_used_at else presenters.first_steps(key)
    else:
        name = "apikeys/key_settings.html"
        context["may_ask"] = key.takes_addresses
    return render(request, name, context)
