"""Which login a request belongs to. Every code that is sent, and every seed that is shown, counts in that login alone.

A request belongs to a finished login, to a half-finished one, or to a way that is taken before a login (sign-up,
"forgotten password"). Each has a nonce: a name that no other login has.
"""

import base64
import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from accounts.choices.approvals import Purpose
from accounts.models import LoginSession, User
from hitobit_portal.security import crypto

#: Keys of the session: the half-finished login, the finished one (id of its `LoginSession`), the ways before a login.
PENDING = "pending_login"
LOGIN_SESSION = "login_session"
SIGN_UP, FORGOT = "sign_up", "forgot"
PRE_LOGIN_KEYS = {Purpose.SIGN_UP: SIGN_UP, Purpose.FORGOT: FORGOT}
SEED_BYTES = 20  # 160 bits, as RFC 4226 recommends; 32 characters of base32


def new_nonce() -> str:
    """``<master key>:<32 hex digits>``. The key's id is kept so that `derive_seed` stays the same when a key is added."""
    return f"{crypto.current_key_id()}:{secrets.token_hex(16)}"


def current_nonce(request: HttpRequest, user: User, purpose: Purpose) -> str:
    """The nonce of the login in which ``request`` asks ``user`` for ``purpose``; "" when that login is over.

    ``user``: the row as it is now. Called under `otp.lock`, so that what ended the login is seen.
    """
    session = request.session
    login_state: Any
    if purpose in PRE_LOGIN_KEYS:
        login_state = session.get(PRE_LOGIN_KEYS[purpose])
        # SECURITY: the account may have got another number since this one was typed.
        if not isinstance(login_state, dict) or login_state.get("phone") != user.phone:
            return ""
        return str(login_state.get("nonce", ""))
    # SECURITY: the session was read when the request began. A login that was ended since then (another password,
    # another number, a freeze) must not do its work any more, so the row is asked again.
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


def belongs_to(pending: dict[str, object], user: User) -> bool:
    """Whether this half-finished login is one of ``user`` (the row as it is now) that goes on."""
    is_current = constant_time_compare(str(pending.get("hash", "")), user.get_session_auth_hash())
    return pending.get("user") == user.pk and user.is_active and is_current


def digest(nonce: str) -> str:
    """What stands for the login in the database."""
    return hashlib.sha256(nonce.encode()).hexdigest()


def derive_seed(nonce: str, user: User) -> str:
    """The seed (base32) of an authenticator that ``user`` sets up in the login (or by the proof) of this nonce.

    SECURITY: derived, and stored nowhere before its first code was typed: two logins never see the same seed, and
    what one of them shows is known to no other.
    """
    key_id = nonce.partition(":")[0]
    key_id = key_id if key_id in settings.MASTER_KEYS else crypto.current_key_id()
    raw = bytes.fromhex(crypto.digest_by(key_id, "totp-seed", str(user.pk), nonce).rpartition(":")[2])
    return base64.b32encode(raw[:SEED_BYTES]).decode()
