"""Error pages, and their JSON twins for machines."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import loader
from django.utils import timezone
from redis.exceptions import RedisError

#: A dependency that is down.
FAULTS = (OperationalError, InterfaceError, RedisError)
MACHINE_PREFIXES = ("/api/", "/sapi/", "/gateway/")
#: Programs compare these texts: they are English whatever language somebody chose for the pages.
MACHINE_MESSAGES = {404: "Not found.", 405: "Method not allowed.", 429: "Too many requests."}
MACHINE_CODES = {429: -1003}
UNKNOWN_ERROR = "An unknown error occurred while processing the request."


def for_machines(request: HttpRequest) -> bool:
    return request.path.startswith(MACHINE_PREFIXES)


def for_programs(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: whoever made it, an error below `MACHINE_PREFIXES` is JSON."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        is_json = response.get("Content-Type", "").startswith("application/json")
        if response.status_code >= 400 and not is_json and for_machines(request):
            said = {
                "code": MACHINE_CODES.get(response.status_code, -1000),
                "msg": MACHINE_MESSAGES.get(response.status_code, UNKNOWN_ERROR),
            }
            response.content = json.dumps(said)
            response["Content-Type"] = "application/json"
            response["Content-Length"] = str(len(response.content))
        return response

    return middleware


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
        return HttpResponse(status=status)  # `for_programs` says the rest, and nothing here can fail
    # No context processors: they read the session and the user, and those may be what failed.
    page = loader.get_template(f"{status}.html").render({"request_id": getattr(request, "request_id", "")})
    return HttpResponse(page, status=status)
