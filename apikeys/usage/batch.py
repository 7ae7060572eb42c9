"""What a gateway process counts between two writes to the database: requests that passed, and rejections. Bounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome

#: Of what passed: public key id, permission, address, credential, how often, how far ahead the clock was (ms).
Used = tuple[str, str, str, int, int, int | None]
#: Different (key, permission, address) between two writes; beyond it addresses are left out, then keys.
MOST_USES = 50_000
#: Refusals that are kept whole between two writes, and of one key; all are counted. Each costs a few statements.
MOST_REFUSALS = 100
MOST_OF_A_KEY = 5


@dataclass(frozen=True, slots=True)
class RejectedRequest:
    """One refused request of a key that exists."""

    key_id: str
    decision: Decision
    address: str
    permission: str


@dataclass(slots=True)
class Batch:
    """What happened since the last write.

    ``uses``: the requests that passed; ``refusals``: how many were refused, by (public key id, outcome, permission);
    ``refused``: some of them whole; ``outcomes``: of all other requests, unknown keys too.
    """

    uses: list[Used] = field(default_factory=list)
    refusals: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: list[RejectedRequest] = field(default_factory=list)
    of_a_key: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.uses or self.refusals)

    def refuse(self, key_id: str, decision: Decision, address: str, permission: str) -> None:
        """``address`` and ``permission``: what a gateway said, which may be anything."""
        address, permission = _writable(address[:45]), _writable(permission[:8])
        name = (key_id, decision.outcome.value, permission)
        if name in self.refusals or len(self.refusals) < MOST_USES:
            self.refusals[name] += 1
        if len(self.refused) < MOST_REFUSALS and self.of_a_key[key_id] < MOST_OF_A_KEY:
            self.of_a_key[key_id] += 1
            self.refused.append(RejectedRequest(key_id, decision, address, permission))


def _writable(text: str) -> str:
    """SECURITY: a lone surrogate or a NUL, which no database takes, would lose the counts of all keys with its own."""
    return text.encode("ascii", "replace").decode().replace("\0", "?")
