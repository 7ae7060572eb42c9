"""A key made ready to say yes quickly. Pure: no ORM, no Django, no clock.

`Compiled.signed_by` and `Compiled.span` together only ever say yes where `verification.decide` does (a property test
holds them together); about everything else they say nothing, and `decide` has the word.
"""

from __future__ import annotations

from apikeys.gateway.fastpath import verifiers
from apikeys.gateway.fastpath.query import Read
from apikeys.gateway.fastpath.verifiers import NEVER
from apikeys.verification import networks
from apikeys.verification.decision import READ_GRACE_MS, KeyRecord


class Compiled:
    """A `KeyRecord` with its signers prepared and its permissions as spans of time."""

    __slots__ = ("_networks", "_spans", "record", "signers")

    def __init__(self, record: KeyRecord) -> None:
        self.record = record
        self._spans = spans(record)
        self._networks = record.networks if record.restricted else None
        self.signers = tuple(
            signer
            for credential in record.credentials
            if (signer := verifiers.signer(credential)) is not None and not credential.is_new
        )

    def signed_by(self, request: Read, now_ms: int) -> verifiers.Signer | None:
        """Whose signature it is; None when `decide` has to be asked."""
        payload, signature, _skew_ms = request
        matching = [signer for signer in self.signers if signer.verifies(payload, signature)]
        if not matching:
            verifiers.work_as_for_any_key(payload, signature, self.signers)
        return next((signer for signer in reversed(matching) if now_ms < signer.retires_at_ms), None)

    def has_only(self, signer: verifiers.Signer, now_ms: int) -> bool:
        """Whether no other signs from now on."""
        return all(other is signer or other.retires_at_ms <= now_ms for other in self.signers)

    def span(self, client_ip: str, permission: str, now_ms: int) -> tuple[int, int] | None:
        """From when until when ``client_ip`` has the permission, if it has it now.

        SECURITY: asked after the signature was checked, or the time taken would tell that the key exists to somebody
        who can't sign.
        """
        place = _PLACES.get(permission, 6)
        since, until = self._spans[place : place + 2]
        address = networks.number_of(client_ip)
        if address is None or not since <= now_ms < until:
            return None
        return (since, until) if self._networks is None or self._networks.holds(address) else None


_NO_SPAN = (NEVER, 0)
_NONE = _NO_SPAN * 4
#: Where a permission's span is in `spans`; the last one is that of all other words.
_PLACES = {"read": 0, "trade": 2, "withdraw": 4}


def spans(record: KeyRecord) -> tuple[int, ...]:
    """From when until when (ms, the end not included) each permission of the key can be used: see `_PLACES`.

    All in one tuple: a dict of pairs is much larger, and there is one of these a key.
    """
    if not record.active or not record.owner_active or record.owner_frozen:
        return _NONE
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
