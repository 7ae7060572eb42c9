"""Work that must not show in the time of an answer: whether a phone number has an account, for one.

A few threads in this process. What is lost when the process is killed is asked for again by its user; what must not
be lost (notices) goes through the outbox instead.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import close_old_connections
from django.utils import translation

logger = logging.getLogger("portal.later")
THREADS = 4
#: More waiting work than this is refused: memory is bounded, and each piece of it sends an SMS.
LONGEST_QUEUE = 500

_pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="later")
_room = threading.BoundedSemaphore(LONGEST_QUEUE)


def run(work: Callable[..., object], *arguments: Any) -> bool:
    """Has ``work`` done soon, in the language of now; False when there is no room for it."""
    if not _room.acquire(blocking=False):
        logger.error("too much work is waiting; %s was dropped", work.__name__)
        return False
    _pool.submit(_work, work, arguments, translation.get_language())
    return True


def _work(work: Callable[..., object], arguments: tuple[Any, ...], language: str | None) -> None:
    close_old_connections()
    try:
        with translation.override(language):
            work(*arguments)
    except Exception as error:
        # The class only: the arguments hold a phone number.
        logger.error("%s failed: %s", work.__name__, type(error).__name__)
    finally:
        close_old_connections()
        _room.release()
