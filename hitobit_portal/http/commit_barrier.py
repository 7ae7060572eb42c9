"""Whoever makes a change is answered when it is in force everywhere.

A gateway believes its memory for `settings.GATEWAY_LEASE_MS` after the database last had the chance to tell it of a
change (`apikeys.gateway.keycache.postgresql_invalidation`). So a response waits for a lease after the commit: the
answer to a request waits in `middleware`, a command before its process ends. SQLite is asked at each request.
"""

import atexit
import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse

_local = threading.local()
_exits = threading.Lock()
_registered = False


def changed() -> None:
    """Called in a transaction that changes what a key may do."""
    if connection.vendor == "postgresql":
        transaction.on_commit(_note)


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Holds back the answer, good or bad, to a request that changed something."""

    def answer(request: HttpRequest) -> HttpResponse:
        _local.answers = True
        try:
            return get_response(request)
        finally:
            _local.answers = False
            wait()

    return answer


def wait() -> None:
    """Returns when the changes of this thread are in force."""
    committed = getattr(_local, "committed", None)
    _local.committed = None
    if committed is not None:
        time.sleep(max(0.0, committed + settings.GATEWAY_LEASE_MS / 1000 - time.monotonic()))


def _note() -> None:
    global _registered
    _local.committed = time.monotonic()
    if not getattr(_local, "answers", False):
        with _exits:
            if not _registered:
                atexit.register(wait)
                _registered = True
