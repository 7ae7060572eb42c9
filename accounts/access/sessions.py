"""Login sessions: start, check and end them.

A session expires after IDLE_TIMEOUT without a request or MAX_AGE after the login (OWASP ASVS 5.0, 7.3).
"""

import uuid
from contextlib import suppress
from datetime import timedelta

from django.contrib.auth import update_session_auth_hash
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone

from accounts.access import known_browsers, user_agents
from accounts.access.logins import LOGIN_SESSION
from accounts.models import LoginSession, TrustedDevice, User
from hitobit_portal.http.context import address_of

IDLE_TIMEOUT = timedelta(minutes=30)
#: SECURITY: staff pages show data of all customers, so unattended staff sessions end sooner.
STAFF_IDLE_TIMEOUT = timedelta(minutes=15)
MAX_AGE = timedelta(hours=12)
#: "Last seen" is written at most this often: one write a minute and session, not one a request.
SEEN_INTERVAL = timedelta(seconds=60)


def start(request: HttpRequest, user: User, method: str) -> LoginSession:
    """Create the row of a finished login and store its id in the browser's session."""
    session = LoginSession.objects.create(
        user=user,
        address=address_of(request),
        agent=user_agents.from_request(request),
        method=method,
    )
    request.session[LOGIN_SESSION] = str(session.pk)
    return session


def is_alive(request: HttpRequest, user: User) -> bool:
    """Return whether the login of this request is still valid. Update "last seen" if it is."""
    session = current(request, user)
    now = timezone.now()
    if session is None:
        return False
    if session.seen_at < now - idle_timeout(user) or session.started_at < now - MAX_AGE:
        session.delete()
        return False
    if session.seen_at < now - SEEN_INTERVAL:
        # `update()`, not `save()`: a row that another request has deleted must not come back.
        LoginSession.objects.filter(pk=session.pk).update(seen_at=now, address=address_of(request))
    return True


def idle_timeout(user: User) -> timedelta:
    """Return how long a session of the user lives without a request."""
    return STAFF_IDLE_TIMEOUT if user.is_staff else IDLE_TIMEOUT


def current(request: HttpRequest, user: User) -> LoginSession | None:
    """Return the row of this request's login, if it belongs to ``user``."""
    session_id = request.session.get(LOGIN_SESSION)
    if not session_id:
        return None
    with suppress(LoginSession.DoesNotExist):
        return LoginSession.objects.get(pk=session_id, user=user)
    return None


def open_sessions(user: User) -> list[LoginSession]:
    """Return the valid sessions of the user, last seen first."""
    now = timezone.now()
    return list(
        LoginSession.objects.filter(
            user=user, seen_at__gt=now - idle_timeout(user), started_at__gt=now - MAX_AGE
        )
    )


def end(user: User, session_id: uuid.UUID) -> bool:
    """End one session of the user. Return whether it existed."""
    return LoginSession.objects.filter(user=user, pk=session_id).delete()[0] > 0


def end_current(request: HttpRequest) -> None:
    if session_id := request.session.get(LOGIN_SESSION):
        LoginSession.objects.filter(pk=session_id).delete()


def end_all(user: User, keep: HttpRequest | None = None, *, forget_browsers: bool = True) -> bool:
    """End every session, half-finished login and trusted device of the user, except the session of ``keep``.

    Return whether the session of ``keep`` continues: it does not if all sessions were ended elsewhere since ``user``
    was loaded. ``forget_browsers``: also forget every known browser except that of ``keep`` (`known_browsers`).
    """
    # SECURITY: the epoch is part of the session hash, so half-finished logins end as well. The conditional write
    # decides: a session that a freeze ended a moment ago does not come back by being kept here.
    rows = User.objects.filter(pk=user.pk)
    increments = {
        "session_epoch": F("session_epoch") + 1,
        "browser_epoch": F("browser_epoch") + int(forget_browsers),
    }
    if not rows.filter(session_epoch=user.session_epoch).update(**increments):
        rows.update(**increments)
        keep = None
    user.refresh_from_db(fields=["session_epoch", "browser_epoch"])
    TrustedDevice.objects.filter(user=user).delete()
    kept = current(keep, user) if keep is not None else None
    others = LoginSession.objects.filter(user=user)
    (others.exclude(pk=kept.pk) if kept else others).delete()
    if keep is not None:
        update_session_auth_hash(keep, user)
        known_browsers.mark_known(keep, user)
    return keep is not None


def delete_expired() -> int:
    """Delete the rows of expired sessions. Return their number."""
    now = timezone.now()
    expired = LoginSession.objects.filter(seen_at__lt=now - IDLE_TIMEOUT) | LoginSession.objects.filter(
        started_at__lt=now - MAX_AGE
    )
    return expired.delete()[0]
