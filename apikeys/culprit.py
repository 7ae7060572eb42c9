"""Find what a client did sign: try suspects on the signature that was sent, within a fixed amount of work. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from apikeys.assemblies import assemblies
from apikeys.causes import Found
from apikeys.pasted import Pasted
from apikeys.signers import Way
from apikeys.suspects import Parts, deep_rewrites, rewrites

#: Bytes that may be hashed for one diagnosis: about 0.1 s.
WORK = 24 * 1024 * 1024
#: Beyond this many bytes two changes of the parameters are not tried together: making them takes longer than signing.
LARGEST_COMBINED = 2048
#: With more parameters than any real request has, only whole texts are changed: each change walks over all of them.
MOST_PARAMETERS = 500
MOST_CAUSES = 2

_Payload = tuple[tuple[Found, ...], bytes]


@dataclass(frozen=True, slots=True)
class Culprit:
    """Causes that together explain the signature (none: it is right), and the bytes that the client signed."""

    causes: tuple[Found, ...]
    signed: bytes = field(repr=False)


def find(request: Pasted, parts: Parts, ways: Sequence[Way]) -> Culprit | None:
    """The fewest suspects, at most two, that make the signature fit; ``None`` when no suspect does."""
    work = WORK
    seen: set[tuple[bytes, int]] = set()
    ordered = sorted(ways, key=lambda way: len(way.causes))
    for most in range(MOST_CAUSES + 1):
        for causes, payload in _payloads(request, parts, most):
            for number, way in enumerate(ordered):
                total = len(causes) + len(way.causes)
                if total > most:
                    break
                if total < most or (payload, number) in seen:
                    continue
                seen.add((payload, number))
                work -= way.cost + len(payload)
                if work < 0:
                    return None
                if way.fits(payload):
                    return Culprit((*causes, *way.causes), payload)
    return None


def _payloads(request: Pasted, parts: Parts, most: int) -> Iterator[_Payload]:
    """Payloads with up to ``most`` suspects in them, those with fewest first, each payload once."""
    known = {parts.payload}
    for causes, payload in itertools.chain([((), parts.payload)], *_changed(request, parts, most)):
        if causes and payload in known:
            continue
        known.add(payload)
        yield causes, payload


def _changed(request: Pasted, parts: Parts, most: int) -> list[Iterator[_Payload]]:
    if not most:
        return []
    if len(parts.query) + len(parts.body) > MOST_PARAMETERS:
        return [_assembled(request, parts, ())]
    single = [_rewritten(request, parts), _assembled(request, parts, ()), _deep(parts)]
    small = len(parts.payload) <= LARGEST_COMBINED
    return [*single, *([_pairs(request, parts)] if most > 1 and small else [])]


def _rewritten(request: Pasted, parts: Parts) -> Iterator[_Payload]:
    for cause, other in rewrites(parts, request.query, request.body):
        yield (cause,), other.payload


def _deep(parts: Parts) -> Iterator[_Payload]:
    for cause, other in deep_rewrites(parts):
        yield (cause,), other.payload


def _assembled(request: Pasted, parts: Parts, causes: tuple[Found, ...]) -> Iterator[_Payload]:
    for cause, payload in assemblies(parts, request):
        yield (*causes, cause), payload


def _pairs(request: Pasted, parts: Parts) -> Iterator[_Payload]:
    for cause, other in rewrites(parts, request.query, request.body):
        if other == parts:
            continue
        yield from _assembled(request, other, (cause,))
        for second, both in rewrites(other, request.query, request.body):
            yield (cause, second), both.payload
