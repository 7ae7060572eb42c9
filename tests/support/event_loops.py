"""An event loop for tests, and an invalidation listener that the test controls. No Django."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def run_in_thread(work: Coroutine[None, None, Result]) -> Result:
    """Run in its own thread: a browser of another test may have left a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class StubListener:
    """An invalidation listener whose freshness the test sets."""

    def __init__(self) -> None:
        self.fresh = True
        self.lost_at = 0.0

    def is_fresh(self) -> bool:
        return self.fresh

    @property
    def fresh_until(self) -> float:
        return self.lost_at

    async def run(self) -> None:
        return None
