"""Liveness and readiness, for load balancers, containers and the demo's start.

A middleware instead of two views: probes use the address of a server, plain http, and a Host header that is not in
``ALLOWED_HOSTS``.
"""

import logging
from collections.abc import Callable

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from redis.exceptions import RedisError

logger = logging.getLogger("portal.faults")


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer ``/healthz`` and ``/readyz`` before all other middleware."""
    probes = {"/healthz": healthz, "/readyz": readyz}

    def handle(request: HttpRequest) -> HttpResponse:
        probe = probes.get(request.path)
        return probe() if probe is not None else get_response(request)

    return handle


def healthz() -> HttpResponse:
    """200 while the process answers. It does not depend on database or cache."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz() -> HttpResponse:
    """200 if database and cache answer, else 503. Only the log has which one failed."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        cache.set("readyz", 1, 5)
    except (DatabaseError, RedisError, OSError) as fault:
        logger.error("not ready: %s", type(fault).__name__)
        return HttpResponse("not ready\n", content_type="text/plain", status=503)
    finally:
        connection.close_if_unusable_or_obsolete()
    return HttpResponse("ready\n", content_type="text/plain")
