"""Browsers that skip the login's second factor for 30 days. They skip nothing else: keys always take both codes."""

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
MAX_DEVICES = 10  # a person's; the oldest goes
COOKIE = "__Host-device" if settings.SECURE else "device"
USE = "trusted-device"


def trust(request: HttpRequest, response: HttpResponse, user: User) -> bool:
    """Set the cookie that stands for the second factor of later logins. Return False for staff, who are never trusted."""
    # SECURITY: staff reach every customer's page; their second factor is asked for at every login.
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
    """This browser among those that ``user`` trusts. ``user`` is None for a number that nobody has: the same work."""
    token = request.COOKIES.get(COOKIE, "")[:100]
    if not token:
        return None
    pk = user.pk if user is not None else 0
    for device in TrustedDevice.objects.filter(user_id=pk, expires_at__gt=timezone.now()):
        if user is not None and crypto.matches(device.digest, USE, *_owner(user), token):
            return device
    return None


def recognise(request: HttpRequest, user: User) -> bool:
    """Whether this browser is trusted by ``user`` and skips the second factor; notes that it was used."""
    device = find(request, user)
    # SECURITY: a customer who trusted a browser may have become staff since.
    if device is None or user.is_staff:
        return False
    now = timezone.now()
    return TrustedDevice.objects.filter(pk=device.pk).update(used_at=now, address=address_of(request)) == 1


def forget(request: HttpRequest, user: User) -> None:
    """Logging out on purpose ends the trust in this browser (its cookie goes with `Clear-Site-Data`)."""
    token = request.COOKIES.get(COOKIE, "")[:100]
    for device in TrustedDevice.objects.filter(user=user) if token else ():
        if crypto.matches(device.digest, USE, *_owner(user), token):
            device.delete()


def _digest(user: User, token: str) -> str:
    return crypto.digest(USE, *_owner(user), token)


def _owner(user: User) -> tuple[str, str]:
    # SECURITY: a login that was half done when all sessions were ended must not leave trust behind: its epoch is over.
    return str(user.pk), str(user.session_epoch)
