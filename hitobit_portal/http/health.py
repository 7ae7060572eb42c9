"""Is the process alive, and can it work? For load balancers, containers and the demo's start.

A middleware and not two views: probes come by address, over plain http and without a Host that anybody configured.
"""

import logging
from collections.abc import Callable

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from redis.exceptions import RedisError

logger = logging.getLogger("portal.faults")


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answers ``/healthz`` and ``/readyz`` before anything else looks at the request."""
    answers = {"/healthz": healthz, "/readyz": readyz}

    def answer(request: HttpRequest) -> HttpResponse:
        probe = answers.get(request.path)
        return probe() if probe is not None else get_response(request)

    return answer


def healthz() -> HttpResponse:
    """200 while the process answers; asks nobody else."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz() -> HttpResponse:
    """200 when database and cache answer, else 503; which one failed stands in the log only."""
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
