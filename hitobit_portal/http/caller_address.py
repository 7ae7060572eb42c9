"""``/ip``: the caller's address as the portal sees it, so that people find what to put on a key's allow-list."""

from ipaddress import ip_address

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from hitobit_portal.http.context import address_of
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate


@never_cache
@require_safe
def caller_address(request: HttpRequest) -> HttpResponse:
    """Respond with one line, ``203.0.113.7 IPv4``: the caller's address and its family, and nothing else."""
    address = address_of(request)
    try:
        version = ip_address(address).version
    except ValueError:  # the proxy's headers do not say it
        return _text("The address is unknown.", status=503)
    wait = ratelimits.acquire_address(Rate.CALLER_ADDRESS, address)
    if wait is not None:
        headers = {"Retry-After": str(wait)}
        return _text(f"Too many requests. Try again in {wait} seconds.", status=429, headers=headers)
    return _text(f"{address} IPv{version}")


def _text(line: str, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(f"{line}\n", content_type="text/plain; charset=utf-8", status=status, headers=headers)
