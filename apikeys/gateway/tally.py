"""What a gateway process remembers of its decisions until it is written: bounded, and no event of security among it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from apikeys.gateway.compiled import Compiled, Use
from apikeys.outcomes import Outcome
from apikeys.verification import Decision

#: Different (key, permission, address) between two writes; beyond it addresses are left out, then keys.
MOST_USES = 50_000
#: Refusals that are kept whole between two writes, and of one key; all are counted. Each costs a few statements.
MOST_REFUSALS = 100
MOST_OF_A_KEY = 5


@dataclass(frozen=True, slots=True)
class Refused:
    """One refused request of a key that exists."""

    key_id: str
    decision: Decision
    address: str
    permission: str


@dataclass(slots=True)
class Batch:
    """What happened since the last write.

    ``uses``: the requests that passed, by (key, permission, address, credential); ``mark``: of this batch's uses.
    ``refusals``: how many were refused, by (public key id, outcome, permission); ``refused``: some of them whole;
    ``outcomes``: of all requests, unknown keys too.
    """

    mark: object = field(default_factory=object)
    uses: dict[tuple[Compiled, str, str, int], Use] = field(default_factory=dict)
    refusals: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    of_a_key: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.uses or self.refusals)

    def used(self) -> Iterator[tuple[Compiled, str, str, int, int]]:
        """(key, permission, address, credential, how often) of what passed at all."""
        return ((*name, use.count) for name, use in self.uses.items() if use.count)

    def refuse(self, key_id: str, decision: Decision, address: str, permission: str) -> None:
        """``address`` and ``permission``: what a gateway said, which may be anything."""
        address, permission = _writable(address[:45]), _writable(permission[:8])
        name = (key_id, decision.outcome.value, permission)
        if name in self.refusals or len(self.refusals) < MOST_USES:
            self.refusals[name] += 1
        if len(self.refused) < MOST_REFUSALS and self.of_a_key[key_id] < MOST_OF_A_KEY:
            self.of_a_key[key_id] += 1
            self.refused.append(Refused(key_id, decision, address, permission))

    def use(self, key: Compiled, permission: str, address: str, credential_id: int) -> Use:
        """What counts such requests. When there are too many, one that counts for nobody."""
        use = self.uses.get((key, permission, address, credential_id))
        if use is None and len(self.uses) >= MOST_USES:
            address = ""
            use = self.uses.get((key, permission, address, credential_id))
        if use is None:
            use = Use(self.mark, key.record, credential_id)
            if len(self.uses) < 2 * MOST_USES:
                self.uses[key, permission, address, credential_id] = use
        return use


def _writable(text: str) -> str:
    """SECURITY: a lone surrogate or a NUL, which no database takes, would lose the counts of all keys with its own."""
    return text.encode("ascii", "replace").decode().replace("\0", "?")
