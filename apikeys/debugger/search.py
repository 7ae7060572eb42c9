"""Search for the text that a client signed: try payload and signature candidates within a budget of work. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from apikeys.debugger.budget import Budget
from apikeys.debugger.causes import DetectedCause
from apikeys.debugger.payload_candidates import (
    MAX_PARAMETERS,
    Parts,
    Rewrite,
    deep_rewrites,
    joined_payloads,
    rewrites,
)
from apikeys.debugger.request_parser import ParsedRequest
from apikeys.debugger.signature_candidates import SignatureCandidate

#: For longer payloads, two changes of the parameters are not combined: building them takes longer than signing.
MAX_COMBINED_BYTES = 2048
#: Costs in the unit of `budget` (bytes hashed): to build a payload; to change it, for each parameter and each byte; to
#: join it, for each byte; to parse all parameters for the notations that are not HTTP's.
MADE_COST, CHANGED_PARAMETER, CHANGED_BYTE, JOINED_BYTE, READ_PARAMETER = 1_000, 1_200, 30, 2, 5_000

_Payload = tuple[tuple[DetectedCause, ...], bytes]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The causes that together explain the signature (empty: it is valid), and the bytes that the client signed."""

    causes: tuple[DetectedCause, ...]
    signed: bytes = field(repr=False)


def search(
    request: ParsedRequest,
    parts: Parts,
    candidates: Sequence[SignatureCandidate],
    others: Sequence[SignatureCandidate] = (),
    budget: Budget | None = None,
) -> SearchResult | None:
    """Return the smallest set of causes, at most two, that explains the signature; ``None`` if there is none.

    ``others``: candidates of the customer's other keys. They are many, so one cause with the chosen key is tried before
    any cause with another key.
    """
    run = _PayloadSearch(request, parts, budget or Budget())
    for tried, causes in ((candidates, 0), (candidates, 1), (others, 1), (candidates, 2), (others, 2)):
        result = run.try_all(tried, causes)
        if result is not None or run.is_over:
            return result
    return None


class _PayloadSearch:
    """The payloads of one request, each built once, and the budget to try them."""

    def __init__(self, request: ParsedRequest, parts: Parts, budget: Budget) -> None:
        self._request = request
        self._parts = parts
        self._budget = budget
        self._pieces = len(parts.query) + len(parts.body)
        self._known = {parts.payload}
        #: Payloads built so far, by their number of causes, and the iterators that build more.
        self._made: list[list[_Payload]] = [[((), parts.payload)], []]
        self._sources = [iter(()), self._singles(), self._pairs()]
        self.is_over = False

    def try_all(self, candidates: Sequence[SignatureCandidate], total: int) -> SearchResult | None:
        """Try every candidate on every payload whose causes together are ``total``."""
        for count in range(total + 1):
            matching = [candidate for candidate in candidates if len(candidate.causes) == total - count]
            for causes, payload in self._payloads(count) if matching else ():
                for candidate in matching:
                    if not self._spend(candidate.cost + candidate.passes * len(payload)):
                        return None
                    if candidate.verifies(payload):
                        return SearchResult((*causes, *candidate.causes), payload)
        return None

    def _payloads(self, count: int) -> Iterator[_Payload]:
        """Yield payloads with ``count`` causes that are not also built with fewer causes."""
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
        """Yield payloads with one cause; for long payloads the cheaper changes first."""
        is_long = len(self._parts.payload) > MAX_COMBINED_BYTES
        if is_long:
            yield from self._joined(self._parts, ())
        if self._pieces > MAX_PARAMETERS:
            return
        yield from self._changed(rewrites(self._parts, self._request.query, self._request.body), ())
        if not is_long:
            yield from self._joined(self._parts, ())
        yield from self._changed(deep_rewrites(self._parts), ())

    def _pairs(self) -> Iterator[_Payload]:
        """Yield payloads with two causes: first a rewrite that is joined in another way, then two rewrites."""
        if self._pieces > MAX_PARAMETERS or len(self._parts.payload) > MAX_COMBINED_BYTES:
            return
        request = self._request
        changed = [(c, p) for c, p in rewrites(self._parts, request.query, request.body) if p != self._parts]
        for cause, other in changed:
            yield from self._joined(other, (cause,))
        for cause, other in changed:
            yield from self._changed(rewrites(other, request.query, request.body), (cause,))

    def _changed(self, rewritten: Iterable[Rewrite], causes: tuple[DetectedCause, ...]) -> Iterator[_Payload]:
        for cause, other in rewritten:
            payload = other.payload
            cost = MADE_COST + self._pieces * CHANGED_PARAMETER + len(payload) * CHANGED_BYTE
            if not self._spend(cost):
                return
            yield (*causes, cause), payload

    def _joined(self, parts: Parts, causes: tuple[DetectedCause, ...]) -> Iterator[_Payload]:
        if not self._spend(min(self._pieces, MAX_PARAMETERS) * READ_PARAMETER):
            return
        for cause, payload in joined_payloads(parts, self._request):
            if not self._spend(MADE_COST + len(payload) * JOINED_BYTE):
                return
            yield (*causes, cause), payload
