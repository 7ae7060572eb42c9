"""Liveness and readiness, for load balancers, containers and the demo's start.

A middleware instead of two views: probes use the address of a server, plain http, and a Host header that is not in
``ALLOWED_HOSTS``.
"""

import errno
import logging
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from redis.exceptions import RedisError

from hitobit_portal import database

logger = logging.getLogger("portal.faults")
#: Load balancers are answered within 2 seconds, whatever hangs.
READY_SECONDS = 1.5
#: SQLite needs some of it for its log of a large transaction.
LEAST_FREE_BYTES = 16 * 1024 * 1024
_lock = threading.Lock()
_check: Future[None] | None = None


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
    """200 if database and cache answer within `READY_SECONDS`, else 503. Only the log has which one failed."""
    try:
        if database.is_down():
            raise OperationalError
        _ready().result(READY_SECONDS)
    except (DatabaseError, RedisError, OSError, TimeoutError) as fault:
        logger.error("not ready: %s", type(fault).__name__)
        return HttpResponse("not ready\n", content_type="text/plain", status=503)
    return HttpResponse("ready\n", content_type="text/plain")


def _ready() -> "Future[None]":
    """Start the check, or return the one that runs: if it hangs, probes do not pile up behind it."""
    global _check
    with _lock:
        if _check is None or _check.done():
            _check = Future()
            # A daemon: a check that hangs does not keep the process from ending.
            threading.Thread(target=_run_check, args=(_check,), name="readiness", daemon=True).start()
        return _check


def _check_disk() -> None:
    """Raise `OSError` if SQLite's disk is full: reading goes on there, but nobody can log in."""
    if connection.vendor != "sqlite":
        return
    directory = Path(connection.settings_dict["NAME"]).parent
    free = shutil.disk_usage(directory if directory.is_absolute() else settings.DATA_DIR).free
    if free < LEAST_FREE_BYTES:
        raise OSError(errno.ENOSPC, "the disk of the database is full")


def _run_check(check: "Future[None]") -> None:
    try:
        _check_disk()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        cache.set("readyz", 1, 5)
    except Exception as fault:
        check.set_exception(fault)
    else:
        check.set_result(None)
    finally:
        connection.close()
