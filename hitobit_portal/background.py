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
#: Maximum number of waiting tasks in each queue: it bounds memory, and each task of `tasks` sends an SMS.
LONGEST_QUEUE = 500
# SECURITY: without a delay, the task competes with the rest of the response for the interpreter: responses for known
# numbers took 5 to 9 % longer than for unknown ones. After the delay the response has been sent.
DELAY = 0.1  # seconds


class Queue:
    """Tasks of one kind, in threads of their own. Each begins ``delay`` seconds after it was submitted, or later."""

    def __init__(self, name: str, threads: int, *, delay: float = 0.0, limit: int = LONGEST_QUEUE) -> None:
        self.delay = delay
        self.pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)
        self.free = threading.BoundedSemaphore(limit)

    def submit(self, work: Callable[..., object], *arguments: Any) -> Future[Any] | None:
        """Call ``work`` in the current language. Return the future of its result; None if the queue is full."""
        if not self.free.acquire(blocking=False):
            logger.error("queue of background tasks is full; %s was dropped", work.__name__)
            return None
        begin = time.monotonic() + self.delay
        return self.pool.submit(
            self._run, begin, work, arguments, translation.get_language(), logs.request_id.get()
        )

    def _run(
        self,
        begin: float,
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
            self.free.release()


tasks = Queue("background", 4, delay=DELAY)
# Codes by SMS, at once: a provider that hangs holds these threads and none that answers requests.
# SECURITY: the code is in the memory of this queue alone.
codes = Queue("codes", 8)
# SECURITY: anybody can ask for a code at sign-up. With a slow provider, a flood of them would hold all threads above,
# and the codes of customers would be too late.
visitors_codes = Queue("visitors-codes", 4)
# SECURITY: API requests have a queue of their own, whose tasks may be lost. A flood of requests must not delay the
# codes of people.
statistics = Queue("statistics", 2, delay=DELAY)
