"""Rotation of a key's credentials: request a new one, approve it with both codes, show it once, end the old one."""

import uuid
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts import audit
from accounts.access import form_drafts
from accounts.access.decorators import customer
from accounts.factors import sms_codes
from accounts.factors.views import ApprovalPage, two_code_page
from accounts.models import User
from apikeys.actions import consent, rotation
from apikeys.models import ApiKey, Credential
from apikeys.pages import first_use, presenters, session_state
from apikeys.pages.credential_forms import RotateForm, from_draft, grace_text, kept_fields
from apikeys.pages.ownership import own_key
from apikeys.policy import account_freeze
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.policy.power import Codes
from apikeys.verification.signature_check import MAX_LIVE_CREDENTIALS


@require_http_methods(["GET", "HEAD", "POST"])
def rotate(request: HttpRequest, pk: str) -> HttpResponse:
    """Show the form; a valid POST sends the SMS and redirects to the codes."""
    key = own_key(request, pk)
    if key.state != KeyState.ACTIVE:
        return redirect("key_detail", key.pk)
    if len(rotation.live_credentials(key)) >= MAX_LIVE_CREDENTIALS:
        messages.info(request, cannot_rotate_text())
        return redirect("key_signing", key.pk)
    form = RotateForm(request.POST or None, initial=from_draft(form_drafts.pop(request)))
    try:
        account_freeze.check_not_frozen(customer(request))  # before an SMS is sent
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("key_detail", key.pk)
    if request.method == "POST" and form.is_valid():
        approval = session_state.begin_rotation(request, key, form.public, form.cleaned_data["grace"])
        sent = sms_codes.send_code(request, customer(request), approval)
        request.session["sms_failed"] = not sent.is_under_way
        return redirect("key_rotate_verify", key.pk)
    return render(request, "apikeys/key_rotate.html", {"key": key, "form": form})


def cannot_rotate_text() -> str:
    return _("This API already has two credentials. End one of them first.")


@require_http_methods(["GET", "HEAD", "POST"])
def verify(request: HttpRequest, pk: str) -> HttpResponse:
    """Both codes create the second credential: exactly the one that the page shows."""
    key, user = own_key(request, pk), customer(request)
    pending = session_state.pending_rotation(request, key)
    if pending is None or key.state != KeyState.ACTIVE:
        return _without_attempt(request, key)
    public, grace = session_state.pending_public(pending), pending["grace"]
    approval_page = ApprovalPage(
        session_state.rotation_approval(key, public, grace, pending["asked"]),
        title=key.label,
        back=reverse("key_rotate", args=[key.pk]),
        operation=_("New credential"),
        facts=[
            (_("Key name"), key.label, False),
            *session_state.key_facts(public),
            (
                _("How long the old credential works after the first use of the new one"),
                grace_text(grace),
                False,
            ),
        ],
        kept={**kept_fields(public), "grace": str(grace)},
        is_key=True,
    )

    def done(credential: Credential) -> HttpResponse:
        session_state.credential_made(request, credential)
        return redirect("key_rotated", key.pk, credential.serial)

    try:
        return two_code_page(
            request,
            approval_page,
            effect=lambda: _rotate(request, user, key, pending),
            done=done,
            already_done=Credential.objects.filter(key=key, serial=pending["wizard"]).first,
        )
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    except rotation.CannotRotate:
        request.session.pop(session_state.ROTATION, None)
        messages.error(request, cannot_rotate_text())
    return redirect("key_detail", key.pk)


def _without_attempt(request: HttpRequest, key: ApiKey) -> HttpResponse:
    """Redirect after back, refresh or a second click: to the new credential, or after a new login to the form."""
    serial = session_state.made_credential_serial(request)
    if key.state == KeyState.ACTIVE and form_drafts.move_to(request, reverse("key_rotate", args=[key.pk])):
        return redirect("key_rotate", key.pk)
    if serial is not None and key.credentials.filter(serial=serial).exists():
        return redirect("key_rotated", key.pk, serial)
    return redirect("key_detail", key.pk)


def _rotate(request: HttpRequest, user: User, key: ApiKey, pending: dict[str, Any]) -> Credential:
    account_freeze.check_not_frozen(User.objects.get(pk=user.pk))
    with consent.changing(key, Codes.BOTH, pending["asked"]):
        credential = rotation.rotate(
            key, session_state.pending_public(pending), pending["grace"], uuid.UUID(pending["wizard"])
        )
        key.end_first_settings()
        _record(KeyEvent.APPROVED, request, key, purpose=KeyPurpose.ROTATE.value)
        _record(KeyEvent.ROTATED, request, key, kind=credential.kind, grace=pending["grace"])
    return credential


def _record(event: KeyEvent, request: HttpRequest, key: ApiKey, **detail: Any) -> None:
    audit.record(event, request, customer=key.owner, target=str(key.pk), label=key.label, **detail)


@never_cache
@require_safe
def rotated(request: HttpRequest, pk: str, serial: uuid.UUID) -> HttpResponse:
    """Show the new secret once, and only in the session that created it; for a public key, its fingerprint."""
    key = own_key(request, pk)
    credential = key.credentials.filter(serial=serial).first()
    if credential is None:
        raise Http404
    # SECURITY: another session of the customer has not entered the codes and must not see the secret.
    if session_state.made_credential_serial(request) != str(serial) or key.state != KeyState.ACTIVE:
        return redirect("key_detail", key.pk)
    secret = credential.reveal() if request.method == "GET" else None
    if secret is not None:
        _record(KeyEvent.REVEALED, request, key)
    context = {
        "key": key,
        "credential": credential,
        "secret": secret,
        "grace": grace_text(credential.grace_seconds or 0),
        "at_once": not credential.grace_seconds,
        "steps": presenters.first_steps(key, credential),
    }
    return render(request, "apikeys/key_rotated.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def end(request: HttpRequest, pk: str, serial: uuid.UUID) -> HttpResponse:
    """End one of two credentials at once. No code: that only removes power."""
    key = own_key(request, pk)
    credential = key.credentials.filter(serial=serial).first()
    if credential is None:
        raise Http404
    if request.method != "POST":
        return redirect("key_signing", key.pk)
    with consent.changing(key, Codes.NONE):
        ended = rotation.end(key, credential)
        if ended:
            _record(KeyEvent.CREDENTIAL_ENDED, request, key, kind=credential.kind)
    if ended:
        messages.success(request, _("Ended: requests signed with it are refused from now on."))
    elif credential.retires_at is None:
        messages.error(request, _("The only credential cannot be ended. Pause or delete the API instead."))
    return redirect("key_signing", key.pk)


@never_cache
@require_safe
def first_used(request: HttpRequest, pk: str) -> JsonResponse:
    """Return whether a signed request of the key was received: ``{"used": bool, "text": str}``. Polled by the page."""
    return JsonResponse(first_use.state(own_key(request, pk)))


@never_cache
@require_safe
def credential_first_used(request: HttpRequest, pk: str, serial: uuid.UUID) -> JsonResponse:
    """As `first_used` for one credential: during a rotation the key's other credential is in use already."""
    key = own_key(request, pk)
    credential = key.credentials.filter(serial=serial).first()
    if credential is None:
        raise Http404
    return JsonResponse(first_use.state(key, credential))
