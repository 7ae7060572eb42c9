"""What a gateway process remembers of its decisions until it is written: bounded, and no event of security among it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from apikeys.gateway.fastpath.prepared_key import Compiled
from apikeys.gateway.fastpath.query import Shape
from apikeys.gateway.fastpath.rate_limits import Bucket
from apikeys.gateway.fastpath.verifiers import Signer
from apikeys.verification.decision import Decision, KeyRecord
from apikeys.verification.outcomes import Outcome

#: Of what passed: public key id, permission, address, credential, how often, how far ahead the clock was (ms).
Used = tuple[str, str, str, int, int, int | None]
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


class Use:
    """One address that uses a key for one permission: how often since the last write, how far ahead its clock is (ms).

    For the next such request also what it needs, in one place: the shape of its query, for how long it may (ms since
    1970, the end not included), what checks its signature, the buckets that it takes from, and what the yes says.
    """

    __slots__ = (
        *("shape", "since_ms", "until_ms", "signer", "of_address", "of_key"),
        *("user", "powers", "count", "skew_ms", "record"),
    )
    signer: Signer
    shape: Shape

    def __init__(self, record: KeyRecord) -> None:
        self.record = record
        self.user = self.powers = b""
        self.since_ms = self.until_ms = self.count = 0
        self.skew_ms: int | None = None
        self.of_address: Bucket | None = None
        self.of_key: Bucket | None = None


class Uses:
    """What counts the requests that pass: a `Use` for each (key, permission, address, credential).

    They stay from write to write. Made anew each time, ten thousand of them held up the answers for 10 ms a second, and
    were looked through for garbage with all else, for 80 ms every few seconds.
    """

    def __init__(self) -> None:
        self._uses: dict[tuple[Compiled, str, str, int], Use] = {}

    def __len__(self) -> int:
        return len(self._uses)

    @property
    def is_full(self) -> bool:
        """Whether uses are counted together from now on."""
        return len(self._uses) >= MOST_USES

    def of(self, key: Compiled, permission: str, address: str, credential_id: int) -> Use:
        """What counts such requests. When there are too many, one that counts for nobody."""
        use = self._uses.get((key, permission, address, credential_id))
        if use is None and self.is_full:
            address = ""
            use = self._uses.get((key, permission, address, credential_id))
        if use is None:
            use = Use(key.record)
            if len(self._uses) < 2 * MOST_USES:
                self._uses[key, permission, address, credential_id] = use
        return use

    def take(self) -> Iterator[Used]:
        """What passed since the last time; each is counted anew from the moment on that it is given out."""
        for (key, permission, address, credential), use in list(self._uses.items()):
            if use.count:
                taken = key.record.key, permission, address, credential, use.count, use.skew_ms
                use.count = 0
                yield taken

    def clear(self) -> None:
        self._uses.clear()


@dataclass(slots=True)
class Batch:
    """What happened since the last write.

    ``uses``: the requests that passed; ``refusals``: how many were refused, by (public key id, outcome, permission);
    ``refused``: some of them whole; ``outcomes``: of all other requests, unknown keys too.
    """

    uses: list[Used] = field(default_factory=list)
    refusals: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
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
            self.refused.append(Refused(key_id, decision, address, permission))


def _writable(text: str) -> str:
    """SECURITY: a lone surrogate or a NUL, which no database takes, would lose the counts of all keys with its own."""
    return text.encode("ascii", "replace").decode().replace("\0", "?")
