"""The requests that a gateway process counts between two writes to the database: allowed and rejected ones. Bounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from apikeys.usage.request_line import NO_LINE, RequestLine
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome

#: Allowed requests: public key id, permission, address, id of the credential, number of requests, clock skew in ms.
UsageRow = tuple[str, str, str, int, int, int | None]
#: Maximum number of different (key, permission, address) between two writes; above it addresses are dropped, then keys.
MAX_ROWS = 50_000
#: Rejections that are kept in full between two writes, in total and for one key; all are counted. Each one takes a few
#: SQL statements to write.
MAX_REJECTIONS = 100
MAX_REJECTIONS_OF_KEY = 5


@dataclass(frozen=True, slots=True)
class RejectedRequest:
    """A rejected request of an existing key."""

    key_id: str
    decision: Decision
    address: str
    permission: str
    line: RequestLine
    at: datetime


@dataclass(slots=True)
class Batch:
    """The requests since the last write.

    Attributes:
        allowed: allowed requests.
        rejections: number of rejected requests by (public key id, outcome, permission).
        rejected_requests: some of the rejected requests in full; `kept_by_key` counts them by key.
        outcomes: outcomes of all other requests, including those of unknown keys.
    """

    allowed: list[UsageRow] = field(default_factory=list)
    rejections: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    rejected_requests: list[RejectedRequest] = field(default_factory=list)
    kept_by_key: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.allowed or self.rejections)

    def add_rejection(
        self,
        key_id: str,
        decision: Decision,
        address: str,
        permission: str,
        line: RequestLine = NO_LINE,
    ) -> None:
        """Count a rejected request. ``address``, ``permission`` and ``line`` are unchecked texts of the client."""
        address, permission = _storable(address[:45]), _storable(permission[:8])
        row = (key_id, decision.outcome.value, permission)
        if row in self.rejections or len(self.rejections) < MAX_ROWS:
            self.rejections[row] += 1
        if len(self.rejected_requests) < MAX_REJECTIONS and self.kept_by_key[key_id] < MAX_REJECTIONS_OF_KEY:
            self.kept_by_key[key_id] += 1
            self.rejected_requests.append(
                RejectedRequest(key_id, decision, address, permission, line.cleaned(), datetime.now(UTC))
            )


def _storable(text: str) -> str:
    """Replace what a database does not store.

    SECURITY: one lone surrogate or NUL would make the whole write fail, and lose the counts of all keys.
    """
    return text.encode("ascii", "replace").decode().replace("\0", "?")
