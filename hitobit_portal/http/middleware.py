"""What every response passes through: request id, caller's address, security headers, looks, failed dependencies."""

import logging
import uuid
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation

from hitobit_portal.http import client_ip, display_preferences, error_pages
from hitobit_portal.observability import logs

logger = logging.getLogger("portal.faults")
GetResponse = Callable[[HttpRequest], HttpResponse]

CSP_BASE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
CSP_TRUSTED_TYPES = "; require-trusted-types-for 'script'; trusted-types 'none'"


def request_context(get_response: GetResponse) -> GetResponse:
    """Gives the request its id and the caller's address; who can't be placed is not served."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.request_id = uuid.uuid4().hex[:16]  # type: ignore[attr-defined]
        token = logs.request_id.set(request.request_id)  # type: ignore[attr-defined]
        try:
            return answer(request)
        finally:
            logs.request_id.reset(token)

    def answer(request: HttpRequest) -> HttpResponse:
        # SECURITY: an address that can't be read must not become an empty rate-limit bucket or audit entry.
        address = client_ip.resolve(
            request.META.get("REMOTE_ADDR", ""),
            request.META.get("HTTP_X_FORWARDED_FOR"),
            settings.TRUSTED_PROXIES,
        )
        if address is None or not _readable(request):
            return HttpResponse(status=400)
        # SECURITY: Django's own limit leaves out files; nothing here takes any, and one would fill the disk.
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return HttpResponse(status=413)
        request.client_address = address or ""  # type: ignore[attr-defined]
        response = get_response(request)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response

    return middleware


def _readable(request: HttpRequest) -> bool:
    """Whether length and session cookie can be used. PostgreSQL takes no NUL, which a quoted cookie may spell."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        return False
    return "\x00" not in request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")


def security_headers(get_response: GetResponse) -> GetResponse:
    """Strict CSP on everything, Django admin too (no script of Django's is used). htmx: ``response.allows_htmx``."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        html_sinks = getattr(response, "allows_htmx", False)
        response.setdefault("Content-Security-Policy", CSP_BASE + ("" if html_sinks else CSP_TRUSTED_TYPES))
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
    """Persian unless the visitor chose otherwise; English for machines.

    Django's own middleware follows Accept-Language; most Iranian browsers are installed in English.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        code = display_preferences.chosen(request).get("language", settings.LANGUAGE_CODE)
        if error_pages.for_machines(request):
            code = "en"
        with translation.override(code):
            request.LANGUAGE_CODE = code
            response = get_response(request)
            response.setdefault("Content-Language", code)
            return response

    return middleware


def theme_and_digits(get_response: GetResponse) -> GetResponse:
    """The choices for everything that is drawn for this request, also without a context (error pages)."""

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


class FaultMiddleware:
    """A dependency that is down is a 503 that says so and can be tried again; everything else stays a 500."""

    FAULTS = error_pages.FAULTS

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Faults in middleware (sessions) arrive here as exceptions only when nothing converted them before.
        try:
            return self.get_response(request)
        except self.FAULTS as fault:
            return self.answer(request, fault)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return self.answer(request, exception) if isinstance(exception, self.FAULTS) else None

    @staticmethod
    def answer(request: HttpRequest, fault: Exception) -> HttpResponse:
        # The class only: a driver's message may hold the statement's parameters.
        logger.error("dependency failed: %s", type(fault).__name__)
        return error_pages.unavailable(request)
