"""Logins that were begun at the provider, in the browser's own session.

A flow is a nonce, a time, and the page to go on to. State, nonce and PKCE verifier of the protocol are derived from
the flow's nonce with a master key, so the session table has nothing with which a login could be completed elsewhere.

SECURITY: against login CSRF and mixed-up answers: an answer is accepted only in the browser that has its flow, and
once. The PKCE verifier and the nonce of another flow do not fit its code.
"""

import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.crypto import constant_time_compare

from accounts.access import logins
from accounts.oidc import provider
from hitobit_portal.http import error_pages
from hitobit_portal.http.context import address_of
from hitobit_portal.security import crypto, ratelimits
from hitobit_portal.security.ratelimits import Rate

FLOWS = "oidc_flows"
LIFETIME_SECONDS = 10 * 60
MOST_FLOWS = 5  # of one browser: tabs. The oldest is dropped.
USE = "oidc-login"


@dataclass(frozen=True)
class Flow:
    """``link_to``: the number of the account that is to be linked; 0 for a login."""

    secret: str
    next_url: str
    link_to: int = 0

    @property
    def state(self) -> str:
        return self._derive("state")

    @property
    def nonce(self) -> str:
        return self._derive("nonce")

    @property
    def verifier(self) -> str:
        return self._derive("verifier")

    def _derive(self, name: str) -> str:
        """Return 64 hexadecimal digits, which a PKCE verifier may have (RFC 7636, 4.1)."""
        key_id = self.secret.partition(":")[0]
        key_id = key_id if key_id in settings.MASTER_KEYS else crypto.current_key_id()
        return crypto.digest_by(key_id, USE, name, self.secret).rpartition(":")[2]


def begin(request: HttpRequest, next_url: str, *, link_to: int = 0) -> Flow:
    """Begin a flow in this browser's session."""
    flow = Flow(logins.new_nonce(), next_url, link_to)
    entry = {"secret": flow.secret, "at": int(time.time()), "next": next_url, "link": link_to}
    request.session[FLOWS] = [*_living(request), entry][-MOST_FLOWS:]
    return flow


def send(request: HttpRequest, next_url: str, *, link_to: int = 0, prompt: str = "") -> HttpResponse:
    """Begin a flow and redirect the browser to the provider's login. Raise `provider.ProviderDownError`."""
    # SECURITY: images and frames of other sites must not fill the session table.
    if request.headers.get("Sec-Fetch-Dest", "document") != "document":
        return error_pages.forbidden(request)
    if (wait := ratelimits.acquire_address(Rate.EXCHANGE_LOGIN_ADDRESS, address_of(request))) is not None:
        return error_pages.too_many(request, wait)
    provider.metadata(is_beginning=True)
    begun = begin(request, next_url, link_to=link_to)
    return redirect(
        provider.authorization_url(
            state=begun.state, nonce=begun.nonce, verifier=begun.verifier, prompt=prompt
        )
    )


def take(request: HttpRequest, state: str) -> Flow | None:
    """Return the flow of this browser with this ``state`` and end it; None if there is none, or it was taken before."""
    for entry in _living(request):
        flow = Flow(entry["secret"], entry["next"], entry.get("link", 0))
        if constant_time_compare(flow.state, state):
            request.session[FLOWS] = [other for other in _living(request) if other != entry]
            # Of parallel requests, all of which have read the session, one continues. An unreachable cache raises.
            used = f"oidc-used|{crypto.tag(USE, 'used', flow.state)}"
            return flow if cache.add(used, 1, LIFETIME_SECONDS) else None
    return None


def _living(request: HttpRequest) -> list[dict[str, Any]]:
    entries = request.session.get(FLOWS, [])
    return [entry for entry in entries if time.time() - entry["at"] <= LIFETIME_SECONDS]
