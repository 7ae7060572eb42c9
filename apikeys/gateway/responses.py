"""Format an authorization result as headers or JSON, for each of the three forms of a request. Pure: no Django."""

from __future__ import annotations

import json
from typing import Any

from apikeys.gateway.authorizer import AuthorizationResult
from apikeys.verification.records import KeyRecord

Header = tuple[str, str]
_PERMISSION_ORDER = ("read", "trade", "withdraw")
JSON: Header = ("content-type", "application/json")
#: A decision is valid for one request; no cache may store it.
NO_STORE: Header = ("cache-control", "no-store")
_PERMISSION_HEADERS: dict[frozenset[str], Header] = {}
_PERMISSION_LINES: dict[Header, bytes] = {}


def allowed_headers(record: KeyRecord) -> list[Header]:
    """Return the headers that a proxy may pass on to the exchange's own services."""
    permissions = _PERMISSION_HEADERS.get(record.permissions)
    if permissions is None:
        permissions = ("x-portal-permissions", ",".join(ordered_permissions(record)))
        _PERMISSION_HEADERS[record.permissions] = permissions
    return [("x-portal-user", record.user), ("x-portal-key", record.key), permissions]


def fast_path_header_parts(record: KeyRecord) -> tuple[bytes, bytes]:
    """Return the same as bytes: the user, and everything behind the key up to the end of the header block."""
    permissions = allowed_headers(record)[2]
    lines = _PERMISSION_LINES.get(permissions)
    if lines is None:
        lines = f"\r\n{permissions[0]}: {permissions[1]}\r\n\r\n".encode("ascii")
        _PERMISSION_LINES[permissions] = lines
    return record.user.encode("ascii"), lines


def ordered_permissions(record: KeyRecord) -> list[str]:
    return [name for name in _PERMISSION_ORDER if name in record.permissions]


def rejection_headers(result: AuthorizationResult) -> list[Header]:
    """Return the headers from which a proxy builds the client's response; the sub-request itself gets 401 or 403."""
    decision = result.decision
    headers = [
        NO_STORE,
        ("x-portal-code", str(decision.code)),
        ("x-portal-status", str(decision.status)),
        ("x-portal-message", decision.msg),
    ]
    return [*headers, *retry_after_headers(result)]


def retry_after_headers(result: AuthorizationResult) -> list[Header]:
    return [("retry-after", str(result.retry_after))] if result.retry_after else []


def result_document(result: AuthorizationResult) -> dict[str, Any]:
    """Return one decision of ``/authorize``."""
    decision, record = result.decision, result.record
    if decision.allowed and record is not None:
        permissions = ordered_permissions(record)
        return {"allowed": True, "user": record.user, "key": record.key, "permissions": permissions}
    rejection = {"allowed": False, "status": decision.status, "code": decision.code, "msg": decision.msg}
    return {**rejection, **({"retry_after": result.retry_after} if result.retry_after else {})}


def client_body(result: AuthorizationResult) -> str:
    """Return the body for the client itself, which Envoy passes on unchanged."""
    return json.dumps({"code": result.decision.code, "msg": result.decision.msg})
