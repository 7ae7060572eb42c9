"""Load keys from the database for the decision. The only place that decrypts a stored secret to verify signatures."""

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
    *(
        "pk",
        "owner_id",
        "owner__is_active",
        "owner__frozen_at",
        "owner__quarantined_until",
        "owner__external_id",
    ),
    *("state", "ip_policy", "expires_at", "trade_until"),
)
CREDENTIAL = ("pk", "kind", "serial", "sealed", "public_key", "retires_at", "first_used_at")
#: The two live credentials and the two before them; no client that is still in use signs with an older one.
MAX_EXPLAINED_CREDENTIALS = 4
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def load(key_id: str) -> KeyRecord | None:
    """Return the record of the key with this public id for `decision.decide`; None if it does not exist.

    Ended credentials are left out. Their end is never postponed (see `rotation`), so a decision does not need them.

    SECURITY: one statement, so one snapshot. With three statements, a change from "trade from A" to "read from B" could
    be read as "trade from B". The statement returns one row per credential, at most two: the time that a key's history
    and list take would show that it exists, and a key that was rotated a hundred times would delay all others.
    """
    rows = _statement(connection.vendor).rows(key_id, timezone.now())
    # SECURITY: always build a record and decrypt a secret; otherwise the response time shows which keys exist.
    record = _record(key_id, rows or [_dummy_row(crypto.current_key_id())])
    return record if rows else None


def load_for_debugger(keys: Iterable[ApiKey]) -> dict[str, KeyRecord]:
    """Return the records of ``keys`` by public id, each with its newest credentials, including ended ones.

    For the debugger only; no request is allowed by it. SECURITY: at most MAX_EXPLAINED_CREDENTIALS per key: a customer
    who rotates a key a hundred times must not make each use of the debugger a hundred times as expensive.
    """
    ids = [key.pk for key in keys]
    statement = _statement(connection.vendor)
    key_rows = statement.keys().filter(pk__in=ids).values("key_id", "listed", *COLUMNS, *statement.flags)
    newest = Window(RowNumber(), partition_by="key", order_by="-pk")
    signing: dict[uuid.UUID, list[dict[str, Any]]] = {}
    kept = (
        Credential.objects.filter(key__in=ids)
        .annotate(place=newest)
        .filter(place__lte=MAX_EXPLAINED_CREDENTIALS)
    )
    for row in kept.order_by("pk").values("key", *CREDENTIAL):
        owner = row.pop("key")
        signing.setdefault(owner, []).append({f"signing__{name}": value for name, value in row.items()})
    none = dict.fromkeys(f"signing__{name}" for name in CREDENTIAL)
    return {
        key["key_id"]: _record(key["key_id"], [{**key, **one} for one in signing.get(key["pk"], [none])])
        for key in key_rows
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
        subject=key["owner__external_id"] or "",
    )


class _JoinedTexts(Aggregate):
    """Texts joined with commas."""

    function = "GROUP_CONCAT"
    template = "%(function)s(%(expressions)s, ',')"
    output_field = TextField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, function="STRING_AGG", **extra)


class _Statement:
    """The compiled SQL of the query: Django takes three times as long to compile it as PostgreSQL to execute it."""

    flags = tuple(f"can_{value}" for value in Permission.values)

    def __init__(self) -> None:
        credential = [f"signing__{name}" for name in CREDENTIAL]
        self.names = [*COLUMNS, *self.flags, *credential, "listed"]
        is_live = Q(credentials__retires_at=None) | Q(credentials__retires_at__gt=EPOCH)
        keys = self.keys().filter(key_id="")
        keys = keys.annotate(signing=FilteredRelation("credentials", condition=is_live))
        self._compiler = keys.values_list(*self.names).query.get_compiler(connection=connection)
        self._sql, (_moment, _key_id) = self._compiler.as_sql()  # in this order
        self._converters = self._compiler.get_converters([column for column, *_rest in self._compiler.select])

    @staticmethod
    def keys() -> QuerySet[ApiKey]:
        """Return keys with their networks joined to one text."""
        listed = AllowedNetwork.objects.filter(key=OuterRef("pk")).order_by().values("key")
        return ApiKey.objects.order_by().annotate(
            listed=Subquery(listed.annotate(all=_JoinedTexts("value")).values("all"))
        )

    def rows(self, key_id: str, moment: datetime) -> list[dict[str, Any]]:
        """Return one row for each credential that is live after ``moment``, or one row without a credential."""
        with connection.cursor() as cursor:
            cursor.execute(self._sql, [connection.ops.adapt_datetimefield_value(moment), key_id])
            rows = cursor.fetchall()
        if self._converters:
            rows = self._compiler.apply_converters(rows, self._converters)
        return [dict(zip(self.names, row, strict=True)) for row in rows]


@functools.cache
def _statement(vendor: str) -> _Statement:
    return _Statement()


#: Keys with the same permissions share one set: a set per key would take 216 of about 2,000 bytes.
_permissions = functools.cache(frozenset[str])


@functools.cache
def _dummy_row(_master_key: str) -> dict[str, Any]:
    """Return a row that stands in for an unknown key, with a secret encrypted with this master key."""
    no_id = uuid.UUID(int=0)
    row: dict[str, Any] = dict.fromkeys(_statement(connection.vendor).names)
    row |= {"pk": no_id, "owner_id": 0, "owner__is_active": False}
    row |= {"expires_at": EPOCH, "listed": "192.0.2.1", "signing__pk": 0, "signing__kind": "hmac"}
    row |= {"signing__serial": no_id, "signing__first_used_at": EPOCH}
    return {**row, "signing__sealed": crypto.seal(bytes(64), Credential.seal_owner_of(no_id, no_id, 0))}


# A list of thirty networks takes 0.3 ms to compile, and most keys are loaded again soon.
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
    # Integer arithmetic: a float loses the last digit, and an end would be a millisecond early.
    return None if at is None else (at - EPOCH) // timedelta(milliseconds=1)
