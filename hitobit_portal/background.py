"""Background tasks: work whose duration must not show in the time of a response.

For example, the response must take as long for a phone number without an account. Tasks run in a few threads of this
process and are lost if it is killed; users then ask again. What must not be lost (notices) goes through the outbox.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import close_old_connections
from django.utils import translation

from hitobit_portal.observability import logs

logger = logging.getLogger("portal.background")
#: Maximum number of waiting tasks in each queue: it bounds memory, and each task of `run` sends an SMS.
LONGEST_QUEUE = 500
# SECURITY: without a delay, the task competes with the rest of the response for the interpreter: responses for known
# numbers took 5 to 9 % longer than for unknown ones. After the delay the response has been sent.
DELAY = 0.1  # seconds

_pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="background")
_free = threading.BoundedSemaphore(LONGEST_QUEUE)
# Codes by SMS: a provider that hangs holds these threads and none that answers requests.
# SECURITY: the code is in the memory of this queue alone.
_codes_pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="codes")
_codes_free = threading.BoundedSemaphore(LONGEST_QUEUE)
# SECURITY: anybody can ask for a code at sign-up. With a slow provider, a flood of them would hold all threads above,
# and the codes of customers would be too late.
_visitors_codes_pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="visitors-codes")
_visitors_codes_free = threading.BoundedSemaphore(LONGEST_QUEUE)
# SECURITY: tasks of API requests have a queue of their own. A flood of requests must not delay the codes of people.
_statistics_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="statistics")
_statistics_free = threading.BoundedSemaphore(LONGEST_QUEUE)


def run(work: Callable[..., object], *arguments: Any) -> bool:
    """Call ``work`` soon, in the current language. Returns False if the queue is full."""
    return _submit(_pool, _free, DELAY, work, arguments) is not None


def run_code(work: Callable[..., object], *arguments: Any) -> Future[Any] | None:
    """Call ``work``, which sends a code, at once. Returns the future of its result; None if the queue is full."""
    return _submit(_codes_pool, _codes_free, 0.0, work, arguments)


def run_visitors_code(work: Callable[..., object], *arguments: Any) -> Future[Any] | None:
    """The same for a code that somebody requested who has proved nothing."""
    return _submit(_visitors_codes_pool, _visitors_codes_free, 0.0, work, arguments)


def run_statistics(work: Callable[..., object], *arguments: Any) -> bool:
    """The same for statistics, which may be lost if there are too many."""
    return _submit(_statistics_pool, _statistics_free, DELAY, work, arguments) is not None


def _submit(
    pool: ThreadPoolExecutor,
    free: threading.BoundedSemaphore,
    delay: float,
    work: Callable[..., object],
    arguments: tuple[Any, ...],
) -> Future[Any] | None:
    if not free.acquire(blocking=False):
        logger.error("queue of background tasks is full; %s was dropped", work.__name__)
        return None
    begin = time.monotonic() + delay
    return pool.submit(_work, begin, free, work, arguments, translation.get_language(), logs.request_id.get())


def _work(
    begin: float,
    free: threading.BoundedSemaphore,
    work: Callable[..., object],
    arguments: tuple[Any, ...],
    language: str | None,
    request: str,
) -> object:
    # A task that has waited longer starts at once: the delay does not slow down a full queue.
    time.sleep(max(0.0, begin - time.monotonic()))
    token = logs.request_id.set(request)
    close_old_connections()
    try:
        with translation.override(language):
            return work(*arguments)
    except Exception as error:
        # The class only: a message may contain the arguments, which have a phone number.
        logger.error("background task %s failed: %s", work.__name__, type(error).__name__)
        return None
    finally:
        close_old_connections()
        logs.request_id.reset(token)
        free.release()
