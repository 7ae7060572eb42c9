"""Middleware: request id, caller's address, security headers, display preferences, failed dependencies."""

import logging
import uuid
from collections.abc import Callable

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import translation

from hitobit_portal import database
from hitobit_portal.http import client_ip, display_preferences, error_pages
from hitobit_portal.observability import logs

logger = logging.getLogger("portal.faults")
GetResponse = Callable[[HttpRequest], HttpResponse]

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def request_context(get_response: GetResponse) -> GetResponse:
    """Set the request's id and the caller's address. A request without a usable address is rejected (400)."""

    def with_log_context(request: HttpRequest) -> HttpResponse:
        request.request_id = uuid.uuid4().hex[:16]  # type: ignore[attr-defined]
        token = logs.request_id.set(request.request_id)  # type: ignore[attr-defined]
        try:
            return checked(request)
        finally:
            logs.request_id.reset(token)

    def checked(request: HttpRequest) -> HttpResponse:
        # SECURITY: callers without an address would share one rate limit, and the audit trail would name nobody.
        address = client_ip.resolve(
            request.META.get("REMOTE_ADDR", ""),
            request.META.get("HTTP_X_FORWARDED_FOR"),
            settings.TRUSTED_PROXIES,
        )
        if address is None or not _readable(request):
            return HttpResponse(status=400)
        # SECURITY: Django's own limit does not count files. No page takes files, and a large one would fill the disk.
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return HttpResponse(status=413)
        request.client_address = address or ""  # type: ignore[attr-defined]
        response = get_response(request)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response

    return with_log_context


def _readable(request: HttpRequest) -> bool:
    """Return whether the length is a number and the session cookie has no NUL, which PostgreSQL refuses.

    A quoted cookie can contain an escaped NUL.
    """
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        return False
    return "\x00" not in request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")


def security_headers(get_response: GetResponse) -> GetResponse:
    """Set a strict CSP and other headers on all responses, those of Django admin too (none of its scripts is used)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.setdefault("Content-Security-Policy", CSP)
        response.setdefault(
            "Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        )
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.setdefault("X-Robots-Tag", "noindex")
        response.setdefault("Server", "portal")
        if not request.path.startswith(settings.STATIC_URL):
            response.setdefault("Cache-Control", "no-store")
        return response

    return middleware


def language(get_response: GetResponse) -> GetResponse:
    """Activate the visitor's language: Persian by default, and English for API clients.

    Django's own middleware follows Accept-Language, but most browsers in Iran are installed in English.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        code = display_preferences.chosen(request).get("language", settings.LANGUAGE_CODE)
        if error_pages.is_for_api(request):
            code = "en"
        with translation.override(code):
            request.LANGUAGE_CODE = code
            response = get_response(request)
            response.setdefault("Content-Language", code)
            return response

    return middleware


def theme_and_digits(get_response: GetResponse) -> GetResponse:
    """Make theme and digits available to everything that is rendered for this request, also to error pages."""

    def middleware(request: HttpRequest) -> HttpResponse:
        chosen = display_preferences.chosen(request)
        theme = display_preferences.theme.set(chosen.get("theme", ""))
        digits = display_preferences.digits.set(chosen.get("digits", ""))
        try:
            return get_response(request)
        finally:
            display_preferences.theme.reset(theme)
            display_preferences.digits.reset(digits)

    return middleware


def refuse_while_database_is_down(get_response: GetResponse) -> GetResponse:
    """Answer 503 at once: requests that wait for the database would hold all threads, also those of probes.

    After the middleware of language and theme, which read cookies only, and before what queries the database.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if database.is_down():
            return FaultMiddleware.unavailable(request, OperationalError("the database does not answer"))
        return get_response(request)

    return middleware


class FaultMiddleware:
    """Answer 503 with a waiting time if a dependency is down. All other exceptions stay a 500."""

    FAULTS = error_pages.FAULTS

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Exceptions of middleware (sessions) arrive here only if nothing has converted them before.
        try:
            if request.GET and request.path.startswith("/admin/"):
                with database.statement_budget(settings.DATABASE_SEARCH_TIMEOUT):
                    return self.get_response(request)
            return self.get_response(request)
        except self.FAULTS as fault:
            return self.unavailable(request, fault)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return self.unavailable(request, exception) if isinstance(exception, self.FAULTS) else None

    @staticmethod
    def unavailable(request: HttpRequest, fault: Exception) -> HttpResponse:
        # The class only: a driver's message may contain the parameters of a statement.
        logger.error("dependency failed: %s", type(fault).__name__)
        return (
            error_pages.too_slow(request) if database.is_timeout(fault) else error_pages.unavailable(request)
        )
