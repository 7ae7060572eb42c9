"""Error pages, and their JSON twins for machines."""

import sys
from datetime import timedelta

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template import loader
from django.utils import timezone
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

#: A dependency that is down.
FAULTS = (OperationalError, InterfaceError, RedisError)
MACHINE_PREFIXES = ("/api/", "/sapi/", "/gateway/")


def for_machines(request: HttpRequest) -> bool:
    return request.path.startswith(MACHINE_PREFIXES)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(request, 400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(request, 403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Sessions and people are loaded before a view is called, where no middleware sees the exception."""
    if isinstance(sys.exc_info()[1], FAULTS):
        return unavailable(request)
    return _page(request, 500)


def unavailable(request: HttpRequest) -> HttpResponse:
    """A dependency is down: nothing was allowed, nothing was half done, try again."""
    response = _page(request, 503)
    response["Retry-After"] = "5"
    return response


def too_many(request: HttpRequest, retry_after: int) -> HttpResponse:
    """429 with when to try again (seconds)."""
    retry_at = timezone.now() + timedelta(seconds=retry_after)
    context = {"retry_after": retry_after, "retry_at": retry_at, "retry_url": request.path}
    response = render(request, "429.html", context, status=429)
    response["Retry-After"] = str(retry_after)
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render(request, "403_csrf.html", status=403)


def _page(request: HttpRequest, status: int) -> HttpResponse:
    if for_machines(request):
        body = {"code": -1000, "msg": "An unknown error occurred while processing the request."}
        return JsonResponse({**body, "msg": _not_found_message()} if status == 404 else body, status=status)
    # No context processors: they read the session and the user, and those may be what failed.
    page = loader.get_template(f"{status}.html").render({"request_id": getattr(request, "request_id", "")})
    return HttpResponse(page, status=status)


def _not_found_message() -> str:
    return str(_("Not found."))
