"""Both codes, for one approval: making a key, or giving a key more power."""

import uuid
from typing import Any

from django.contrib import messages as notices
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import audit
from accounts.access import form_drafts
from accounts.access.guard import customer
from accounts.factors.views import Asked, both_codes
from accounts.models import User
from apikeys.models import ApiKey, KeyLimitReached
from apikeys.pages import session_state
from apikeys.pages.credential_forms import kept_fields
from apikeys.pages.detail import apply_change, own_key
from apikeys.pages.forms import name_problem
from apikeys.policy import names
from apikeys.policy.account_freeze import AccountFrozen
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.policy.power import Codes


@require_http_methods(["GET", "HEAD", "POST"])
def verify_new(request: HttpRequest) -> HttpResponse:
    """Step 3 of the guide: both codes make the key."""
    user, pending = customer(request), request.session.get(session_state.NEW_KEY)
    if not pending:
        # Back, refresh or a second click after the key was made: show the key.
        made = session_state.made_key(request)
        form_drafts.hand_on(request, reverse("keys"))
        return redirect("key_detail", made) if made else redirect("keys")
    name, public = pending["name"], session_state.pending_public(pending)
    asked = Asked(
        session_state.create_approval(name, public),
        title=_("Create API"),
        back=reverse("keys"),
        operation=_("Create API"),
        facts=[(_("Key name"), name, False), *session_state.key_facts(public)],
        kept={"name": name, **kept_fields(public)},
        is_key=True,
        stepper=True,
    )

    def done(key: ApiKey) -> HttpResponse:
        session_state.made(request, key)
        return redirect("key_detail", key.pk)

    try:
        return both_codes(
            request,
            asked,
            effect=lambda: _create(request, user, pending),
            done=done,
            already_done=ApiKey.objects.filter(owner=user, wizard=pending["wizard"]).first,
        )
    except AccountFrozen as error:
        notices.error(request, str(error.message))
    except KeyLimitReached:
        notices.error(request, _("You have the most keys that are allowed. Delete one first."))
    except names.InvalidName as error:  # begun before a rule about names came into force
        request.session.pop(session_state.NEW_KEY, None)
        notices.error(request, name_problem(error.problem))
    except IntegrityError:
        request.session.pop(session_state.NEW_KEY, None)
        notices.error(request, _("You have a key of this name already. Choose another one."))
    return redirect("keys")


def _create(request: HttpRequest, user: User, pending: dict[str, str]) -> ApiKey:
    key = ApiKey.objects.create_with_secret(
        user, pending["name"], uuid.UUID(pending["wizard"]), session_state.pending_public(pending)
    )
    audit.record(
        KeyEvent.APPROVED,
        request,
        customer=user,
        target=str(key.pk),
        label=key.label,
        purpose=KeyPurpose.CREATE.value,
    )
    audit.record(KeyEvent.CREATED, request, customer=user, target=str(key.pk), label=key.label)
    return key


@require_http_methods(["GET", "HEAD", "POST"])
def verify_change(request: HttpRequest, pk: str) -> HttpResponse:
    """Both codes give an existing key more power: exactly the change that the page and the SMS name."""
    key = own_key(request, pk)
    pending = session_state.pending_change(request, key)
    if pending is None or key.state != KeyState.ACTIVE:
        return redirect("key_detail", key.pk)
    change, approved_state = pending
    asked = Asked(
        session_state.change_approval(key, change, approved_state),
        title=key.label,
        back=reverse("key_detail", args=[key.pk]),
        operation=_("Change of settings"),
        facts=[(_("Key name"), key.label, False)],
        diff=change.lines(),
        is_key=True,
    )

    def done(_value: Any) -> HttpResponse:
        session_state.end_change(request)
        notices.success(request, _("Saved. The key works with these settings from now on."))
        return redirect("key_detail", key.pk)

    try:
        return both_codes(
            request,
            asked,
            effect=lambda: apply_change(request, key, change, Codes.BOTH, approved_state=approved_state),
            done=done,
            already_done=lambda: ApiKey.objects.get(pk=key.pk).settings.as_json() == change.after.as_json(),
        )
    except ValidationError as error:
        session_state.end_change(request)
        notices.error(request, " ".join(error.messages))
        return redirect("key_detail", key.pk)
