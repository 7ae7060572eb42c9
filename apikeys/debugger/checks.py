"""The checks that do not look at what was signed: the key's standing, its addresses, its power, the clock. Pure.

Each is asked of `verification.decide` itself, so that the request debugger and the gateway can't come to differ: a
request of the portal's own, which passes every other check, is put in the pasted one's place.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from enum import Enum

from apikeys.debugger.causes import Cause, Found, found
from apikeys.debugger.freshness import clock_cause
from apikeys.verification import signing
from apikeys.verification.decision import decide
from apikeys.verification.outcomes import Outcome
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind

_STANDING = {
    Outcome.OWNER_INACTIVE: Cause.OWNER_INACTIVE,
    Outcome.OWNER_FROZEN: Cause.OWNER_FROZEN,
    Outcome.KEY_EXPIRED: Cause.KEY_EXPIRED,
}
_POWER = {
    Outcome.PERMISSION: Cause.PERMISSION,
    Outcome.KEY_DEGRADED: Cause.KEY_DEGRADED,
    Outcome.TRADE_LAPSED: Cause.TRADE_LAPSED,
    Outcome.QUARANTINE: Cause.QUARANTINE,
}


class State(Enum):
    OK = "ok"
    FAILED = "failed"
    UNSURE = "unsure"  # depends on what was not given: when, from where
    SKIPPED = "skipped"  # can't be told because of an earlier check


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the contract; ``number`` is its number there."""

    number: int
    state: State
    causes: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """What the portal knows beside the request.

    ``record`` is the key that is meant, which need not be the one that the request names; ``others`` are the
    customer's other keys by name. ``at_ms`` is the moment of sending if ``at_given``, else now; ``address`` likewise
    the caller's, or that of the browser. ``leaked``: a secret was found in the paste, and masked.
    """

    record: KeyRecord
    others: tuple[tuple[str, KeyRecord], ...]
    paused: bool
    address: str
    address_given: bool
    permission: str | None
    at_ms: int
    at_given: bool
    leaked: bool = False


def key_standing(situation: Situation) -> Check:
    outcome = _probe(situation.record, admitted(situation.record), "read", situation.at_ms)
    if outcome is Outcome.KEY_INACTIVE:
        return Check(2, State.FAILED, (found(Cause.KEY_FROZEN if situation.paused else Cause.KEY_REVOKED),))
    if outcome in _STANDING:
        return Check(2, State.FAILED, (found(_STANDING[outcome]),))
    return Check(2, State.OK)


def address(situation: Situation) -> Check:
    outcome = _probe(
        _standing_well(situation.record, situation.at_ms), situation.address, "read", situation.at_ms
    )
    if outcome is not Outcome.ADDRESS_REFUSED:
        return Check(3, State.OK)
    if situation.address_given or not situation.record.networks:
        return Check(3, State.FAILED, (found(Cause.ADDRESS, address=situation.address),))
    return Check(3, State.UNSURE, (found(Cause.ADDRESS_HERE, address=situation.address),))


def fresh(situation: Situation, right: signing.SignedRequest | None) -> Check:
    if right is None:
        return Check(7, State.SKIPPED)
    record = _admissible(situation.record, situation.at_ms)
    outcome = _probe(record, admitted(record), "read", situation.at_ms, right)
    if outcome not in (Outcome.STALE, Outcome.AHEAD):
        return Check(7, State.OK)
    cause = clock_cause(right.timestamp_us, situation.at_ms, situation.at_given)
    return Check(7, State.UNSURE if cause.cause is Cause.TIMESTAMP_AGED else State.FAILED, (cause,))


def permission(situation: Situation) -> Check:
    if situation.permission is None:
        return Check(9, State.SKIPPED)
    record = _admissible(situation.record, situation.at_ms)
    outcome = _probe(record, admitted(record), situation.permission, situation.at_ms)
    if outcome not in _POWER:
        return Check(9, State.OK)
    return Check(9, State.FAILED, (found(_POWER[outcome], permission=situation.permission),))


def _standing_well(record: KeyRecord, at_ms: int) -> KeyRecord:
    """The key as if check 2 let it pass."""
    well = replace(record, active=True, owner_active=True, owner_frozen=False)
    expired = _probe(well, admitted(well), "read", at_ms) is Outcome.KEY_EXPIRED
    return replace(well, expires_at_ms=None) if expired else well


def _admissible(record: KeyRecord, at_ms: int) -> KeyRecord:
    """The same, as if some address were let pass, too."""
    well = _standing_well(record, at_ms)
    return well if well.networks else replace(well, restricted=False)


def admitted(record: KeyRecord) -> str | None:
    """An address that check 3 lets pass, if there is one."""
    if not record.restricted:
        return "192.0.2.1"
    return record.networks.example()


def _probe(
    record: KeyRecord,
    address: str | None,
    permission: str,
    at_ms: int,
    like: signing.SignedRequest | None = None,
) -> Outcome:
    """The outcome of a rightly signed request with this key, as fresh as ``like`` (else: quite)."""
    stamp, window = (like.timestamp_us, like.recv_window_us) if like else (at_ms * 1000, 5_000_000)
    sent = stamp if stamp >= 10**14 else stamp // 1000
    payload = f"timestamp={sent}&recvWindow={window // 1000}.{window % 1000:03d}".encode()
    secret = b"known to this function only"
    probe = replace(record, credentials=(CredentialRecord(0, Kind.HMAC, secret),))
    query = payload + b"&signature=" + hmac.digest(secret, payload, "sha256").hex().encode()
    return decide(
        probe,
        api_key=record.key,
        query=query,
        body=b"",
        client_ip=address,
        permission=permission,
        now_ms=at_ms,
    ).outcome
