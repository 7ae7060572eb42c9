"""Background tasks in the thread of the test: a thread of their own would not see the test's transaction."""

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from hitobit_portal import background


class AtOnce:
    """Stands in for a pool of `hitobit_portal.background`."""

    def submit(self, work: Callable[..., object], *arguments: object) -> Future[object]:
        future: Future[object] = Future()
        future.set_result(work(*arguments))
        return future


def run_at_once(patch: pytest.MonkeyPatch) -> None:
    """Replace all pools while ``patch`` lasts."""
    for name in vars(background):
        if name.endswith("_pool"):
            patch.setattr(background, name, AtOnce())
    patch.setattr(background, "DELAY", 0.0)
    # A thread closes the connection of its own; here it would be the test's, in the middle of its transaction.
    patch.setattr(background, "close_old_connections", lambda: None)
