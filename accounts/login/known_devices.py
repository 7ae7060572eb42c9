"""Detect logins from new devices. This is a hint for users: nothing is refused because of it."""

import ipaddress
from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone

from accounts.access import user_agents
from accounts.choices.events import Event
from accounts.models import AuditEvent, User
from hitobit_portal.http.context import address_of

HISTORY = timedelta(days=90)
#: Providers move their customers within networks of about this size.
PREFIX = {4: 16, 6: 32}


def is_new(request: HttpRequest, user: User) -> bool:
    """Return whether no login of the last 90 days had this combination of browser, system and network.

    Call it before the login records its own event. The first login of an account is no new device.
    """
    logins = AuditEvent.objects.filter(customer=user, event=Event.LOGIN.value).order_by()
    recent = logins.filter(at__gt=timezone.now() - HISTORY)
    seen = {_fingerprint(*pair) for pair in recent.values_list("agent", "address").distinct()}
    if _fingerprint(user_agents.from_request(request), address_of(request)) in seen:
        return False
    return bool(seen) or logins.exists()


def _fingerprint(agent: str, address: str) -> tuple[str, str]:
    return user_agents.describe(agent), network_of(address)


def network_of(address: str) -> str:
    """Return the IPv4 /16 or IPv6 /32 network of an address, "" if the text is no address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(ipaddress.ip_network((ip, PREFIX[ip.version]), strict=False))
