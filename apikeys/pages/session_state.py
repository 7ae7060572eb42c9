"""What the session remembers while a key is being made or changed; never a code and never a secret."""

import time
import uuid
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from accounts.choices.approvals import Approval
from apikeys.actions import consent
from apikeys.models import ApiKey, Credential
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import FIRST_SETTINGS_SECONDS, KeyState
from apikeys.policy.public_keys import PublicKey
from apikeys.policy.settings_change import Settings, SettingsChange
from apikeys.verification.signing import Kind

NEW_KEY = "new_key"
MADE_KEY = "made_key"
CHANGE = "key_change"


def begin(request: HttpRequest, name: str, wizard: uuid.UUID, public: PublicKey | None = None) -> None:
    """Remembers a key to be made. The same once more (a double click) is the same attempt."""
    wanted = {"name": name, **_as_json(public)}
    pending = request.session.get(NEW_KEY, {})
    if {**pending, "wizard": ""} != {**wanted, "wizard": ""}:
        request.session[NEW_KEY] = {**wanted, "wizard": str(wizard)}


def _as_json(public: PublicKey | None) -> dict[str, str]:
    """SECURITY: of a pair the session knows the public half only."""
    if public is None:
        return {"kind": Kind.HMAC.value, "public_key": ""}
    return {"kind": public.kind.value, "public_key": public.encoded}


def pending_public(pending: dict[str, Any]) -> PublicKey | None:
    """The public key of an attempt that the session remembers; None for a secret."""
    encoded = pending.get("public_key", "")
    return PublicKey(Kind(pending["kind"]), encoded) if encoded else None


def create_approval(name: str, public: PublicKey | None = None) -> Approval:
    """SECURITY: bound to the public key: it can't be swapped for a thief's after the SMS went out."""
    content = {"name": name, "kind": kind_of(public), "key": public.fingerprint if public else ""}
    return Approval(KeyPurpose.CREATE, content, {"name": name})


def kind_of(public: PublicKey | None) -> str:
    return (public.kind if public else Kind.HMAC).value


def key_facts(public: PublicKey | None) -> list[tuple[str, str, bool]]:
    """Kind and fingerprint, as the page of the codes shows them."""
    facts = [(_("Kind"), str(Credential.Kind(kind_of(public)).label), True)]
    if public is not None:
        facts.append((_("Fingerprint"), public.fingerprint, True))
    return facts


def made(request: HttpRequest, key: ApiKey) -> None:
    """The key exists: this session may see its secret and give its first settings, for ten minutes."""
    request.session.pop(NEW_KEY, None)
    # SECURITY: from the key's birth, not from now: a repeated submission needs no right codes and must not prolong it.
    until = int(key.created_at.timestamp()) + FIRST_SETTINGS_SECONDS
    request.session[MADE_KEY] = {"key": str(key.pk), "until": until}


def made_key(request: HttpRequest) -> str | None:
    """The id of the key that this session made in the last ten minutes."""
    state = request.session.get(MADE_KEY)
    return state["key"] if state and time.time() < state["until"] else None


def is_fresh(request: HttpRequest, key: ApiKey) -> bool:
    """Whether first settings need no codes: made in this session, ten minutes ago at most, and none were given yet."""
    return key.state == KeyState.ACTIVE and key.first_settings_at is None and made_key(request) == str(key.pk)


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
    """The change that waits for its codes, and `consent.state_of` the key when they were asked for."""
    state: dict[str, Any] | None = request.session.get(CHANGE)
    if not state or state["key"] != str(key.pk) or "asked" not in state:
        return None
    return SettingsChange(Settings.from_json(state["before"]), Settings.from_json(state["after"])), state[
        "asked"
    ]


def end_change(request: HttpRequest) -> None:
    request.session.pop(CHANGE, None)


def change_approval(
    key: ApiKey, change: SettingsChange, approved_state: dict[str, Any] | None = None
) -> Approval:
    """Bound to the key and to what it is changed from and to: neither can be swapped after the SMS went out."""
    words = {"changes": _("; ").join(change.lines(short=True))}
    return consent.key_approval(
        KeyPurpose.CHANGE,
        key,
        approved_state,
        words,
        before=change.before.as_json(),
        after=change.after.as_json(),
    )
