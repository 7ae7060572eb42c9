"""How much work one paste may cost, counted in bytes hashed. Pure.

SECURITY: whoever has a login can paste anything; without an end to the work one paste stalls the portal for others.
Other work than hashing is counted as the bytes that could be hashed in the same time (`signers`, `culprit`, `leaks`).
"""

from __future__ import annotations

#: Bytes that may be hashed for one page: some 40 ms.
PAGE = 40 * 1024 * 1024


class Budget:
    """What is left for one page; the search for secrets and that for the mistake share it."""

    __slots__ = ("spent", "whole")

    def __init__(self, whole: int = PAGE) -> None:
        self.whole = whole
        self.spent = 0

    def spend(self, work: int) -> bool:
        """Counts ``work``; ``False`` if it goes beyond what was left, and nothing more may be begun."""
        self.spent += work
        return self.spent <= self.whole
