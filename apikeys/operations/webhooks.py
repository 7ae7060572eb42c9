"""What messages of webhooks say of keys."""

import uuid
from collections.abc import Sequence

from accounts.models import AuditEvent
from accounts.webhooks import documents
from accounts.webhooks.documents import Member
from apikeys.models import ApiKey
from apikeys.policy.events import KeyEvent

#: Details of events of keys and of the management API that are sent, with what they are.
DETAILS = {
    "approved": "Whether a request of a new address was approved",
    "changes": "Changes of a key: `+trade`, `-203.0.113.7`, `ip:trusted`, `expires:OLD>NEW` ...",
    "expires_at": "When a management token expires",
    "network": "The network from which a key was used",
    "networks": "Networks of a management token",
    "path": "The path of the management API that was called",
    "scopes": "Scopes of a management token",
    "status": "The status of a call of the management API",
}
_VALUES = frozenset(event.value for event in KeyEvent if event.value.startswith("key."))


def public_ids(events: Sequence[AuditEvent]) -> dict[int, str]:
    """Return the public id of the key of each event that is about one. One query."""
    keys = {event.pk: event.target for event in events if event.event in _VALUES and _is_uuid(event.target)}
    known = {
        str(pk): key_id
        for pk, key_id in ApiKey.objects.filter(pk__in=set(keys.values())).values_list("pk", "key_id")
    }
    return {pk: known[target] for pk, target in keys.items() if target in known}


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def register() -> None:
    """Register member and details with `accounts.webhooks.documents`. Called by `ApiKeysConfig.ready()`."""
    documents.DETAILS.register(DETAILS)
    documents.MORE.register({"api_key": Member("Public id of the key, as clients send it", public_ids)})
