"""Another credential of a key: asked for, approved by both codes, shown once; and the old one's end by hand."""

import uuid
from typing import Any

from django.contrib import messages as notices
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts import audit, drafts, sms_codes
from accounts.events import Event
from accounts.models import User
from accounts.stages import customer
from accounts.views_codes import Asked, both_codes
from apikeys import first_use, frozen, rotation, wizard_rotation
from apikeys.forms_credentials import RotateForm, from_draft, grace_text, kept_fields
from apikeys.models import ApiKey, Credential
from apikeys.rules import State
from apikeys.views_key import own_key
from apikeys.wizard import key_facts


@require_http_methods(["GET", "HEAD", "POST"])
def rotate(request: HttpRequest, pk: str) -> HttpResponse:
    """The form; a POST of a good one sends the SMS and goes on to the codes."""
    key = own_key(request, pk)
    if key.state != State.ACTIVE:
        return redirect("key_detail", key.pk)
    if len(rotation.live(key)) >= rotation.MOST:
        notices.info(request, cannot_text())
        return redirect("key_detail", key.pk)
    form = RotateForm(request.POST or None, initial=from_draft(drafts.take(request)))
    try:
        frozen.refuse(customer(request))  # before an SMS is sent for nothing
    except ValidationError as error:
        notices.error(request, " ".join(error.messages))
        return redirect("key_detail", key.pk)
    if request.method == "POST" and form.is_valid():
        approval = wizard_rotation.begin(request, key, form.public, form.cleaned_data["grace"])
        sent = sms_codes.send_code(request, customer(request), approval)
        request.session["sms_failed"] = sent.went_wrong
        return redirect("key_rotate_verify", key.pk)
    return render(request, "apikeys/key_rotate.html", {"key": key, "form": form})


def cannot_text() -> str:
    return _("This API has two credentials already. End one of them first.")


@require_http_methods(["GET", "HEAD", "POST"])
def verify(request: HttpRequest, pk: str) -> HttpResponse:
    """Both codes make the second credential: exactly the one that the page shows."""
    key, user = own_key(request, pk), customer(request)
    pending = wizard_rotation.pending(request, key)
    if pending is None or key.state != State.ACTIVE:
        return _without_attempt(request, key)
    public, grace = wizard_rotation.public_of(pending), pending["grace"]
    asked = Asked(
        wizard_rotation.approval(key, public, grace),
        title=key.label,
        back=reverse("key_rotate", args=[key.pk]),
        operation=_("New credential"),
        facts=[
            (_("Key name"), key.label, False),
            *key_facts(public),
            (_("Old one, after the first use of the new one"), grace_text(grace), False),
        ],
        kept={**kept_fields(public), "grace": str(grace)},
        is_key=True,
    )

    def done(credential: Credential) -> HttpResponse:
        wizard_rotation.made(request, credential)
        return redirect("key_rotated", key.pk, credential.serial)

    try:
        return both_codes(
            request,
            asked,
            effect=lambda: _rotate(request, user, key, pending),
            done=done,
            already_done=Credential.objects.filter(key=key, serial=pending["wizard"]).first,
        )
    except ValidationError as error:
        notices.error(request, " ".join(error.messages))
    except rotation.CannotRotate:
        request.session.pop(wizard_rotation.ROTATION, None)
        notices.error(request, cannot_text())
    return redirect("key_detail", key.pk)


def _without_attempt(request: HttpRequest, key: ApiKey) -> HttpResponse:
    """Back, refresh or a second click after the credential was made: its page. After a new login the form again."""
    serial = wizard_rotation.made_serial(request)
    if key.state == State.ACTIVE and drafts.hand_on(request, reverse("key_rotate", args=[key.pk])):
        return redirect("key_rotate", key.pk)
    if serial is not None and key.credentials.filter(serial=serial).exists():
        return redirect("key_rotated", key.pk, serial)
    return redirect("key_detail", key.pk)


def _rotate(request: HttpRequest, user: User, key: ApiKey, pending: dict[str, Any]) -> Credential:
    frozen.refuse(User.objects.get(pk=user.pk))
    credential = rotation.rotate(
        key, wizard_rotation.public_of(pending), pending["grace"], uuid.UUID(pending["wizard"])
    )
    _record(Event.KEY_APPROVED, request, key, purpose="key.rotate")
    _record(Event.KEY_ROTATED, request, key, kind=credential.kind, grace=pending["grace"])
    return credential


def _record(event: Event, request: HttpRequest, key: ApiKey, **detail: Any) -> None:
    audit.record(event, request, customer=key.owner, target=str(key.pk), label=key.label, **detail)


@never_cache
@require_safe
def rotated(request: HttpRequest, pk: str, serial: uuid.UUID) -> HttpResponse:
    """The new secret, once, and only in the session that made it; of a public key its fingerprint."""
    key = own_key(request, pk)
    credential = key.credentials.filter(serial=serial).first()
    if credential is None:
        raise Http404
    # SECURITY: another session of the customer has not seen the codes, and sees no secret.
    if wizard_rotation.made_serial(request) != str(serial) or key.state != State.ACTIVE:
        return redirect("key_detail", key.pk)
    secret = credential.reveal() if request.method == "GET" else None
    if secret is not None:
        _record(Event.KEY_REVEALED, request, key)
    context = {
        "key": key,
        "credential": credential,
        "secret": secret,
        "grace": grace_text(credential.grace_seconds or 0),
        "at_once": not credential.grace_seconds,
    }
    return render(request, "apikeys/key_rotated.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def end(request: HttpRequest, pk: str, serial: uuid.UUID) -> HttpResponse:
    """Ends one of two credentials at once. No code: it only takes power away."""
    key = own_key(request, pk)
    credential = key.credentials.filter(serial=serial).first()
    if credential is None:
        raise Http404
    if request.method != "POST":
        return redirect("key_detail", key.pk)
    with transaction.atomic():
        ended = rotation.end(key, credential)
        if ended:
            _record(Event.KEY_CREDENTIAL_ENDED, request, key, kind=credential.kind)
    if ended:
        notices.success(request, _("Ended: nothing that is signed with it passes any more."))
    elif credential.retires_at is None:
        notices.error(request, _("The only credential can't be ended. Pause or delete the API instead."))
    return redirect("key_detail", key.pk)


@never_cache
@require_safe
def first_used(request: HttpRequest, pk: str) -> JsonResponse:
    """Whether a signed request of the key was answered: ``{"used": bool, "text": str}``, for the waiting line."""
    return JsonResponse(first_use.state(own_key(request, pk)))


@never_cache
@require_safe
def credential_first_used(request: HttpRequest, pk: str, serial: uuid.UUID) -> JsonResponse:
    """The same of one credential: while a key is rotated its other one is in use already."""
    key = own_key(request, pk)
    credential = key.credentials.filter(serial=serial).first()
    if credential is None:
        raise Http404
    return JsonResponse(first_use.state(key, credential))
