"""Nonces: the login that a request belongs to. Each SMS code and each seed is valid in one login only.

A request belongs to a finished login, to a half-finished login, or to a pre-login flow (sign-up, "forgotten
password"). Each has a unique nonce.
"""

import base64
import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from accounts.choices.approvals import ApprovalPurpose, Purpose
from accounts.models import LoginSession, User
from hitobit_portal.security import crypto

#: Session keys: the half-finished login, the finished login (id of its `LoginSession`), and the pre-login flows.
PENDING = "pending_login"
LOGIN_SESSION = "login_session"
SIGN_UP, FORGOT = "sign_up", "forgot"
PRE_LOGIN_KEYS: dict[ApprovalPurpose, str] = {Purpose.SIGN_UP: SIGN_UP, Purpose.FORGOT: FORGOT}
SEED_BYTES = 20  # 160 bits, as RFC 4226 recommends; 32 characters of base32


def new_nonce() -> str:
    """Return ``<master key id>:<32 hex digits>``. The key id keeps `derive_seed` stable when a master key is added."""
    return f"{crypto.current_key_id()}:{secrets.token_hex(16)}"


def current_nonce(request: HttpRequest, user: User, purpose: ApprovalPurpose) -> str:
    """Return the nonce of the login of ``request`` for ``purpose``; "" if that login has ended.

    ``user`` is the current row. Call it under `verification.lock`, so that an event which ended the login is visible.
    """
    session = request.session
    login_state: Any
    if purpose in PRE_LOGIN_KEYS:
        login_state = session.get(PRE_LOGIN_KEYS[purpose])
        # SECURITY: the account's number may have changed since this one was typed.
        if not isinstance(login_state, dict) or login_state.get("phone") != user.phone:
            return ""
        return str(login_state.get("nonce", ""))
    # SECURITY: the session was read when the request began. A login that ended since then (new password, new number,
    # freeze) must not continue, so the row is checked again.
    login_state = session.get(PENDING)
    if isinstance(login_state, dict):
        return str(login_state.get("nonce", "")) if belongs_to(login_state, user) else ""
    is_same_user = session.get(SESSION_KEY) == str(user.pk) and user.is_active
    is_current = constant_time_compare(session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
    if not is_same_user or not is_current:
        return ""
    session_id = session.get(LOGIN_SESSION)
    return (
        str(session_id)
        if session_id and LoginSession.objects.filter(pk=session_id, user=user).exists()
        else ""
    )


def is_complete(request: HttpRequest, purpose: ApprovalPurpose) -> bool:
    """Return whether ``purpose`` is approved in a complete login, whose nonce `current_nonce` has found."""
    return purpose not in PRE_LOGIN_KEYS and not isinstance(request.session.get(PENDING), dict)


def belongs_to(pending: dict[str, object], user: User) -> bool:
    """Return whether this half-finished login belongs to ``user`` (the current row) and is still valid."""
    is_current = constant_time_compare(str(pending.get("hash", "")), user.get_session_auth_hash())
    return pending.get("user") == user.pk and user.is_active and is_current


def digest(nonce: str) -> str:
    """Return the digest that identifies the login in the database."""
    return hashlib.sha256(nonce.encode()).hexdigest()


def derive_seed(nonce: str, user: User) -> str:
    """Return the seed (base32) of the authenticator that ``user`` sets up in the login, or by the step-up, with this
    nonce.

    SECURITY: the seed is derived, and not stored before its first code was entered. Two logins never see the same
    seed.
    """
    key_id = nonce.partition(":")[0]
    key_id = key_id if key_id in settings.MASTER_KEYS else crypto.current_key_id()
    raw = bytes.fromhex(crypto.digest_by(key_id, "totp-seed", str(user.pk), nonce).rpartition(":")[2])
    return base64.b32encode(raw[:SEED_BYTES]).decode()
