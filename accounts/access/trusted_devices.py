"""Trusted devices: browsers that skip the second factor of the login for 30 days. Operations on keys always need both
codes.
"""

import secrets
from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.access import user_agents
from accounts.models import TrustedDevice, User
from hitobit_portal.http.context import address_of
from hitobit_portal.security import crypto

LIFETIME = timedelta(days=30)
MAX_DEVICES = 10  # for each user; the oldest is removed
COOKIE = "__Host-device" if settings.SECURE else "device"
USE = "trusted-device"


def trust(request: HttpRequest, response: HttpResponse, user: User) -> bool:
    """Set the cookie that replaces the second factor of later logins. Return False for staff, who are never trusted."""
    # SECURITY: staff have access to every customer's page, so every login of theirs needs the second factor.
    if user.is_staff:
        return False
    token = secrets.token_urlsafe(32)
    TrustedDevice.objects.create(
        user=user,
        digest=_digest(user, token),
        agent=user_agents.from_request(request),
        address=address_of(request),
        expires_at=timezone.now() + LIFETIME,
    )
    kept = TrustedDevice.objects.filter(user=user).order_by("-pk").values_list("pk", flat=True)[:MAX_DEVICES]
    TrustedDevice.objects.filter(user=user).exclude(pk__in=list(kept)).delete()
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(LIFETIME.total_seconds()),
        secure=settings.SECURE,
        httponly=True,
        samesite="Lax",
    )
    return True


def find(request: HttpRequest, user: User | None) -> TrustedDevice | None:
    """Return the trusted device of this browser. ``user`` is None for a number without an account: the work is the
    same.
    """
    token = request.COOKIES.get(COOKIE, "")[:100]
    if not token:
        return None
    pk = user.pk if user is not None else 0
    for device in TrustedDevice.objects.filter(user_id=pk, expires_at__gt=timezone.now()):
        if user is not None and crypto.matches(device.digest, USE, *_owner(user), token):
            return device
    return None


def recognise(request: HttpRequest, user: User) -> bool:
    """Return whether this browser skips the second factor for ``user``, and record its use."""
    device = find(request, user)
    # SECURITY: a customer who trusted a browser may have become staff since.
    if device is None or user.is_staff:
        return False
    now = timezone.now()
    return TrustedDevice.objects.filter(pk=device.pk).update(used_at=now, address=address_of(request)) == 1


def forget(request: HttpRequest, user: User) -> None:
    """End the trust in this browser, at a logout (its cookie is removed by `Clear-Site-Data`)."""
    token = request.COOKIES.get(COOKIE, "")[:100]
    for device in TrustedDevice.objects.filter(user=user) if token else ():
        if crypto.matches(device.digest, USE, *_owner(user), token):
            device.delete()


def _digest(user: User, token: str) -> str:
    return crypto.digest(USE, *_owner(user), token)


def _owner(user: User) -> tuple[str, str]:
    # SECURITY: the epoch makes a trust void that a half-finished login creates after all sessions were ended.
    return str(user.pk), str(user.session_epoch)
