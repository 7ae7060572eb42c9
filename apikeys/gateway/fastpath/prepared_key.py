"""Prepare a key for the fast path: parsed credentials and the time spans of its permissions. Pure: no Django, no clock.

`PreparedKey.find_verifier` and `PreparedKey.validity` together allow only what `verification.decide` allows (a property
test compares them). In all other cases they return None, and `decide` makes the decision.
"""

from __future__ import annotations

from apikeys.gateway.fastpath import verifiers
from apikeys.gateway.fastpath.query import ParsedQuery
from apikeys.gateway.fastpath.verifiers import NEVER
from apikeys.verification import networks
from apikeys.verification.decision import READ_GRACE_MS
from apikeys.verification.records import KeyRecord


class PreparedKey:
    """A `KeyRecord` with a verifier for each credential, and its permissions as time spans."""

    __slots__ = ("_networks", "_spans", "record", "verifiers")

    def __init__(self, record: KeyRecord) -> None:
        self.record = record
        self._spans = validity_spans(record)
        self._networks = record.networks if record.restricted else None
        self.verifiers = tuple(
            verifier
            for credential in record.credentials
            if (verifier := verifiers.make_verifier(credential)) is not None and not credential.is_new
        )

    def find_verifier(self, request: ParsedQuery, now_ms: int) -> verifiers.Verifier | None:
        """Return the verifier that accepts the signature, or None if `decide` has to decide."""
        payload, signature, _skew_ms = request
        matching = [verifier for verifier in self.verifiers if verifier.verifies(payload, signature)]
        if not matching:
            verifiers.pad_work(payload, signature, self.verifiers)
        return next((verifier for verifier in reversed(matching) if now_ms < verifier.retires_at_ms), None)

    def is_only_verifier(self, verifier: verifiers.Verifier, now_ms: int) -> bool:
        """Return whether no other credential is valid from now on."""
        return all(other is verifier or other.retires_at_ms <= now_ms for other in self.verifiers)

    def validity(self, client_ip: str, permission: str, now_ms: int) -> tuple[int, int] | None:
        """Return when the permission of ``client_ip`` began and ends (ms), or None if it does not have it now.

        SECURITY: call this after the signature was checked. Otherwise the time taken would reveal that the key exists
        to a client that cannot sign.
        """
        offset = _SPAN_OFFSETS.get(permission, 6)
        begin, end = self._spans[offset : offset + 2]
        address = networks.address_number(client_ip)
        if address is None or not begin <= now_ms < end:
            return None
        return (begin, end) if self._networks is None or self._networks.holds(address) else None


_NO_SPAN = (NEVER, 0)
_NO_SPANS = _NO_SPAN * 4
#: Offset of a permission's span in `validity_spans`; the last span is that of unknown permissions.
_SPAN_OFFSETS = {"read": 0, "trade": 2, "withdraw": 4}


def validity_spans(record: KeyRecord) -> tuple[int, ...]:
    """Return begin and end (ms, the end excluded) of each permission of the key, at the offsets of `_SPAN_OFFSETS`.

    One flat tuple for each key: a dict of pairs takes much more memory.
    """
    if not record.active or not record.owner_active or record.owner_frozen:
        return _NO_SPANS
    expires = NEVER if record.expires_at_ms is None else record.expires_at_ms
    trades_until = NEVER if record.trade_until_ms is None else record.trade_until_ms
    powers_from = record.reads_until_ms or 0
    has = record.permissions.__contains__
    withdraws = has("withdraw") and record.restricted and bool(record.networks)
    return (
        *((0, min(expires + READ_GRACE_MS, NEVER)) if has("read") else _NO_SPAN),
        *((powers_from, min(expires, trades_until)) if has("trade") else _NO_SPAN),
        *((powers_from, expires) if withdraws else _NO_SPAN),
        *_NO_SPAN,
    )
