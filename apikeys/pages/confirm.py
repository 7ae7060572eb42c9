"""Confirm the creation of a key, or a change that adds power, with both codes."""

import uuid
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import audit
from accounts.access import form_drafts
from accounts.access.decorators import customer
from accounts.factors.views import ApprovalPage, two_code_page
from accounts.models import User
from apikeys.models import ApiKey, KeyLimitReached
from apikeys.pages import session_state
from apikeys.pages.credential_forms import kept_fields
from apikeys.pages.forms import name_problem_text
from apikeys.pages.key_settings import apply_change
from apikeys.pages.ownership import own_key
from apikeys.policy import names
from apikeys.policy.account_freeze import AccountFrozen
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.policy.power import Codes
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.free_text import plain


@require_http_methods(["GET", "HEAD", "POST"])
def verify_new(request: HttpRequest) -> HttpResponse:
    """Step 3 of the creation: both codes create the key."""
    user, pending = customer(request), request.session.get(session_state.NEW_KEY)
    if not pending:
        # Back, refresh or a second click after the key was created: show the key.
        created = session_state.created_key(request)
        form_drafts.move_to(request, reverse("keys"))
        return redirect("key_detail", created) if created else redirect("keys")
    name, public = pending["name"], session_state.pending_public(pending)
    approval_page = ApprovalPage(
        session_state.create_approval(name, public),
        title=_("Create API"),
        back=reverse("keys"),
        operation=_("Create API"),
        facts=[(_("Key name"), name, False), *session_state.key_facts(public)],
        kept={"name": name, "template": pending.get("template", ""), **kept_fields(public)},
        is_key=True,
        stepper=True,
    )

    def done(key: ApiKey) -> HttpResponse:
        session_state.key_created(request, key)
        return redirect("key_detail", key.pk)

    try:
        return two_code_page(
            request,
            approval_page,
            effect=lambda: _create(request, user, pending),
            done=done,
            already_done=ApiKey.objects.filter(owner=user, wizard=pending["wizard"]).first,
        )
    except AccountFrozen as error:
        messages.error(request, str(error.message))
    except KeyLimitReached:
        messages.error(request, _("You have reached the maximum number of keys. Delete one first."))
    except names.InvalidName as error:  # the attempt is older than a rule about names
        request.session.pop(session_state.NEW_KEY, None)
        messages.error(request, name_problem_text(error.problem))
    except IntegrityError:
        request.session.pop(session_state.NEW_KEY, None)
        messages.error(request, _("You already have a key with this name. Choose another name."))
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
    """Both codes apply a change that adds power: exactly the change that the page and the SMS show."""
    key = own_key(request, pk)
    pending = session_state.pending_change(request, key)
    if pending is None or key.state != KeyState.ACTIVE:
        return redirect("key_detail", key.pk)
    change, approved_state = pending
    approval_page = ApprovalPage(
        session_state.change_approval(key, change, approved_state),
        title=key.label,
        back=reverse("key_settings", args=[key.pk]),
        operation=_("Change of settings"),
        facts=[(_("Key name"), key.label, False)],
        sentence=fill(_("changing the API “%(name)s”"), name=plain(key.label)),
        changes=change.parts(),
        rows=change.rows(),
        is_key=True,
    )

    def done(_value: Any) -> HttpResponse:
        session_state.end_change(request)
        messages.success(request, _("Saved. The key now works with these settings."))
        return redirect("key_detail", key.pk)

    try:
        return two_code_page(
            request,
            approval_page,
            effect=lambda: apply_change(request, key, change, Codes.BOTH, approved_state=approved_state),
            done=done,
            already_done=lambda: ApiKey.objects.get(pk=key.pk).settings.as_json() == change.after.as_json(),
        )
    except ValidationError as error:
        session_state.end_change(request)
        messages.error(request, " ".join(error.messages))
        return redirect("key_detail", key.pk)
