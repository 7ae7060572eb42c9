"""Decide whether a signed request is allowed, as a named outcome. Pure: no ORM, no Django, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from apikeys.verification import signature_check, signing
from apikeys.verification.outcomes import Outcome as Outcome
from apikeys.verification.records import DUMMY_KEY, CredentialRecord, KeyRecord
from hitobit_portal.http import client_ip as addresses

#: Reading continues for a week after the expiry, so that the owner of a bot notices it while the bot still sees its
#: open positions.
READ_GRACE_MS = 7 * 86_400_000
MAX_AHEAD_US = 1_000_000  # "When it is fresh": timestamp < now + 1000 ms

_KEY_ID = re.compile(r"[A-Za-z0-9]{64}")


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome, the response to the caller, and the credential that signed (only if allowed).

    Attributes:
        is_authentic: a live credential signed the request, and its timestamp is fresh. For the key's owner only.
        skew_ms: how far the client's clock is ahead, in ms. Only set if a live credential signed the request; otherwise
            anybody could write into the key's statistics. For the key's owner only.
        offset_ms: the same of a request that is stale or ahead, signed or not.
        parameter: name of the parameter that is missing, repeated or out of range, as received. For the key's owner
            only.
    """

    outcome: Outcome
    status: int
    code: int
    msg: str
    credential_id: int | None = None
    is_authentic: bool = False
    skew_ms: int | None = None
    offset_ms: int | None = None
    parameter: str = ""

    @property
    def allowed(self) -> bool:
        return self.outcome is Outcome.ALLOWED

    @classmethod
    def of(cls, outcome: Outcome, *arguments: str | int, credential_id: int | None = None) -> Decision:
        """Return the decision with `outcome`; `arguments` fill the placeholders of its message."""
        msg = outcome.msg % arguments if arguments else outcome.msg
        return cls(outcome, outcome.status, outcome.code, msg, credential_id)


def is_key_id(text: str) -> bool:
    """Check 1: whether ``text`` has 64 ASCII letters and digits."""
    return _KEY_ID.fullmatch(text) is not None


def decide(
    record: KeyRecord | None,
    *,
    api_key: str | None,
    query: bytes,
    body: bytes,
    client_ip: str | None,
    permission: str,
    now_ms: int,
) -> Decision:
    """Decide whether a signed request is allowed: the nine checks of the signing contract, in their order.

    Args:
        record: the key with the id `api_key`; ``None`` if it does not exist.
        api_key: the header ``X-MBX-APIKEY`` as received.
        query: the raw query string, without ``?``.
        body: the raw body.
        client_ip: the caller's address; ``None`` or an invalid address is rejected.
        permission: the permission that the request needs: ``read``, ``trade`` or ``withdraw``.
        now_ms: the server's time in ms since 1970.
    """
    if api_key is None or not is_key_id(api_key):
        return Decision.of(Outcome.KEY_MALFORMED)
    # SECURITY: parse the request, match the address and verify the signature before the first result that depends on
    # the key. Otherwise the response time would show which keys exist.
    key = record if record is not None and record.key == api_key else DUMMY_KEY
    request = _parse(query, body)
    signer = _find_signer(key, request, now_ms)
    key_outcome = _check_key_and_address(key, client_ip, now_ms)
    if key_outcome is not None:
        decision = Decision.of(key_outcome)
    elif isinstance(request, signing.ContractError):
        decision = Decision.of(Outcome[request.violation.name], *request.arguments)
        return replace(decision, parameter=request.parameter)
    else:
        decision = _check_request(key, request, signer, permission, now_ms)
    if isinstance(request, signing.ContractError) or signer is None:
        return decision
    is_fresh = _check_freshness(request, now_ms) is None
    return replace(decision, is_authentic=is_fresh, skew_ms=_offset_ms(request, now_ms))


def decide_without_signature(
    record: KeyRecord | None, *, api_key: str | None, client_ip: str | None, permission: str, now_ms: int
) -> Decision:
    """Decide whether a request may pass whose route needs a live key and no signature: checks 1 to 3 and 9.

    The arguments are those of `decide`. Nobody proved to hold the key: the answer is never `Decision.is_authentic`,
    and names no credential.
    """
    if api_key is None or not is_key_id(api_key):
        return Decision.of(Outcome.KEY_MALFORMED)
    # SECURITY: as in `decide`, an unknown key takes the way of a known one: its address is looked up in a list, too.
    key = record if record is not None and record.key == api_key else DUMMY_KEY
    outcome = (
        _check_key_and_address(key, client_ip, now_ms)
        or _check_permission(key, permission, now_ms)
        or Outcome.ALLOWED
    )
    return Decision.of(outcome)


def _parse(query: bytes, body: bytes) -> signing.SignedRequest | signing.ContractError:
    """Checks 4 to 6."""
    try:
        return signing.parse(query, body)
    except signing.ContractError as error:
        return error


def _check_key_and_address(key: KeyRecord, client_ip: str | None, now_ms: int) -> Outcome | None:
    """Checks 2 and 3: return ``None`` if the key may be used at this time and from this address."""
    is_address = addresses.parse_address(client_ip) is not None
    is_listed = key.networks.contains(client_ip)
    if key is DUMMY_KEY:
        return Outcome.KEY_UNKNOWN
    if not key.owner_active:
        return Outcome.OWNER_INACTIVE
    if key.owner_frozen:
        return Outcome.OWNER_FROZEN
    if not key.active:
        return Outcome.KEY_INACTIVE
    if key.expires_at_ms is not None and _is_over(key.expires_at_ms + READ_GRACE_MS, now_ms):
        return Outcome.KEY_EXPIRED
    if not is_address or (key.restricted and not is_listed):
        return Outcome.ADDRESS_REFUSED
    return None


def _check_request(
    key: KeyRecord, request: signing.SignedRequest, signer: int | None, permission: str, now_ms: int
) -> Decision:
    """Checks 7 to 9."""
    time_outcome = _check_freshness(request, now_ms)
    if time_outcome is not None:
        return replace(Decision.of(time_outcome), offset_ms=_offset_ms(request, now_ms))
    if signer is None:
        return Decision.of(Outcome.SIGNATURE)
    permission_outcome = _check_permission(key, permission, now_ms)
    if permission_outcome is not None:
        return Decision.of(permission_outcome)
    return Decision.of(Outcome.ALLOWED, credential_id=signer)


def _check_freshness(request: signing.SignedRequest, now_ms: int) -> Outcome | None:
    """Check 7: return ``None`` if the timestamp is neither too old nor in the future."""
    now_us = now_ms * 1000
    if now_us - request.timestamp_us > request.recv_window_us:
        return Outcome.STALE
    return Outcome.AHEAD if request.timestamp_us >= now_us + MAX_AHEAD_US else None


def _offset_ms(request: signing.SignedRequest, now_ms: int) -> int:
    return request.timestamp_us // 1000 - now_ms


def _find_signer(
    key: KeyRecord, request: signing.SignedRequest | signing.ContractError, now_ms: int
) -> int | None:
    """Return the id of the credential that signed. Try all of them, so that the time does not show which one it was."""
    if isinstance(request, signing.ContractError):
        return None
    signer: int | None = None
    matches = False
    for credential in key.credentials:
        valid = signing.verify(credential.kind, credential.material, request.payload, request.signature)
        usable = request.well_formed and not _is_over(credential.retires_at_ms, now_ms)
        matches = matches or valid
        if valid and usable:
            signer = credential.id
    # SECURITY: an invalid signature takes the same time for every key and for an unknown one.
    raw = None if matches else signature_check.raw_signature(request.signature)
    if raw is not None:
        done = sum(_was_full_check(credential, raw) for credential in key.credentials)
        signature_check.pad_work(request.payload, raw, done)
    return signer


def _was_full_check(credential: CredentialRecord, raw_signature: bytes) -> bool:
    key = signature_check.public_key(credential.kind, credential.material) if raw_signature else None
    return signature_check.is_full_check(credential.kind, key, raw_signature)


def _check_permission(key: KeyRecord, permission: str, now_ms: int) -> Outcome | None:
    """Check 9: return ``None`` if the key has the permission at this time."""
    if permission not in key.permissions:
        return Outcome.PERMISSION
    if permission == "read":
        return None
    # SECURITY: a stolen key must not withdraw from any address, even if a row violates the model's constraint.
    if permission == "withdraw" and not (key.restricted and key.networks):
        return Outcome.PERMISSION
    if _is_over(key.expires_at_ms, now_ms):
        return Outcome.KEY_DEGRADED
    if permission == "trade" and _is_over(key.trade_until_ms, now_ms):
        return Outcome.TRADE_LAPSED
    if key.reads_until_ms is not None and not _is_over(key.reads_until_ms, now_ms):
        return Outcome.QUARANTINE
    return None


def _is_over(end_ms: int | None, now_ms: int) -> bool:
    return end_ms is not None and now_ms >= end_ms
