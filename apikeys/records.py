"""From the database to the pure decision: the one place where a stored secret is opened to check signatures."""

import base64
import functools
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from apikeys import networks, verification
from apikeys.models import ApiKey, Credential
from apikeys.rules import IpPolicy, Permission, State
from apikeys.signing import Kind
from hitobit_portal import crypto

COLUMNS = (
    *("pk", "owner_id", "owner__is_active", "owner__frozen_at", "owner__quarantined_until"),
    *("state", "ip_policy", "expires_at", "trade_until", "networks__value"),
)
CREDENTIAL = ("pk", "kind", "serial", "sealed", "public_key", "retires_at", "first_used_at")
NOBODY = "apikeys.nobody"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def load(key_id: str) -> verification.KeyRecord | None:
    """The key with this public id as `verification.decide` takes it; None when there is none.

    SECURITY: one statement, hence one snapshot. Read in three, a change from "trade from A" to "read from B" could be
    seen as "trade from B". It gives at most 30 networks times 2 credentials rows.
    """
    rows = _statement(connection.vendor).rows(key_id)
    if not rows:
        # SECURITY: the cost of opening a secret, or the answer's time tells which keys exist.
        crypto.unseal(_nobodys_secret(crypto.current_key_id()), NOBODY)
        return None
    key = rows[0]
    credentials = {row["credentials__pk"]: row for row in rows if row["credentials__pk"] is not None}
    return verification.KeyRecord(
        user=str(key["owner_id"]),
        key=key_id,
        active=key["state"] == State.ACTIVE,
        owner_active=key["owner__is_active"],
        owner_frozen=key["owner__frozen_at"] is not None,
        trade_until_ms=_ms(key["trade_until"]),
        reads_until_ms=_ms(key["owner__quarantined_until"]),
        expires_at_ms=_ms(key["expires_at"]),
        permissions=_permissions(tuple(value for value in Permission.values if key[f"can_{value}"])),
        restricted=key["ip_policy"] != IpPolicy.UNRESTRICTED,
        networks=networks.compile_networks({row["networks__value"] for row in rows} - {None}),
        credentials=tuple(_credential(row) for row in credentials.values()),
    )


class _Statement:
    """The query's SQL, made once: Django needs three times as long to write it as PostgreSQL to answer it."""

    def __init__(self) -> None:
        flags = [f"can_{value}" for value in Permission.values]
        credential = [f"credentials__{name}" for name in CREDENTIAL]
        self._names = [*COLUMNS, *flags, *credential]
        query = ApiKey.objects.filter(key_id="").order_by().values_list(*self._names).query
        self._compiler = query.get_compiler(connection=connection)
        self._sql, _parameters = self._compiler.as_sql()
        self._converters = self._compiler.get_converters([column for column, *_rest in self._compiler.select])

    def rows(self, key_id: str) -> list[dict[str, Any]]:
        with connection.cursor() as cursor:
            cursor.execute(self._sql, [key_id])
            found = cursor.fetchall()
        if self._converters:
            found = self._compiler.apply_converters(found, self._converters)
        return [dict(zip(self._names, row, strict=True)) for row in found]


@functools.cache
def _statement(vendor: str) -> _Statement:
    return _Statement()


#: One set for all keys that may do the same: one a key would be 216 bytes each, of some 2,000 in all.
_permissions = functools.cache(frozenset[str])


@functools.cache
def _nobodys_secret(key_id: str) -> str:
    return crypto.seal(bytes(64), NOBODY)


def _credential(row: dict[str, Any]) -> verification.CredentialRecord:
    values = (row[f"credentials__{name}"] for name in CREDENTIAL)
    pk, kind, serial, sealed, public_key, retires_at, first_used_at = values
    if kind == Credential.Kind.HMAC:
        material = crypto.unseal(sealed, Credential.seal_owner_of(serial, row["pk"], row["owner_id"]))
    else:
        material = base64.b64decode(public_key)
    return verification.CredentialRecord(pk, Kind(kind), material, _ms(retires_at), first_used_at is None)


def _ms(at: datetime | None) -> int | None:
    # In whole numbers: a float loses the last of them, and an end would come a millisecond early.
    return None if at is None else (at - EPOCH) // timedelta(milliseconds=1)
