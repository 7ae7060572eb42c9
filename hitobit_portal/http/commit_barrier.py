"""Delay the response to a change until every gateway has seen the change.

A gateway trusts its key cache for `settings.GATEWAY_LEASE_MS` after its last contact with the database
(`apikeys.gateway.keycache.postgresql_invalidation`). So one lease must pass between a commit and the response:
`middleware` waits before it returns a response, and a command waits before its process ends. With SQLite there is no
wait: gateways query it for each request.
"""

import atexit
import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse

_local = threading.local()
_registration = threading.Lock()
_registered = False


def changed() -> None:
    """Register a change. Call it in a transaction that changes what a key may do."""
    if connection.vendor == "postgresql":
        transaction.on_commit(_record_commit)


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Delay the response to a request that changed something, whether it succeeded or failed."""

    def delay(request: HttpRequest) -> HttpResponse:
        _local.in_request = True
        try:
            return get_response(request)
        finally:
            _local.in_request = False
            wait()

    return delay


def wait() -> None:
    """Block until every gateway has seen the changes that this thread committed."""
    committed = getattr(_local, "committed", None)
    _local.committed = None
    if committed is not None:
        time.sleep(max(0.0, committed + settings.GATEWAY_LEASE_MS / 1000 - time.monotonic()))


def _record_commit() -> None:
    global _registered
    _local.committed = time.monotonic()
    if not getattr(_local, "in_request", False):
        with _registration:
            if not _registered:
                atexit.register(wait)
                _registered = True
