"""Error pages, and the same errors as JSON for API clients."""

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

from hitobit_portal import database

#: Exceptions that mean that a dependency is down.
FAULTS = (OperationalError, InterfaceError, RedisError)
#: The management API, whose errors are problem documents (RFC 9457).
PROBLEM_PREFIX = "/manage/"
API_PREFIXES = ("/api/", "/sapi/", "/gateway/", PROBLEM_PREFIX)
PROBLEM_TYPE = "application/problem+json"
#: API clients compare these texts, so they are English in every language of the pages.
API_MESSAGES = {404: "Not found.", 405: "Method not allowed.", 429: "Too many requests."}
API_CODES = {429: -1003}
UNKNOWN_ERROR = "An unknown error occurred while processing the request."


def is_for_api(request: HttpRequest) -> bool:
    return request.path.startswith(API_PREFIXES)


def for_programs(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that turns every error below `API_PREFIXES` into JSON, wherever it comes from."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        is_json = response.get("Content-Type", "").startswith(("application/json", PROBLEM_TYPE))
        if response.status_code >= 400 and not is_json and is_for_api(request):
            is_problem = request.path.startswith(PROBLEM_PREFIX)
            error: dict[str, str | int] = {
                "code": API_CODES.get(response.status_code, -1000),
                "msg": API_MESSAGES.get(response.status_code, UNKNOWN_ERROR),
            }
            if is_problem:
                error = {"type": "about:blank", "title": str(error["msg"]), "status": response.status_code}
            response.content = json.dumps(error)
            response["Content-Type"] = PROBLEM_TYPE if is_problem else "application/json"
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
    """500, or 503 if a dependency is down: `FaultMiddleware` does not see exceptions of the middleware around it."""
    fault = sys.exc_info()[1]
    if isinstance(fault, FAULTS):
        return too_slow(request) if database.is_timeout(fault) else unavailable(request)
    return _page(request, 500)


def unavailable(request: HttpRequest) -> HttpResponse:
    """503: a dependency is down. Nothing was allowed and nothing was changed in part; the client may try again."""
    response = _page(request, 503)
    response["Retry-After"] = "5"
    return response


def too_slow(request: HttpRequest) -> HttpResponse:
    """503: a statement took longer than its budget and was stopped (`hitobit_portal.database`). Staff search again."""
    response = _page(request, 503, "503_slow.html")
    response["Retry-After"] = "5"
    return response


def too_many(request: HttpRequest, retry_after: int) -> HttpResponse:
    """429. ``retry_after``: seconds until the client may try again."""
    retry_at = timezone.now() + timedelta(seconds=retry_after)
    context = {"retry_after": retry_after, "retry_at": retry_at, "retry_url": request.path}
    response = render(request, "429.html", context, status=429)
    response["Retry-After"] = str(retry_after)
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render(request, "403_csrf.html", status=403)


def _page(request: HttpRequest, status: int, template: str = "") -> HttpResponse:
    if is_for_api(request):
        return HttpResponse(status=status)  # `for_programs` adds the JSON
    # Without context processors: they read the session and the user, which may be what failed.
    page = loader.get_template(template or f"{status}.html").render(
        {"request_id": getattr(request, "request_id", "")}
    )
    return HttpResponse(page, status=status)
