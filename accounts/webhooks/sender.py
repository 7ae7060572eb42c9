"""The sender: one thread with a database connection takes messages and notes results; threads without one wait for
receivers.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone

from accounts.webhooks import outbox, transport
from accounts.webhooks.endpoints import MAX_ENDPOINTS
from accounts.webhooks.outbox import Message
from accounts.webhooks.transport import Answer

logger = logging.getLogger("portal.webhooks")
IDLE_SECONDS = 1.0
#: With requests in work, new events and other receivers are looked after this often.
BUSY_SECONDS = 0.2


@dataclass
class Sent:
    delivered: int = 0
    failed: int = 0


def send(is_over: Callable[[], bool], seconds: float | None = None) -> Sent:
    """Send until ``is_over``; with ``seconds``, only what is due now, and begin nothing after that time.

    Requests in work are finished and noted. An error of the database is logged, and the next round tries again.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    report = Sent()
    in_work: dict[Future[Answer], Message] = {}
    # Each endpoint has its own share of the threads, so that one that hangs leaves the others theirs.
    with ThreadPoolExecutor(MAX_ENDPOINTS * outbox.CONCURRENCY, thread_name_prefix="webhook") as pool:
        while True:
            is_ending = is_over() or (deadline is not None and time.monotonic() > deadline)
            if not is_ending:
                _begin(pool, in_work, is_over)
            if not in_work:
                if is_ending or deadline is not None:
                    return report
                _rest(is_over)
                continue
            done, _pending = wait(in_work, BUSY_SECONDS, FIRST_COMPLETED)
            for future in done:
                _note(in_work.pop(future), future.result(), report)


def _begin(
    pool: ThreadPoolExecutor, in_work: dict[Future[Answer], Message], is_over: Callable[[], bool]
) -> None:
    try:
        outbox.fan_out()
        messages = outbox.take(timezone.now())
    except Exception as error:
        # The class only: messages of databases repeat values.
        logger.error("webhooks: %s", type(error).__name__)
        close_old_connections()  # one that broke would fail in every round
        _rest(is_over)
        return
    for message in messages:
        future = pool.submit(
            transport.post, message.url, message.headers, message.body, settings.WEBHOOK_NETWORKS
        )
        in_work[future] = message


def _note(message: Message, answer: Answer, report: Sent) -> None:
    report.delivered += answer.is_success
    report.failed += not answer.is_success
    try:
        outbox.note(message.delivery, answer, timezone.now())
    except Exception as error:
        # It is sent again when its lease ends.
        logger.error("webhooks: %s", type(error).__name__)
        close_old_connections()


def _rest(is_over: Callable[[], bool]) -> None:
    end = time.monotonic() + IDLE_SECONDS
    while not is_over() and time.monotonic() < end:
        time.sleep(0.05)
