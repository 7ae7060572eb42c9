"""What a gateway process remembers of its decisions until it is written: bounded, and no event of security among it."""

from __future__ import annotations

from collections.abc import Iterator

from apikeys.gateway.fastpath.prepared_key import Compiled
from apikeys.gateway.fastpath.query import Shape
from apikeys.gateway.fastpath.rate_limits import Bucket
from apikeys.gateway.fastpath.verifiers import Signer
from apikeys.usage.batch import MOST_USES, Used
from apikeys.verification.decision import KeyRecord


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
