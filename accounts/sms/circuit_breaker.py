"""Circuit breakers for each SMS provider, one for messages and one for calls: three failures in a row open one for a
minute, then one probe decides.

Its state is in the cache, so all processes share it. If the cache fails, every circuit counts as closed: a call to a
provider that may be down is cheap, a wrongly skipped provider would lock customers out.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.core.cache import cache

T = TypeVar("T")
logger = logging.getLogger("portal.sms")
FAILURE_THRESHOLD = 3
OPEN_SECONDS = 60
#: Longer than any request (`outgoing.TOTAL_SECONDS`): then a probe whose process died is given to another caller.
PROBE_SECONDS = 30
FAILURE_MEMORY_SECONDS = 3600  # failures that are further apart are not "in a row"


def now() -> float:
    return time.time()


def allows(provider: str) -> bool:
    """Return whether ``provider`` may be called. After the open minute: True for one caller, who is the probe."""
    return _with_fallback(True, lambda: _allows(provider))


def is_open(provider: str) -> bool:
    """Return whether ``provider`` is currently skipped. This takes no probe."""
    return _with_fallback(False, lambda: now() < (cache.get(_key(provider, "open")) or 0))


def record_success(provider: str) -> None:
    """Close the circuit."""
    _with_fallback(
        None, lambda: cache.delete_many([_key(provider, what) for what in ("failures", "open", "trial")])
    )


def record_failure(provider: str) -> None:
    """Count a failure, and open the circuit after FAILURE_THRESHOLD in a row."""
    _with_fallback(None, lambda: _record_failure(provider))


def _allows(provider: str) -> bool:
    until = cache.get(_key(provider, "open"))
    if until is None:
        return True
    if now() < until:
        return False
    # `add` is atomic: of many callers one gets the probe, the others use the next provider.
    return bool(cache.add(_key(provider, "trial"), 1, PROBE_SECONDS))


def _record_failure(provider: str) -> None:
    count = _key(provider, "failures")
    cache.add(count, 0, FAILURE_MEMORY_SECONDS)
    if cache.incr(count) >= FAILURE_THRESHOLD:
        cache.set(_key(provider, "open"), now() + OPEN_SECONDS, FAILURE_MEMORY_SECONDS)
        cache.delete(_key(provider, "trial"))


def _key(provider: str, what: str) -> str:
    return f"sms-circuit:{provider}:{what}"


def _with_fallback(fallback: T, operation: Callable[[], T]) -> T:
    try:
        return operation()
    except Exception as error:
        logger.warning("circuit breakers of SMS providers: state unavailable: %s", type(error).__name__)
        return fallback
