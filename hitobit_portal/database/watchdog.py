"""Finds out whether the database answers: with a connection of its own, when a statement waits for longer than usual.

A statement may take long, or wait for a lock, while the database is well. If a new connection is not answered for
`settings.DATABASE_PROBE_MS`, the database counts as down: waits end with an error and new requests are refused at once,
so that no thread is held. Probes go on until one is answered.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

logger = logging.getLogger("portal.faults")
#: Returns the parameters of `psycopg.connect` for each server that has to answer. Called for each probe.
Servers = Callable[[], list[dict[str, Any]]]
#: A statement that waits for longer starts a probe.
STALLED_SECONDS = 0.5
#: After a probe that was answered, no other one starts for this time: slow statements are no reason for many of them.
TRUST_SECONDS = 1.0
#: psycopg's own least value for a connection.
CONNECT_SECONDS = 2

_lock = threading.Lock()
_is_probing = False
_is_down = False
_answered_at = 0.0


def is_down() -> bool:
    """Return whether the database does not answer."""
    return _is_down


def report_stall(servers: Servers, limit: float) -> None:
    """Start a probe, unless one runs or was answered just now.

    ``limit``: seconds after which the database counts as down.
    """
    global _is_probing
    with _lock:
        if _is_probing or time.monotonic() - _answered_at < TRUST_SECONDS:
            return
        _is_probing = True
    threading.Thread(target=_probe, args=(servers, limit), name="database-watchdog", daemon=True).start()


def _probe(servers: Servers, limit: float) -> None:
    global _answered_at, _is_down, _is_probing
    try:
        while True:
            answered = threading.Event()
            # In a thread of its own: connecting takes 2 seconds at least until it gives up.
            threading.Thread(target=_attempt, args=(servers, answered, limit), daemon=True).start()
            if answered.wait(limit):
                break
            if not _is_down:
                logger.error("the database does not answer; requests are refused until it does")
                _is_down = True
        if _is_down:
            logger.warning("the database answers again")
    finally:
        with _lock:
            _answered_at = time.monotonic()
            _is_down = _is_probing = False


def _attempt(servers: Servers, answered: threading.Event, limit: float) -> None:
    """Set ``answered`` if a new connection to each server is made, which takes its answers.

    Try again after a rejection until ``limit``: the database may be restarting, or have no connection to spare.
    """
    deadline = time.monotonic() + max(limit, CONNECT_SECONDS)
    while time.monotonic() < deadline:
        try:
            for parameters in servers():
                psycopg.connect(**{**parameters, "connect_timeout": CONNECT_SECONDS}).close()
        except (psycopg.Error, OSError):
            time.sleep(0.05)
        else:
            answered.set()
            return
