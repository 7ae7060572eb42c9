"""Background tasks in the thread of the test: a thread of their own would not see the test's transaction."""

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from hitobit_portal import background


class AtOnce:
    """Stands in for the pool of a `hitobit_portal.background.Queue`."""

    def submit(self, work: Callable[..., object], *arguments: object) -> Future[object]:
        future: Future[object] = Future()
        future.set_result(work(*arguments))
        return future


def run_at_once(patch: pytest.MonkeyPatch) -> None:
    """Replace the pools of all queues while ``patch`` lasts."""
    for queue in vars(background).values():
        if isinstance(queue, background.Queue):
            patch.setattr(queue, "pool", AtOnce())
            patch.setattr(queue, "delay", 0.0)
    # A thread closes the connection of its own; here it would be the test's, in the middle of its transaction.
    patch.setattr(background, "close_old_connections", lambda: None)
