"""The one decision about a signed request, as a named outcome. Pure: no ORM, no Django, no clock."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field, replace

from apikeys.verification import signature_check, signing
from apikeys.verification.networks import Matcher
from apikeys.verification.outcomes import Outcome as Outcome
from hitobit_portal.http import client_ip as addresses

#: A bot's owner sees the expiry before open positions are orphaned: reading goes on for a week.
READ_GRACE_MS = 7 * 86_400_000
MAX_AHEAD_US = 1_000_000  # "When it is fresh": timestamp < now + 1000 ms

_KEY_ID = re.compile(r"[A-Za-z0-9]{64}")


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """What proves possession of a key: `material` as `signing.verify` takes it, until `retires_at_ms`.

    `is_new`: it never signed a request that passed; when it does, the end of an older one may begin.
    """

    id: int
    kind: signing.Kind
    # SECURITY: an HMAC secret must not reach a log or a trace through repr().
    material: bytes = field(repr=False)
    retires_at_ms: int | None = None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it stands at the moment of the decision. Times are in ms since 1970.

    From `expires_at_ms` the key is degraded: it only reads, and READ_GRACE_MS later it does nothing any more.
    From `trade_until_ms` it no longer trades (an unrestricted key has to have that renewed).

    `restricted` with an empty `networks` admits nobody. There are two `credentials` while one is rotated.
    Until `reads_until_ms` (the account's quarantine) nothing but reading is permitted.
    """

    user: str
    key: str
    active: bool
    owner_active: bool
    expires_at_ms: int | None
    permissions: frozenset[str]
    restricted: bool
    networks: Matcher
    credentials: tuple[CredentialRecord, ...]
    owner_frozen: bool = False
    reads_until_ms: int | None = None
    trade_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome, the answer to the caller, and which credential signed (only when allowed).

    For the key's owner alone: whether the request was signed by a live credential and fresh, and how far the client's
    clock is ahead (ms; only of rightly signed requests, or anybody could write into the key's statistics).
    """

    outcome: Outcome
    status: int
    code: int
    msg: str
    credential_id: int | None = None
    rightly_signed: bool = False
    skew_ms: int | None = None

    @property
    def allowed(self) -> bool:
        return self.outcome is Outcome.ALLOWED

    @classmethod
    def of(cls, outcome: Outcome, *arguments: str | int, credential_id: int | None = None) -> Decision:
        """Make the answer for `outcome`; `arguments` fill the placeholders of its message."""
        msg = outcome.msg % arguments if arguments else outcome.msg
        return cls(outcome, outcome.status, outcome.code, msg, credential_id)


#: Stands in for a key that does not exist. Nobody knows its secret, not even this process after a restart.
NOBODY = KeyRecord(
    user="",
    key="",
    active=False,
    owner_active=False,
    expires_at_ms=None,
    permissions=frozenset(),
    restricted=True,
    networks=Matcher(),
    credentials=(CredentialRecord(0, signing.Kind.HMAC, secrets.token_hex(32).encode()),),
)


def is_key_id(text: str) -> bool:
    """Check 1: 64 ASCII letters and digits."""
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
    """Decide whether a signed request may pass: the nine checks of the contract, in its order.

    Args:
        record: the key that `api_key` names, ``None`` if there is none.
        api_key: the header ``X-MBX-APIKEY`` as received.
        query: the raw query string, without ``?``.
        body: the raw body.
        client_ip: the caller's address; ``None`` or a text that is no address is refused.
        permission: ``read``, ``trade`` or ``withdraw``: what the request needs.
        now_ms: the server's clock.
    """
    if api_key is None or not is_key_id(api_key):
        return Decision.of(Outcome.KEY_MALFORMED)
    # SECURITY: reading, matching and signing all happen before the first answer that depends on the key,
    # so that the time taken does not tell an unknown key from a known one.
    key = record if record is not None and record.key == api_key else NOBODY
    request = _read(query, body)
    signer = _signer(key, request, now_ms)
    standing = _standing(key, client_ip, now_ms)
    if standing is not None:
        decision = Decision.of(standing)
    elif isinstance(request, signing.ContractError):
        return Decision.of(Outcome[request.refusal.name], *request.arguments)
    else:
        decision = _judge(key, request, signer, permission, now_ms)
    if isinstance(request, signing.ContractError) or signer is None:
        return decision
    fresh = _freshness(request, now_ms) is None
    skew_ms = request.timestamp_us // 1000 - now_ms
    return replace(decision, rightly_signed=fresh, skew_ms=skew_ms)


def decide_without_signature(
    record: KeyRecord | None, *, api_key: str | None, client_ip: str | None, permission: str, now_ms: int
) -> Decision:
    """Decide whether a request may pass whose route needs a live key and no signature: checks 1 to 3 and 9.

    The arguments are those of `decide`. Nobody proved to hold the key: the answer is never `Decision.rightly_signed`,
    and names no credential.
    """
    if api_key is None or not is_key_id(api_key):
        return Decision.of(Outcome.KEY_MALFORMED)
    # SECURITY: as in `decide`, an unknown key takes the way of a known one: its address is looked up in a list, too.
    key = record if record is not None and record.key == api_key else NOBODY
    outcome = _standing(key, client_ip, now_ms) or _missing_power(key, permission, now_ms) or Outcome.ALLOWED
    return Decision.of(outcome)


def _read(query: bytes, body: bytes) -> signing.SignedRequest | signing.ContractError:
    """Checks 4 to 6."""
    try:
        return signing.parse(query, body)
    except signing.ContractError as error:
        return error


def _standing(key: KeyRecord, client_ip: str | None, now_ms: int) -> Outcome | None:
    """Checks 2 and 3: may this key be used at all, now and from here? ``None`` if so."""
    address_known = addresses.parse_address(client_ip) is not None
    listed = key.networks.contains(client_ip)
    if key is NOBODY:
        return Outcome.KEY_UNKNOWN
    if not key.owner_active:
        return Outcome.OWNER_INACTIVE
    if key.owner_frozen:
        return Outcome.OWNER_FROZEN
    if not key.active:
        return Outcome.KEY_INACTIVE
    if key.expires_at_ms is not None and _is_over(key.expires_at_ms + READ_GRACE_MS, now_ms):
        return Outcome.KEY_EXPIRED
    if not address_known or (key.restricted and not listed):
        return Outcome.ADDRESS_REFUSED
    return None


def _judge(
    key: KeyRecord, request: signing.SignedRequest, signer: int | None, permission: str, now_ms: int
) -> Decision:
    """Checks 7 to 9."""
    stale = _freshness(request, now_ms)
    if stale is not None:
        return Decision.of(stale)
    if signer is None:
        return Decision.of(Outcome.SIGNATURE)
    refusal = _missing_power(key, permission, now_ms)
    if refusal is not None:
        return Decision.of(refusal)
    return Decision.of(Outcome.ALLOWED, credential_id=signer)


def _freshness(request: signing.SignedRequest, now_ms: int) -> Outcome | None:
    """Check 7: ``None`` when the request is neither too old nor from the future."""
    now_us = now_ms * 1000
    if now_us - request.timestamp_us > request.recv_window_us:
        return Outcome.STALE
    return Outcome.AHEAD if request.timestamp_us >= now_us + MAX_AHEAD_US else None


def _signer(
    key: KeyRecord, request: signing.SignedRequest | signing.ContractError, now_ms: int
) -> int | None:
    """Find the credential that signed. All are tried: which one it was does not show in the time taken."""
    if isinstance(request, signing.ContractError):
        return None
    found: int | None = None
    matches = False
    for credential in key.credentials:
        valid = signing.verify(credential.kind, credential.material, request.payload, request.signature)
        usable = request.well_formed and not _is_over(credential.retires_at_ms, now_ms)
        matches = matches or valid
        if valid and usable:
            found = credential.id
    # SECURITY: and a signature that nobody made costs the same for every key, and for none.
    raw = None if matches else signature_check.raw(request.signature)
    if raw is not None:
        signature_check.make_up(request.payload, raw, sum(_was_work(one, raw) for one in key.credentials))
    return found


def _was_work(credential: CredentialRecord, raw_signature: bytes) -> bool:
    key = signature_check.public_key(credential.kind, credential.material) if raw_signature else None
    return signature_check.is_work_of(credential.kind, key, raw_signature)


def _missing_power(key: KeyRecord, permission: str, now_ms: int) -> Outcome | None:
    """Check 9: why the key may not do this now; ``None`` if it may."""
    if permission not in key.permissions:
        return Outcome.PERMISSION
    if permission == "read":
        return None
    # SECURITY: a stolen key must not withdraw from anywhere, even if a row got past the model's constraint.
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
