"""How a decision is said to a gateway, in each of the three forms. Pure: no ORM, no Django."""

from __future__ import annotations

import json
from typing import Any

from apikeys.gateway.authorizer import Verdict
from apikeys.verification.decision import KeyRecord

Header = tuple[str, str]
_ORDER = ("read", "trade", "withdraw")
JSON: Header = ("content-type", "application/json")
#: Decisions are for one request, here and in whatever stands between.
NO_STORE: Header = ("cache-control", "no-store")
_PERMISSIONS: dict[frozenset[str], Header] = {}
_LINES: dict[Header, bytes] = {}


def allowed_headers(record: KeyRecord) -> list[Header]:
    """What the proxy may hand on to the exchange's own services."""
    permissions = _PERMISSIONS.get(record.permissions)
    if permissions is None:
        permissions = ("x-portal-permissions", ",".join(ordered(record)))
        _PERMISSIONS[record.permissions] = permissions
    return [("x-portal-user", record.user), ("x-portal-key", record.key), permissions]


def said_of(record: KeyRecord) -> tuple[bytes, bytes]:
    """The same as it stands on the wire: the user, and what follows the key up to the end of the header."""
    permissions = allowed_headers(record)[2]
    lines = _LINES.get(permissions)
    if lines is None:
        lines = _LINES[permissions] = f"\r\n{permissions[0]}: {permissions[1]}\r\n\r\n".encode("ascii")
    return record.user.encode("ascii"), lines


def ordered(record: KeyRecord) -> list[str]:
    return [name for name in _ORDER if name in record.permissions]


def refused_headers(verdict: Verdict) -> list[Header]:
    """From which the proxy makes the client's body; the sub-request itself is answered 401 or 403."""
    decision = verdict.decision
    found = [
        NO_STORE,
        ("x-portal-code", str(decision.code)),
        ("x-portal-status", str(decision.status)),
        ("x-portal-message", decision.msg),
    ]
    return [*found, *retry_after(verdict)]


def retry_after(verdict: Verdict) -> list[Header]:
    return [("retry-after", str(verdict.retry_after))] if verdict.retry_after else []


def document(verdict: Verdict) -> dict[str, Any]:
    """One decision of ``/authorize``."""
    decision, record = verdict.decision, verdict.record
    if decision.allowed and record is not None:
        return {"allowed": True, "user": record.user, "key": record.key, "permissions": ordered(record)}
    found = {"allowed": False, "status": decision.status, "code": decision.code, "msg": decision.msg}
    return {**found, **({"retry_after": verdict.retry_after} if verdict.retry_after else {})}


def client_body(verdict: Verdict) -> str:
    """What the client itself gets (Envoy hands it on as it is)."""
    return json.dumps({"code": verdict.decision.code, "msg": verdict.decision.msg})
