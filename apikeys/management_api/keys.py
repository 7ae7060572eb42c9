"""Keys: list, get, usage, pause, revoke."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction

from accounts import audit
from apikeys.management_api.documents import customers, key_document, keys
from apikeys.management_api.endpoints import Answer, Call, check_match
from apikeys.management_api.problems import invalid, not_found
from apikeys.management_api.reasons import reason_of
from apikeys.management_api.rows import HIGHEST, find, page_of
from apikeys.models import ApiKey
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.usage import queries

MAX_BULK = 200
STOPS = {KeyState.FROZEN: KeyEvent.FROZEN, KeyState.REVOKED: KeyEvent.REVOKED}


def list_keys(call: Call) -> Answer:
    """By id, which is random: a page costs the same however many keys there are."""
    matching = keys()
    if "user" in call.query:
        matching = matching.filter(owner=call.integer("user", default=0, least=0, most=HIGHEST))
    if "after" in call.query:
        matching = matching.filter(pk__gt=_uuid("after", call.query["after"]))
    return page_of(call, matching, key_document)


def get_key(call: Call, key_id: uuid.UUID) -> Answer:
    return 200, key_document(find(keys(), key_id))


def key_usage(call: Call, key_id: uuid.UUID) -> Answer:
    days = queries.month(find(keys(), key_id))
    return 200, {
        "days": [{"day": day.day.isoformat(), "allowed": day.allowed, "refused": day.refused} for day in days]
    }


def pause_key(call: Call, key_id: uuid.UUID) -> Answer:
    return _stop(call, key_id, KeyState.FROZEN)


def revoke_key(call: Call, key_id: uuid.UUID) -> Answer:
    return _stop(call, key_id, KeyState.REVOKED)


def revoke_keys(call: Call) -> Answer:
    """Revoke many keys: those in ``keys``, or all of ``user``. ``dry_run`` is true unless it is said to be false."""
    reason, dry_run = reason_of(call), call.body.get("dry_run", True)
    if not isinstance(dry_run, bool):
        raise invalid("dry_run", "true or false")
    matching = _chosen(call)
    live = [key for key in matching if key.state != KeyState.REVOKED]
    changed = 0 if dry_run else sum(_set_state(call, key, KeyState.REVOKED, reason) for key in live)
    return 200, {
        "dry_run": dry_run,
        "found": len(matching),
        "live": len(live),
        "revoked": changed,
        "keys": [str(key.pk) for key in live],
    }


def _chosen(call: Call) -> list[ApiKey]:
    """Return the keys that a bulk call names, locked, by id: two calls cannot wait for each other."""
    body = call.body
    if ("keys" in body) == ("user" in body):
        raise invalid("keys", "either keys or user")
    if "user" in body:
        if type(body["user"]) is not int or not 0 <= body["user"] < 10**18:
            raise invalid("user", "the number of a user")
        wanted: dict[str, Any] = {"owner": body["user"]}
    else:
        if not isinstance(body["keys"], list) or not 1 <= len(body["keys"]) <= MAX_BULK:
            raise invalid("keys", f"a list of 1 to {MAX_BULK} ids")
        names = {_uuid("keys", name) for name in body["keys"]}
        wanted = {"pk__in": names}
    matching = list(keys().select_for_update(of=("self",)).filter(**wanted).order_by("pk"))
    # A misspelt id must not look like success: the key would stay active.
    is_whole = len(matching) == len(names) if "keys" in body else customers().filter(pk=body["user"]).exists()
    if not is_whole:
        raise not_found()
    return matching


def _stop(call: Call, key_id: uuid.UUID, state: KeyState) -> Answer:
    reason = reason_of(call)
    if not ApiKey.objects.select_for_update().filter(pk=key_id).exists():
        raise not_found()
    key = find(keys(), key_id)
    check_match(call, key_document(key))
    _set_state(call, key, state, reason)
    return 200, key_document(find(keys(), key_id))


def _set_state(call: Call, key: ApiKey, state: KeyState, reason: str) -> bool:
    with transaction.atomic():
        changed = key.set_state(state)
        if changed:
            audit.record(
                STOPS[state], None, customer=key.owner, target=str(key.pk), label=key.label, via="api",
                token=call.token.name, reason=reason,
            )  # fmt: skip
    return changed


def _uuid(field: str, text: Any) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise invalid(field, "the id of a key") from None
