"""Context of all templates: ``portal.origin``, ``.demo``, ``.signup_open``, ``.now_ms``, ``.address``, ``.help``...."""

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from hitobit_portal.help import place_of


def address_of(request: HttpRequest) -> str:
    """Return the caller's address, as `middleware.request_context` resolved it."""
    address: str = getattr(request, "client_address", "")
    return address


def help_address(request: HttpRequest) -> str:
    """Return the address of the help about this page."""
    view_name = request.resolver_match.url_name if request.resolver_match else ""
    topic, section = place_of(view_name or "")
    if not topic:
        return reverse("help")
    return reverse("help_page", args=[topic]) + (f"#{section}" if section else "")


def portal(request: HttpRequest) -> dict[str, Any]:
    return {
        "portal": {
            "origin": settings.BASE_URL,
            "demo": settings.DEMO,
            "signup_open": settings.SIGNUP == "open",
            "now_ms": int(time.time() * 1000),
            "address": address_of(request),
            "help": help_address(request),
            "api_docs": settings.API_DOCS_URL,
        }
    }
