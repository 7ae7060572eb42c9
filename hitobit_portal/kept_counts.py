"""Counts over many rows, kept for a minute: a page or a scrape must not count a table of millions each time.

Whether a count is kept depends on its size and not on the time that it took: with little data every count is exact.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.core.cache import cache
from redis.exceptions import RedisError

logger = logging.getLogger("portal.faults")
Result = TypeVar("Result")
#: Rows from which on a count is kept: fewer are counted within some milliseconds.
MANY = 5_000
KEEP_SECONDS = 60


def kept(name: str, count: Callable[[], Result], rows: Callable[[Result], int]) -> Result:
    """Return what ``count`` returns; or what it returned up to `KEEP_SECONDS` ago, if it counted `MANY` rows or more.

    ``name``: of this count and everything that it depends on, such as a day; shared by all processes. ``rows``: how
    many rows a result counted. Without the cache everything is counted.
    """
    key = f"kept-count|{name}"
    try:
        result: Result | None = cache.get(key)
    except (RedisError, OSError) as error:
        logger.error("kept counts are not available: %s", type(error).__name__)
        return count()
    if result is not None:
        return result
    result = count()
    if rows(result) >= MANY:
        try:
            cache.set(key, result, KEEP_SECONDS)
        except (RedisError, OSError) as error:
            logger.error("kept counts are not available: %s", type(error).__name__)
    return result
