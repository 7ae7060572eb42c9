"""What the session remembers while a key gets another credential; of a pair the public half, never a secret."""

import time
import uuid
from typing import Any

from django.http import HttpRequest

from accounts.choices.approvals import Approval
from apikeys.actions import consent
from apikeys.models import ApiKey, Credential
from apikeys.pages.session_state import kind_of, pending_public
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import FIRST_SETTINGS_SECONDS
from apikeys.policy.public_keys import PublicKey

ROTATION = "key_rotation"
MADE_CREDENTIAL = "made_credential"


def begin(request: HttpRequest, key: ApiKey, public: PublicKey | None, grace: int) -> Approval:
    """Remembers the credential to be made. The same once more (a double click) is the same attempt."""
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
    return approval(key, public, grace, approved_state)


def pending(request: HttpRequest, key: ApiKey) -> dict[str, Any] | None:
    """The attempt for ``key``: ``kind``, ``public_key`` (base64 of DER), ``grace`` (seconds), ``asked``, ``wizard``."""
    state: dict[str, Any] | None = request.session.get(ROTATION)
    return state if state and state["key"] == str(key.pk) and "asked" in state else None


def public_of(state: dict[str, Any]) -> PublicKey | None:
    return pending_public(state)


def approval(
    key: ApiKey, public: PublicKey | None, grace: int, approved_state: dict[str, Any] | None = None
) -> Approval:
    """SECURITY: bound to the key, the public key and the grace: none of them is swapped after the SMS went out."""
    fingerprint = public.fingerprint if public else ""
    return consent.key_approval(
        KeyPurpose.ROTATE, key, approved_state, kind=kind_of(public), fingerprint=fingerprint, grace=grace
    )


def made(request: HttpRequest, credential: Credential) -> None:
    """The credential exists: this session may see its secret, for ten minutes."""
    request.session.pop(ROTATION, None)
    # SECURITY: from its birth, not from now: a repeated submission needs no right codes and must not prolong it.
    until = int(credential.created_at.timestamp()) + FIRST_SETTINGS_SECONDS
    request.session[MADE_CREDENTIAL] = {"serial": str(credential.serial), "until": until}


def made_serial(request: HttpRequest) -> str | None:
    """The serial of the credential that this session made in the last ten minutes."""
    state = request.session.get(MADE_CREDENTIAL)
    return state["serial"] if state and time.time() < state["until"] else None
