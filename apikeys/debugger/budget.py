"""Limit the work for one pasted request, counted in bytes hashed. Pure.

SECURITY: any customer can paste any text; without a limit one request could stall the portal for others. Work other
than hashing is counted as the bytes that could be hashed in the same time (see `signature_candidates`, `search` and
`secret_masking`).
"""

from __future__ import annotations

#: Bytes that may be hashed for one page: about 40 ms.
PAGE = 40 * 1024 * 1024


class Budget:
    """The budget of one page, shared by the search for secrets and the search for the signed text."""

    __slots__ = ("spent", "whole")

    def __init__(self, whole: int = PAGE) -> None:
        self.whole = whole
        self.spent = 0

    def spend(self, work: int) -> bool:
        """Count ``work``. Return ``False`` if the budget is exceeded: no more work may be started."""
        self.spent += work
        return self.spent <= self.whole
