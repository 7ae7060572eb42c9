"""Work that must not show in the time of an answer: whether a phone number has an account, for one.

A few threads in this process. What is lost when the process is killed is asked for again by its user; what must not
be lost (notices) goes through the outbox instead.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import close_old_connections
from django.utils import translation

from hitobit_portal.observability import logs

logger = logging.getLogger("portal.later")
#: More waiting work than this is refused: memory is bounded, and each piece of `run` sends an SMS.
LONGEST_QUEUE = 500
# SECURITY: begun at once, the work takes turns with the rest of the answer in the same interpreter: known numbers were
# answered 5 to 9 % later than unknown ones. By then the answer is gone; nobody notices that an SMS is sent that later.
PAUSE = 0.1  # seconds

_pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="later")
_room = threading.BoundedSemaphore(LONGEST_QUEUE)
# SECURITY: what requests to the machine door leave behind waits in a line of its own: whoever floods that door must not
# crowd out the codes that people wait for.
_note_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="notes")
_note_room = threading.BoundedSemaphore(LONGEST_QUEUE)


def run(work: Callable[..., object], *arguments: Any) -> bool:
    """Has ``work`` done soon, in the language of now; False when there is no room for it."""
    return _submit(_pool, _room, work, arguments)


def note(work: Callable[..., object], *arguments: Any) -> bool:
    """The same for statistics, which may be lost when there are too many."""
    return _submit(_note_pool, _note_room, work, arguments)


def _submit(
    pool: ThreadPoolExecutor,
    room: threading.BoundedSemaphore,
    work: Callable[..., object],
    arguments: tuple[Any, ...],
) -> bool:
    if not room.acquire(blocking=False):
        logger.error("too much work is waiting; %s was dropped", work.__name__)
        return False
    begin = time.monotonic() + PAUSE
    pool.submit(_work, begin, room, work, arguments, translation.get_language(), logs.request_id.get())
    return True


def _work(
    begin: float,
    room: threading.BoundedSemaphore,
    work: Callable[..., object],
    arguments: tuple[Any, ...],
    language: str | None,
    request: str,
) -> None:
    # What has waited in line for longer begins at once: a full line is worked off as fast as without.
    time.sleep(max(0.0, begin - time.monotonic()))
    token = logs.request_id.set(request)
    close_old_connections()
    try:
        with translation.override(language):
            work(*arguments)
    except Exception as error:
        # The class only: the arguments hold a phone number.
        logger.error("%s failed: %s", work.__name__, type(error).__name__)
    finally:
        close_old_connections()
        logs.request_id.reset(token)
        room.release()
