"""Context of all templates: ``portal.origin``, ``.demo``, ``.signup_open``, ``.now_ms``, ``.address``."""

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest) -> str:
    """Return the caller's address, as `middleware.request_context` resolved it."""
    address: str = getattr(request, "client_address", "")
    return address


def portal(request: HttpRequest) -> dict[str, Any]:
    return {
        "portal": {
            "origin": settings.BASE_URL,
            "demo": settings.DEMO,
            "signup_open": settings.SIGNUP == "open",
            "now_ms": int(time.time() * 1000),
            "address": address_of(request),
        }
    }
