"""Session data of unfinished creations, changes and rotations of keys. Never contains codes or secrets."""

import time
import uuid
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from accounts.choices.approvals import Approval
from apikeys.actions import consent
from apikeys.models import ApiKey, Credential, KeyRequest
from apikeys.pages.key_templates import OWN_CHOICE, TEMPLATES, KeyTemplate
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import FIRST_SETTINGS_SECONDS, KeyState
from apikeys.policy.public_keys import PublicKey
from apikeys.policy.settings_change import Settings, SettingsChange
from apikeys.verification.signing import Kind

NEW_KEY = "new_key"
MADE_KEY = "made_key"
KEY_REQUEST = "key_request"
CHANGE = "key_change"
ROTATION = "key_rotation"
MADE_CREDENTIAL = "made_credential"


def begin_creation(
    request: HttpRequest, name: str, wizard: uuid.UUID, public: PublicKey | None = None, template: str = ""
) -> None:
    """Store a key to be created. The same values again (a double click) are the same attempt."""
    wanted = {"name": name, "template": template, **_as_json(public)}
    pending = request.session.get(NEW_KEY, {})
    if {**pending, "wizard": ""} != {**wanted, "wizard": ""}:
        request.session[NEW_KEY] = {**wanted, "wizard": str(wizard)}


def _as_json(public: PublicKey | None) -> dict[str, str]:
    """SECURITY: the session has the public key only, never the private key."""
    if public is None:
        return {"kind": Kind.HMAC.value, "public_key": ""}
    return {"kind": public.kind.value, "public_key": public.encoded}


def pending_public(pending: dict[str, Any]) -> PublicKey | None:
    """Return the public key of a stored attempt; None for a secret."""
    encoded = pending.get("public_key", "")
    return PublicKey(Kind(pending["kind"]), encoded) if encoded else None


def create_approval(name: str, public: PublicKey | None = None) -> Approval:
    """Return the approval of a creation.

    SECURITY: bound to the public key, so that a thief cannot replace it after the SMS was sent.
    """
    content = {"name": name, "kind": kind_of(public), "key": public.fingerprint if public else ""}
    return Approval(KeyPurpose.CREATE, content, {"name": name})


def kind_of(public: PublicKey | None) -> str:
    return (public.kind if public else Kind.HMAC).value


def key_facts(public: PublicKey | None) -> list[tuple[str, str, bool]]:
    """Return kind and fingerprint for the page of the codes."""
    facts = [(_("Kind"), str(Credential.Kind(kind_of(public)).label), True)]
    if public is not None:
        facts.append((_("Fingerprint"), public.fingerprint, True))
    return facts


def key_created(request: HttpRequest, key: ApiKey) -> None:
    """Allow this session to see the secret of a new key and to make its first settings, for ten minutes."""
    _created(request, key, request.session.pop(NEW_KEY, {}).get("template", OWN_CHOICE))


def _created(request: HttpRequest, key: ApiKey, template: str) -> None:
    # SECURITY: from the creation, not from now: a repeated submission needs no codes and must not extend the time.
    until = int(key.created_at.timestamp()) + FIRST_SETTINGS_SECONDS
    request.session[MADE_KEY] = {"key": str(key.pk), "until": until, "template": template}


def begin_request(request: HttpRequest, row: KeyRequest) -> uuid.UUID:
    """Return this session's attempt to confirm ``row``; the same one for a repeated submission."""
    pending = request.session.get(KEY_REQUEST, {})
    if pending.get("request") != row.pk:
        pending = request.session[KEY_REQUEST] = {"request": row.pk, "wizard": str(uuid.uuid4())}
    return uuid.UUID(pending["wizard"])


def request_confirmed(request: HttpRequest, key: ApiKey) -> None:
    """Allow this session to see the secret of a requested key, for ten minutes. Its settings are in force already."""
    _created(request, key, OWN_CHOICE)


def created_key(request: HttpRequest) -> str | None:
    """Return the id of the key that this session created in the last ten minutes."""
    state = request.session.get(MADE_KEY)
    return state["key"] if state and time.time() < state["until"] else None


def chosen_template(request: HttpRequest) -> KeyTemplate | None:
    """Return the template of the key that `created_key` returns; None if it was made without one."""
    state = request.session.get(MADE_KEY)
    return TEMPLATES.get(state.get("template", OWN_CHOICE)) if state else None


def is_fresh(request: HttpRequest, key: ApiKey) -> bool:
    """Return whether the first settings need no codes: the key was created in this session at most ten minutes ago and
    has not been changed."""
    return (
        key.state == KeyState.ACTIVE and key.first_settings_at is None and created_key(request) == str(key.pk)
    )


def begin_change(request: HttpRequest, key: ApiKey, change: SettingsChange) -> Approval:
    approved_state = consent.state_of(key)
    request.session[CHANGE] = {
        "key": str(key.pk),
        "before": change.before.as_json(),
        "after": change.after.as_json(),
        "asked": approved_state,
    }
    return change_approval(key, change, approved_state)


def pending_change(request: HttpRequest, key: ApiKey) -> tuple[SettingsChange, dict[str, Any]] | None:
    """Return the change that waits for codes, and `consent.state_of` the key when the codes were requested."""
    state: dict[str, Any] | None = request.session.get(CHANGE)
    if not state or state["key"] != str(key.pk) or "asked" not in state:
        return None
    change = SettingsChange(Settings.from_json(state["before"]), Settings.from_json(state["after"]))
    return change, state["asked"]


def end_change(request: HttpRequest) -> None:
    request.session.pop(CHANGE, None)


def change_approval(
    key: ApiKey, change: SettingsChange, approved_state: dict[str, Any] | None = None
) -> Approval:
    """Return the approval of a change, bound to the key and to the settings before and after it, so that none of them
    can be replaced after the SMS was sent."""
    words = {"changes": _("; ").join(change.lines())}
    return consent.key_approval(
        KeyPurpose.CHANGE,
        key,
        approved_state,
        words,
        before=change.before.as_json(),
        after=change.after.as_json(),
    )


def begin_rotation(request: HttpRequest, key: ApiKey, public: PublicKey | None, grace: int) -> Approval:
    """Store a credential to be created. The same values again (a double click) are the same attempt."""
    approved_state = consent.state_of(key)
    wanted = {
        "key": str(key.pk),
        "kind": kind_of(public),
        "public_key": public.encoded if public else "",
        "grace": grace,
        "asked": approved_state,
    }
    pending = request.session.get(ROTATION, {})
    if {**pending, "wizard": ""} != {**wanted, "wizard": ""}:
        request.session[ROTATION] = {**wanted, "wizard": str(uuid.uuid4())}
    return rotation_approval(key, public, grace, approved_state)


def pending_rotation(request: HttpRequest, key: ApiKey) -> dict[str, Any] | None:
    """Return the attempt for ``key``: ``kind``, ``public_key`` (base64 of DER), ``grace`` (seconds), ``asked`` (the
    approved state), ``wizard``."""
    state: dict[str, Any] | None = request.session.get(ROTATION)
    return state if state and state["key"] == str(key.pk) and "asked" in state else None


def rotation_approval(
    key: ApiKey, public: PublicKey | None, grace: int, approved_state: dict[str, Any] | None = None
) -> Approval:
    """Return the approval of a rotation.

    SECURITY: bound to the key, the public key and the grace period, so that none of them can be replaced after the SMS
    was sent.
    """
    fingerprint = public.fingerprint if public else ""
    return consent.key_approval(
        KeyPurpose.ROTATE, key, approved_state, kind=kind_of(public), fingerprint=fingerprint, grace=grace
    )


def credential_made(request: HttpRequest, credential: Credential) -> None:
    """Allow this session to see the secret of a new credential, for ten minutes."""
    request.session.pop(ROTATION, None)
    # SECURITY: from the creation, not from now: a repeated submission needs no codes and must not extend the time.
    until = int(credential.created_at.timestamp()) + FIRST_SETTINGS_SECONDS
    request.session[MADE_CREDENTIAL] = {"serial": str(credential.serial), "until": until}


def made_credential_serial(request: HttpRequest) -> str | None:
    """Return the serial of the credential that this session created in the last ten minutes."""
    state = request.session.get(MADE_CREDENTIAL)
    return state["serial"] if state and time.time() < state["until"] else None
