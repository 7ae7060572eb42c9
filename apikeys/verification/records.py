"""A key and its credentials as the decision needs them, and the key that stands in for unknown ones. Pure."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from apikeys.verification import signing
from apikeys.verification.networks import NetworkMatcher


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """A credential of a key.

    Attributes:
        material: as `signing.verify` takes it.
        retires_at_ms: end of validity in ms since 1970; ``None``: no end.
        is_new: no request signed with it has been allowed yet. The first one starts the grace period after which an
            older credential ends.
    """

    id: int
    kind: signing.Kind
    # SECURITY: an HMAC secret must not reach a log or a trace through repr().
    material: bytes = field(repr=False)
    retires_at_ms: int | None = None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key at the moment of the decision. Times are in ms since 1970.

    Attributes:
        expires_at_ms: from then on the key is degraded to reading; `decision.READ_GRACE_MS` later it is rejected.
        restricted: only addresses in `networks` are accepted; with empty `networks`, none.
        credentials: two while one of them is being rotated, else one.
        reads_until_ms: end of the account's quarantine. Before it only reading is permitted.
        trade_until_ms: end of the trade permission of an unrestricted key. Its owner can renew it.
        subject: the exchange's own id of the owner; empty if it is not known.
    """

    user: str
    key: str
    active: bool
    owner_active: bool
    expires_at_ms: int | None
    permissions: frozenset[str]
    restricted: bool
    networks: NetworkMatcher
    credentials: tuple[CredentialRecord, ...]
    owner_frozen: bool = False
    reads_until_ms: int | None = None
    trade_until_ms: int | None = None
    subject: str = ""


#: Replaces a key that does not exist. Its secret is random for each process and is not stored anywhere.
DUMMY_KEY = KeyRecord(
    user="",
    key="",
    active=False,
    owner_active=False,
    expires_at_ms=None,
    permissions=frozenset(),
    restricted=True,
    networks=NetworkMatcher(),
    credentials=(CredentialRecord(0, signing.Kind.HMAC, secrets.token_hex(32).encode()),),
)
