"""Find what a client did sign: try suspects on the signature that was sent, within a fixed amount of work. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from apikeys.debugger.assemblies import assemblies
from apikeys.debugger.budget import Budget
from apikeys.debugger.causes import Found
from apikeys.debugger.payload_candidates import MOST_PARAMETERS, Parts, Suspect, deep_rewrites, rewrites
from apikeys.debugger.request_parser import Pasted
from apikeys.debugger.signature_candidates import Way

#: Beyond this many bytes two changes of the parameters are not tried together: making them takes longer than signing.
LARGEST_COMBINED = 2048
#: What it costs to make a payload, in bytes hashed (`budget`): at all; to change it for each parameter and byte; to put
#: it together for each byte; and to read all parameters for the notations that are not HTTP's.
MADE_COST, CHANGED_PARAMETER, CHANGED_BYTE, JOINED_BYTE, READ_PARAMETER = 1_000, 1_200, 30, 2, 5_000

_Payload = tuple[tuple[Found, ...], bytes]


@dataclass(frozen=True, slots=True)
class Culprit:
    """Causes that together explain the signature (none: it is right), and the bytes that the client signed."""

    causes: tuple[Found, ...]
    signed: bytes = field(repr=False)


def find(
    request: Pasted,
    parts: Parts,
    ways: Sequence[Way],
    others: Sequence[Way] = (),
    budget: Budget | None = None,
) -> Culprit | None:
    """The fewest suspects, at most two, that make the signature fit; ``None`` when no suspect does.

    ``others``: ways of the customer's other keys. They are many, so what is wrong with this key's own is tried before
    what is wrong besides.
    """
    search = _Search(request, parts, budget or Budget())
    for tried, most in ((ways, 0), (ways, 1), (others, 1), (ways, 2), (others, 2)):
        met = search.try_all(tried, most)
        if met is not None or search.is_over:
            return met
    return None


class _Search:
    """One request's payloads, each made once, and what is left to spend on them."""

    def __init__(self, request: Pasted, parts: Parts, budget: Budget) -> None:
        self._request = request
        self._parts = parts
        self._budget = budget
        self._pieces = len(parts.query) + len(parts.body)
        self._known = {parts.payload}
        #: Payloads that were made, by the number of suspects in them, and where others come from.
        self._made: list[list[_Payload]] = [[((), parts.payload)], []]
        self._sources = [iter(()), self._singles(), self._pairs()]
        self.is_over = False

    def try_all(self, ways: Sequence[Way], most: int) -> Culprit | None:
        """Every way on every payload, with ``most`` suspects in both together."""
        for count in range(most + 1):
            fitting = [way for way in ways if len(way.causes) == most - count]
            for causes, payload in self._payloads(count) if fitting else ():
                for way in fitting:
                    if not self._spend(way.cost + way.times * len(payload)):
                        return None
                    if way.fits(payload):
                        return Culprit((*causes, *way.causes), payload)
        return None

    def _payloads(self, count: int) -> Iterator[_Payload]:
        """Those with ``count`` suspects that fewer suspects do not make, too."""
        if count < len(self._made):
            yield from self._made[count]
        for causes, payload in self._sources[count]:
            if self.is_over:
                return
            if payload not in self._known:
                self._known.add(payload)
                if count < len(self._made):
                    self._made[count].append((causes, payload))
                yield causes, payload

    def _spend(self, work: int) -> bool:
        self.is_over = self.is_over or not self._budget.spend(work)
        return not self.is_over

    def _singles(self) -> Iterator[_Payload]:
        """Of long texts the cheaper changes first."""
        long = len(self._parts.payload) > LARGEST_COMBINED
        if long:
            yield from self._assembled(self._parts, ())
        if self._pieces > MOST_PARAMETERS:
            return
        yield from self._changed(rewrites(self._parts, self._request.query, self._request.body), ())
        if not long:
            yield from self._assembled(self._parts, ())
        yield from self._changed(deep_rewrites(self._parts), ())

    def _pairs(self) -> Iterator[_Payload]:
        """A change of the parameters and one of the whole, then two changes of the parameters."""
        if self._pieces > MOST_PARAMETERS or len(self._parts.payload) > LARGEST_COMBINED:
            return
        request = self._request
        changed = [(c, p) for c, p in rewrites(self._parts, request.query, request.body) if p != self._parts]
        for cause, other in changed:
            yield from self._assembled(other, (cause,))
        for cause, other in changed:
            yield from self._changed(rewrites(other, request.query, request.body), (cause,))

    def _changed(self, suspects: Iterable[Suspect], causes: tuple[Found, ...]) -> Iterator[_Payload]:
        for cause, other in suspects:
            payload = other.payload
            cost = MADE_COST + self._pieces * CHANGED_PARAMETER + len(payload) * CHANGED_BYTE
            if not self._spend(cost):
                return
            yield (*causes, cause), payload

    def _assembled(self, parts: Parts, causes: tuple[Found, ...]) -> Iterator[_Payload]:
        if not self._spend(min(self._pieces, MOST_PARAMETERS) * READ_PARAMETER):
            return
        for cause, payload in assemblies(parts, self._request):
            if not self._spend(MADE_COST + len(payload) * JOINED_BYTE):
                return
            yield (*causes, cause), payload
