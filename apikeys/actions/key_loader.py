"""From the database to the pure decision: the one place where a stored secret is opened to check signatures."""

import base64
import functools
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import (
    Aggregate,
    FilteredRelation,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Window,
)
from django.db.models.functions import RowNumber
from django.utils import timezone

from apikeys.models import AllowedNetwork, ApiKey, Credential
from apikeys.policy.choices import IpPolicy, KeyState, Permission
from apikeys.verification import networks
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind
from hitobit_portal.security import crypto

COLUMNS = (
    *("pk", "owner_id", "owner__is_active", "owner__frozen_at", "owner__quarantined_until"),
    *("state", "ip_policy", "expires_at", "trade_until"),
)
CREDENTIAL = ("pk", "kind", "serial", "sealed", "public_key", "retires_at", "first_used_at")
#: The two that may sign, and the two before them: a client that still signs with an older one was left behind for long.
EXPLAINED = 4
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def load(key_id: str) -> KeyRecord | None:
    """The key with this public id as `decision.decide` takes it; None when there is none.

    Credentials that no longer sign are left out. Their end never moves away again (`rotation`), so a decision has no
    use for them.

    SECURITY: one statement, hence one snapshot. Read in three, a change from "trade from A" to "read from B" could be
    seen as "trade from B". It gives a row for each credential, two at most: what a key's past and its list add to the
    time of an answer would tell that it exists, and a key that was rotated a hundred times would hold up all others.
    """
    rows = _statement(connection.vendor).rows(key_id, timezone.now())
    # SECURITY: a record is made in any case, a secret opened for it, or the answer's time tells which keys exist.
    record = _record(key_id, rows or [_nobodys_row(crypto.current_key_id())])
    return record if rows else None


def load_explained(keys: Iterable[ApiKey]) -> dict[str, KeyRecord]:
    """``keys`` by their public id as `load` gives them, each with its newest credentials, ended ones among them.

    For who explains refusals; nothing is decided by it. SECURITY: EXPLAINED credentials a key and no more: a customer
    who rotates a key a hundred times must not make each paste into the debugger cost a hundred times as much.
    """
    ids = [key.pk for key in keys]
    statement = _statement(connection.vendor)
    found = statement.keys().filter(pk__in=ids).values("key_id", "listed", *COLUMNS, *statement.flags)
    newest = Window(RowNumber(), partition_by="key", order_by="-pk")
    signing: dict[uuid.UUID, list[dict[str, Any]]] = {}
    kept = Credential.objects.filter(key__in=ids).annotate(place=newest).filter(place__lte=EXPLAINED)
    for row in kept.order_by("pk").values("key", *CREDENTIAL):
        owner = row.pop("key")
        signing.setdefault(owner, []).append({f"signing__{name}": value for name, value in row.items()})
    none = dict.fromkeys(f"signing__{name}" for name in CREDENTIAL)
    return {
        key["key_id"]: _record(key["key_id"], [{**key, **one} for one in signing.get(key["pk"], [none])])
        for key in found
    }


def _record(key_id: str, rows: list[dict[str, Any]]) -> KeyRecord:
    key = rows[0]
    return KeyRecord(
        user=str(key["owner_id"]),
        key=key_id,
        active=key["state"] == KeyState.ACTIVE,
        owner_active=key["owner__is_active"],
        owner_frozen=key["owner__frozen_at"] is not None,
        trade_until_ms=_ms(key["trade_until"]),
        reads_until_ms=_ms(key["owner__quarantined_until"]),
        expires_at_ms=_ms(key["expires_at"]),
        permissions=_permissions(tuple(value for value in Permission.values if key[f"can_{value}"])),
        restricted=key["ip_policy"] != IpPolicy.UNRESTRICTED,
        networks=_matcher(key["listed"]),
        credentials=tuple(_credential(row) for row in rows if row["signing__pk"] is not None),
    )


class _Joined(Aggregate):
    """Texts, with a comma between them."""

    function = "GROUP_CONCAT"
    template = "%(function)s(%(expressions)s, ',')"
    output_field = TextField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, function="STRING_AGG", **extra)


class _Statement:
    """The query's SQL, made once: Django needs three times as long to write it as PostgreSQL to answer it."""

    flags = tuple(f"can_{value}" for value in Permission.values)

    def __init__(self) -> None:
        credential = [f"signing__{name}" for name in CREDENTIAL]
        self.names = [*COLUMNS, *self.flags, *credential, "listed"]
        lives = Q(credentials__retires_at=None) | Q(credentials__retires_at__gt=EPOCH)
        keys = self.keys().filter(key_id="")
        keys = keys.annotate(signing=FilteredRelation("credentials", condition=lives))
        self._compiler = keys.values_list(*self.names).query.get_compiler(connection=connection)
        self._sql, (_moment, _key_id) = self._compiler.as_sql()  # in this order
        self._converters = self._compiler.get_converters([column for column, *_rest in self._compiler.select])

    @staticmethod
    def keys() -> QuerySet[ApiKey]:
        """Keys with their networks as one text."""
        listed = AllowedNetwork.objects.filter(key=OuterRef("pk")).order_by().values("key")
        return ApiKey.objects.order_by().annotate(
            listed=Subquery(listed.annotate(all=_Joined("value")).values("all"))
        )

    def rows(self, key_id: str, moment: datetime) -> list[dict[str, Any]]:
        """One for each credential that signs after ``moment``, or one without."""
        with connection.cursor() as cursor:
            cursor.execute(self._sql, [connection.ops.adapt_datetimefield_value(moment), key_id])
            found = cursor.fetchall()
        if self._converters:
            found = self._compiler.apply_converters(found, self._converters)
        return [dict(zip(self.names, row, strict=True)) for row in found]


@functools.cache
def _statement(vendor: str) -> _Statement:
    return _Statement()


#: One set for all keys that may do the same: one a key would be 216 bytes each, of some 2,000 in all.
_permissions = functools.cache(frozenset[str])


@functools.cache
def _nobodys_row(_master_key: str) -> dict[str, Any]:
    """Of a key that does not exist, with a secret under this master key."""
    nobody = uuid.UUID(int=0)
    row: dict[str, Any] = dict.fromkeys(_statement(connection.vendor).names)
    row |= {"pk": nobody, "owner_id": 0, "owner__is_active": False}
    row |= {"expires_at": EPOCH, "listed": "192.0.2.1", "signing__pk": 0, "signing__kind": "hmac"}
    row |= {"signing__serial": nobody, "signing__first_used_at": EPOCH}
    return {**row, "signing__sealed": crypto.seal(bytes(64), Credential.seal_owner_of(nobody, nobody, 0))}


# A list of thirty takes 0.3 ms to read, and a key that is asked for is soon asked for again.
@functools.lru_cache(maxsize=4096)
def _matcher(listed: str | None) -> networks.NetworkMatcher:
    return networks.compile_networks((listed or "").split(","))


def _credential(row: dict[str, Any]) -> CredentialRecord:
    values = (row[f"signing__{name}"] for name in CREDENTIAL)
    pk, kind, serial, sealed, public_key, retires_at, first_used_at = values
    if kind == Credential.Kind.HMAC:
        material = crypto.unseal(sealed, Credential.seal_owner_of(serial, row["pk"], row["owner_id"]))
    else:
        material = base64.b64decode(public_key)
    return CredentialRecord(pk, Kind(kind), material, _ms(retires_at), first_used_at is None)


def _ms(at: datetime | None) -> int | None:
    # In whole numbers: a float loses the last of them, and an end would come a millisecond early.
    return None if at is None else (at - EPOCH) // timedelta(milliseconds=1)
