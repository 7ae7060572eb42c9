"""From the database to the pure decision: the one place where a stored secret is opened to check signatures."""

import base64
import functools
import uuid
from datetime import datetime

from apikeys import networks, verification
from apikeys.models import AllowedNetwork, ApiKey, Credential
from apikeys.rules import IpPolicy, State
from apikeys.signing import Kind
from hitobit_portal import crypto

NOBODY = uuid.UUID(int=0)


def load(key_id: str) -> verification.KeyRecord | None:
    """The key with this public id as `verification.decide` takes it; None when there is none."""
    key = (
        ApiKey.objects.select_related("owner")
        .prefetch_related("credentials", "networks")
        .filter(key_id=key_id)
        .first()
    )
    if key is None:
        _same_work()
        return None
    return verification.KeyRecord(
        user=str(key.owner_id),
        key=key.key_id,
        active=key.state == State.ACTIVE,
        owner_active=key.owner.is_active,
        expires_at_ms=_ms(key.expires_at),
        permissions=key.permissions,
        restricted=key.ip_policy != IpPolicy.UNRESTRICTED,
        networks=networks.compile_networks(network.value for network in key.networks.all()),
        credentials=tuple(_credential(credential) for credential in key.credentials.all()),
    )


def _same_work() -> None:
    """SECURITY: what a key would have cost that exists, or the answer's time tells which keys do."""
    list(Credential.objects.filter(key_id=NOBODY))
    list(AllowedNetwork.objects.filter(key_id=NOBODY))
    crypto.unseal(_nobodys_secret(crypto.current_key_id()), "apikeys.nobody")


@functools.cache
def _nobodys_secret(key_id: str) -> str:
    return crypto.seal(bytes(64), "apikeys.nobody")


def _credential(row: Credential) -> verification.CredentialRecord:
    if row.kind == Credential.Kind.HMAC:
        material = crypto.unseal(row.sealed, row.seal_owner)
    else:
        material = base64.b64decode(row.public_key)
    return verification.CredentialRecord(row.pk, Kind(row.kind), material, _ms(row.retires_at))


def _ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
