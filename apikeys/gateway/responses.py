"""Format an authorization result as headers or JSON, for each form of a request. Pure: no Django."""

from __future__ import annotations

import json
from typing import Any

from apikeys.gateway.authorizer import AuthorizationResult
from apikeys.gateway.requests import Security
from apikeys.verification.records import KeyRecord

Header = tuple[str, str]
_PERMISSION_ORDER = ("read", "trade", "withdraw")
JSON: Header = ("content-type", "application/json")
#: A decision is valid for one request; no cache may store it.
NO_STORE: Header = ("cache-control", "no-store")
_PERMISSION_HEADERS: dict[frozenset[str], Header] = {}
_PERMISSION_LINES: dict[Header, bytes] = {}


def allowed_headers(result: AuthorizationResult) -> list[Header]:
    """Return the headers that a proxy may pass on to the exchange's own services.

    ``X-Portal-Security`` says what was checked. A user and a key are named only if there is a key; with "key", its
    holder did not prove to be the sender. ``X-Portal-Subject`` is the exchange's own id of the user, if it is known.
    """
    security = ("x-portal-security", result.security.value)
    record = result.record
    if record is None:
        return [security]
    subject = [("x-portal-subject", record.subject)] if record.subject else []
    return [
        ("x-portal-user", record.user),
        *subject,
        ("x-portal-key", record.key),
        _permissions(record),
        security,
    ]


def _permissions(record: KeyRecord) -> Header:
    permissions = _PERMISSION_HEADERS.get(record.permissions)
    if permissions is None:
        permissions = ("x-portal-permissions", ",".join(ordered_permissions(record)))
        _PERMISSION_HEADERS[record.permissions] = permissions
    return permissions


def fast_path_header_parts(record: KeyRecord) -> tuple[bytes, bytes]:
    """Return the same for a signed request as bytes: the user with the subject, and everything behind the key up to
    the end of the header block."""
    permissions = _permissions(record)
    lines = _PERMISSION_LINES.get(permissions)
    if lines is None:
        security = f"x-portal-security: {Security.SIGNED.value}"
        lines = f"\r\n{permissions[0]}: {permissions[1]}\r\n{security}\r\n\r\n".encode("ascii")
        _PERMISSION_LINES[permissions] = lines
    user = f"{record.user}\r\nx-portal-subject: {record.subject}" if record.subject else record.user
    return user.encode("ascii"), lines


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
    if decision.allowed and record is None:
        return {"allowed": True}
    if decision.allowed and record is not None:
        permissions = ordered_permissions(record)
        subject = {"subject": record.subject} if record.subject else {}
        return {
            "allowed": True,
            "user": record.user,
            **subject,
            "key": record.key,
            "permissions": permissions,
        }
    rejection = {"allowed": False, "status": decision.status, "code": decision.code, "msg": decision.msg}
    return {**rejection, **({"retry_after": result.retry_after} if result.retry_after else {})}


#: Body of 503 for the client: no decision is possible.
UNAVAILABLE_BODY = json.dumps(
    {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}
)
#: Body of 408 for the client.
TIMEOUT_BODY = json.dumps({"code": -1000, "msg": "The request body was not received in time."})


def client_body(result: AuthorizationResult) -> str:
    """Return the body for the client itself, which a proxy passes on unchanged."""
    return json.dumps({"code": result.decision.code, "msg": result.decision.msg})
