"""Back-channel logout: the provider says that a customer has logged out there (Back-Channel Logout 1.0)."""

import hashlib
import time

from django.core.cache import cache
from django.db import transaction
from django.http import HttpRequest

from accounts import audit
from accounts.access import sessions
from accounts.choices import external_ids
from accounts.choices.events import Event
from accounts.models import User
from accounts.oidc import tokens


def end_sessions(request: HttpRequest, text: str, *, may_ask: bool) -> None:
    """End all sessions and half-finished logins of the customer whom the logout token names. Raise `TokenError`.

    All of them, also if the token names one session (``sid``): after a logout, none should be left that somebody
    forgot. Browsers stay known to the account, because its owner has not changed.
    """
    claims = tokens.verify_logout_token(text, may_ask=may_ask)
    if not external_ids.is_external_id(claims["sub"]):
        return
    # SECURITY: a token that was seen on its way must not end the sessions again and again.
    seen = f"oidc-logout|{hashlib.sha256(claims['jti'].encode()).hexdigest()}"
    if not cache.add(seen, 1, max(1, int(claims["exp"] - time.time()) + 2 * tokens.LEEWAY)):
        raise tokens.TokenError("used before")
    try:
        with transaction.atomic():
            user = User.objects.filter(external_id=claims["sub"]).first()
            # Staff do not log in by the provider, so it does not end their sessions.
            if user is not None and not user.is_staff:
                had_sessions = bool(sessions.open_sessions(user))
                sessions.end_all(user, forget_browsers=False)
                if had_sessions:
                    audit.record(Event.SESSIONS_ENDED_BY_EXCHANGE, request, customer=user)
    except Exception:
        cache.delete(seen)  # the provider may send it again
        raise
