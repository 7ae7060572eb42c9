"""The page of one key: shows the secret once, changes the settings, deletes the key."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import audit
from accounts.access import form_drafts
from accounts.access.decorators import customer
from accounts.factors import sms_codes
from apikeys.actions import consent, lifecycle, rotation
from apikeys.models import ApiKey, Credential
from apikeys.pages import presenters, session_state
from apikeys.pages.forms import KEEP, DeleteForm, RenameForm, SettingsForm, taken_text
from apikeys.policy import account_freeze
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import IpPolicy, KeyState
from apikeys.policy.events import KeyEvent
from apikeys.policy.power import Codes
from apikeys.policy.settings_change import Settings, SettingsChange
from apikeys.usage import presenters as use
from hitobit_portal.http.context import address_of


def own_key(request: HttpRequest, pk: Any) -> ApiKey:
    """Return the customer's own key; raise 404 for keys of other customers as for unknown ones."""
    key = ApiKey.objects.filter(owner=customer(request), pk=pk).select_related("owner").first()
    if key is None:
        raise Http404
    return key


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def key_detail(request: HttpRequest, pk: str) -> HttpResponse:
    """Show key, settings and (once) the secret. htmx replaces only the form, so that the secret stays visible."""
    key = own_key(request, pk)
    fresh = session_state.is_fresh(request, key)
    if request.method == "POST":
        return _posted(request, key, fresh)
    secret = _reveal(request, key) if fresh and request.method == "GET" else None
    form, rename = _forms(request, key, fresh)
    return _page(request, key, form, rename, fresh=fresh, secret=secret)


def _reveal(request: HttpRequest, key: ApiKey) -> str | None:
    credential = key.credentials.first()
    secret = credential.reveal() if credential else None
    if secret is not None:
        audit.record(
            KeyEvent.REVEALED, request, customer=customer(request), target=str(key.pk), label=key.label
        )
    return secret


def _forms(request: HttpRequest, key: ApiKey, fresh: bool) -> tuple[SettingsForm, RenameForm]:
    """Return the forms with the key's values (for a new key with the recommended IP policy), or with a saved draft."""
    draft = form_drafts.pop(request)
    policy = IpPolicy.TRUSTED.value if fresh else key.ip_policy
    initial = {
        "permissions": draft.get("permissions", sorted(key.permissions)),
        "ip_policy": draft.get("ip_policy", [policy])[0],
        "network": draft.get("network", [""])[0],
        "expiry": draft.get("expiry", [KEEP])[0],
        "expiry_date": draft.get("expiry_date", [""])[0],
    }
    settings = key.settings
    chips = draft.get("networks", list(settings.networks))
    form = SettingsForm(chips=chips, expires_at=settings.expires_at, initial=initial)
    return form, RenameForm(key=key, initial={"name": draft.get("name", [key.label])[0]})


def _posted(request: HttpRequest, key: ApiKey, fresh: bool) -> HttpResponse:
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
    if request.htmx and not rename.is_bound:  # type: ignore[attr-defined]
        return _page(
            request,
            key,
            SettingsForm(chips=list(wanted.networks), expires_at=wanted.expires_at, initial=_initial(wanted)),
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


def _go(request: HttpRequest, target: str) -> HttpResponse:
    """Redirect to another page; htmx needs a header for this."""
    if request.htmx:  # type: ignore[attr-defined]
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
) -> HttpResponse:
    kinds = _kinds(key)
    context = {
        "key": key,
        "form": form,
        "rename": rename,
        # A page that may still show a new key's secret has no field for the name, also when only the form is replaced.
        "asks_name": not fresh and (rename.is_bound or not request.htmx),  # type: ignore[attr-defined]
        "fresh": fresh,
        "kinds": kinds,
        # A key with the customer's own public key has no secret to show.
        "just_made": fresh and Credential.Kind.HMAC.label not in kinds,
        "renewable": lifecycle.is_renewable(key),
        "secret": secret,
        "saved": saved,
        "networks": form.shown_chips(),
        "own_address": address_of(request),
    }
    is_fragment = bool(request.htmx)  # type: ignore[attr-defined]
    if not is_fragment:
        context |= _sections(key, fresh)
    name = "apikeys/_settings_form.html" if is_fragment else "apikeys/key_detail.html"
    response = render(request, name, context)
    response.allows_htmx = True  # type: ignore[attr-defined]
    return response


def _sections(key: ApiKey, fresh: bool) -> dict[str, Any]:
    """Load the sections of the whole page. The page of a new key shows its first request only."""
    is_active = key.state == KeyState.ACTIVE
    context: dict[str, Any] = {}
    if is_active and not key.last_used_at:
        context["steps"] = presenters.first_steps(key)
    if fresh:
        return context
    if is_active:
        context["credentials"] = presenters.credentials(key)
    if key.state != KeyState.REVOKED:
        context["health"] = presenters.health(key)
    return context | {
        "waiting": presenters.waiting_addresses(key.owner, key),
        "usage": use.month(key),
        "refused": use.rejections(key),
        "may_ask": presenters.may_ask(key),
    }


def _kinds(key: ApiKey) -> list[str]:
    """Return the kinds of the live credentials; if there are none, the kind of the last one."""
    credentials: list[Credential] = rotation.live_credentials(key) or list(
        key.credentials.order_by("-pk")[:1]
    )
    return list(dict.fromkeys(credential.get_kind_display() for credential in credentials))


@require_http_methods(["GET", "HEAD", "POST"])
def key_delete(request: HttpRequest, pk: str) -> HttpResponse:
    """Delete a key permanently, after its name was typed."""
    key = own_key(request, pk)
    if key.state == KeyState.REVOKED:
        messages.info(request, _("The API “%(name)s” was deleted.") % {"name": key.label})
        return redirect("keys")
    form = DeleteForm(request.POST or None, key=key)
    if request.method == "POST" and form.is_valid():
        lifecycle.delete(request, key)
        messages.success(request, _("The API “%(name)s” was deleted.") % {"name": key.label})
        return redirect("keys")
    return render(request, "apikeys/key_delete.html", {"key": key, "form": form})
