"""Check the key, its addresses, its permissions and the clock: everything except the signed text. Pure.

Each check calls `decision.decide` itself, so that the request debugger and the gateway cannot differ: the pasted
request is replaced by a correctly signed one that passes every other check.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from enum import Enum

from apikeys.debugger.causes import Cause, DetectedCause, detected
from apikeys.verification import signing
from apikeys.verification.decision import decide
from apikeys.verification.outcomes import Outcome
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind

MINUTE_MS = 60_000
HALF_HOUR_MS = 30 * MINUTE_MS
TEHRAN_MS = 210 * MINUTE_MS
_SECONDS_BELOW_US = 10**11 * 1000  # as milliseconds this is March 1973
_NANOSECONDS_FROM = 10**17
_KEY_CAUSES = {
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


class CheckState(Enum):
    OK = "ok"
    FAILED = "failed"
    UNSURE = "unsure"  # depends on a time or address that was not given
    SKIPPED = "skipped"  # not possible because an earlier check failed


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check; ``number`` is its number in the signing contract."""

    number: int
    state: CheckState
    causes: tuple[DetectedCause, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known in addition to the request.

    Attributes:
        record: the key that the diagnosis is for, which need not be the one that the request names.
        others: the customer's other keys by name.
        address: the client's address if ``address_given``, else the address of the browser.
        at_ms: the time of sending if ``at_given``, else the current time.
        has_secret: the pasted text contained a secret, which was masked.
    """

    record: KeyRecord
    others: tuple[tuple[str, KeyRecord], ...]
    paused: bool
    address: str
    address_given: bool
    permission: str | None
    at_ms: int
    at_given: bool
    has_secret: bool = False


def check_key(situation: Situation) -> Check:
    outcome = _probe(situation.record, admitted_address(situation.record), "read", situation.at_ms)
    if outcome is Outcome.KEY_INACTIVE:
        return Check(
            2, CheckState.FAILED, (detected(Cause.KEY_FROZEN if situation.paused else Cause.KEY_REVOKED),)
        )
    if outcome in _KEY_CAUSES:
        return Check(2, CheckState.FAILED, (detected(_KEY_CAUSES[outcome]),))
    return Check(2, CheckState.OK)


def check_address(situation: Situation) -> Check:
    outcome = _probe(
        _pass_key_check(situation.record, situation.at_ms), situation.address, "read", situation.at_ms
    )
    if outcome is not Outcome.ADDRESS_REFUSED:
        return Check(3, CheckState.OK)
    if situation.address_given or not situation.record.networks:
        return Check(3, CheckState.FAILED, (detected(Cause.ADDRESS, address=situation.address),))
    return Check(3, CheckState.UNSURE, (detected(Cause.ADDRESS_HERE, address=situation.address),))


def check_freshness(situation: Situation, signed: signing.SignedRequest | None) -> Check:
    if signed is None:
        return Check(7, CheckState.SKIPPED)
    record = _pass_key_and_address_checks(situation.record, situation.at_ms)
    outcome = _probe(record, admitted_address(record), "read", situation.at_ms, signed)
    if outcome not in (Outcome.STALE, Outcome.AHEAD):
        return Check(7, CheckState.OK)
    cause = clock_cause(signed.timestamp_us, situation.at_ms, situation.at_given)
    return Check(7, CheckState.UNSURE if cause.cause is Cause.TIMESTAMP_AGED else CheckState.FAILED, (cause,))


def permission(situation: Situation) -> Check:
    if situation.permission is None:
        return Check(9, CheckState.SKIPPED)
    record = _pass_key_and_address_checks(situation.record, situation.at_ms)
    outcome = _probe(record, admitted_address(record), situation.permission, situation.at_ms)
    if outcome not in _POWER:
        return Check(9, CheckState.OK)
    return Check(9, CheckState.FAILED, (detected(_POWER[outcome], permission=situation.permission),))


def _pass_key_check(record: KeyRecord, at_ms: int) -> KeyRecord:
    """Return the key changed so that it passes check 2."""
    usable = replace(record, active=True, owner_active=True, owner_frozen=False)
    expired = _probe(usable, admitted_address(usable), "read", at_ms) is Outcome.KEY_EXPIRED
    return replace(usable, expires_at_ms=None) if expired else usable


def _pass_key_and_address_checks(record: KeyRecord, at_ms: int) -> KeyRecord:
    """Return the key changed so that it passes check 2, and check 3 from at least one address."""
    usable = _pass_key_check(record, at_ms)
    return usable if usable.networks else replace(usable, restricted=False)


def admitted_address(record: KeyRecord) -> str | None:
    """Return an address that passes check 3; None if there is none."""
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
    """Return the outcome of a correctly signed request with this key, with the time of ``like`` (default: now)."""
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


def clock_cause(timestamp_us: int, at_ms: int, at_given: bool) -> DetectedCause:
    """Return the cause for a timestamp outside its window at ``at_ms`` (the current time, unless ``at_given``)."""
    if timestamp_us < _SECONDS_BELOW_US:
        return detected(Cause.TIMESTAMP_SECONDS)
    if timestamp_us >= _NANOSECONDS_FROM:
        return detected(Cause.TIMESTAMP_NANOSECONDS)
    skew_ms = timestamp_us // 1000 - at_ms
    if _is_zone(skew_ms, at_given):
        return detected(Cause.TIMESTAMP_ZONE)
    if skew_ms > 0:
        return detected(Cause.TIMESTAMP_FUTURE, ms=skew_ms)
    return detected(Cause.TIMESTAMP_PAST if at_given else Cause.TIMESTAMP_AGED, ms=-skew_ms)


def _is_zone(skew_ms: int, at_given: bool) -> bool:
    """Return whether the clock seems to be in local time.

    The difference is a multiple of half hours, or, if the time of sending is unknown, close to Tehran's offset.
    """
    if not at_given:
        return TEHRAN_MS - 15 * MINUTE_MS < skew_ms < TEHRAN_MS + MINUTE_MS
    difference = abs(skew_ms)
    rest = difference % HALF_HOUR_MS
    return (
        HALF_HOUR_MS - MINUTE_MS < difference < 15 * 2 * HALF_HOUR_MS
        and min(rest, HALF_HOUR_MS - rest) < MINUTE_MS
    )
