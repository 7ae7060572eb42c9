"""Keys for load tests: rows in the database, and signed requests prepared in a file for wrk."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import connections
from django.utils import timezone
from psycopg import sql

from accounts.models import User
from apikeys.models import AllowedNetwork, ApiKey, Credential
from apikeys.models.credentials import random_text
from apikeys.policy.choices import IpPolicy
from hitobit_portal.security import crypto

Sign = Callable[[bytes], str]
QUERY = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity={n}&price=0.1&recvWindow=60000&timestamp={at}"
COLD = """
INSERT INTO apikeys_apikey (id, owner_id, label, label_folded, key_id, state, can_read, can_trade, can_withdraw,
    ip_policy, created_at, allows_rescue, wizard)
SELECT gen_random_uuid(), %(owner)s, 'k' || n, 'k' || n, left(md5(n::text) || md5('x' || n::text), 64), 'active', true,
    true, false, 'trusted', now(), true, gen_random_uuid() FROM generate_series(1, %(count)s) AS n;
INSERT INTO apikeys_credential (key_id, kind, serial, sealed, public_key, created_at, first_used_at)
SELECT k.id, 'hmac', gen_random_uuid(), %(sealed)s, '', now(), now() FROM apikeys_apikey k
WHERE NOT EXISTS (SELECT FROM apikeys_credential c WHERE c.key_id = k.id);
INSERT INTO apikeys_allowednetwork (key_id, value)
SELECT k.id, '198.51.100.7' FROM apikeys_apikey k
WHERE NOT EXISTS (SELECT FROM apikeys_allowednetwork n WHERE n.key_id = k.id);
ANALYZE;
"""


@dataclass(frozen=True)
class Holder:
    """The holder of a key: how it signs, and from which address."""

    key_id: str
    user: str
    sign: Sign
    address: str
    secret: str = ""


def hmac_holders(count: int) -> list[Holder]:
    """Create ``count`` customers, each with one key that may read and trade from two networks."""
    made = [_key(owner) for owner in _owners(count)]
    holders, credentials = [], []
    for n, key in enumerate(made):
        secret = random_text()
        credential = Credential(key=key, kind="hmac", first_used_at=timezone.now())
        credential.sealed = crypto.seal(secret.encode(), credential.seal_owner)
        credentials.append(credential)
        holders.append(Holder(key.key_id, str(key.owner_id), _hmac(secret.encode()), _address(n), secret))
    _save(made, credentials)
    return holders


def public_key_holders(kind: str, count: int, bits: int = 0) -> list[Holder]:
    """Create the same with ``ed25519`` keys, or ``rsa`` keys of ``bits``."""
    made = [_key(owner) for owner in _owners(count)]
    holders, credentials = [], []
    for n, key in enumerate(made):
        pair, sign = _pair(kind, bits)
        der = pair.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        encoded = base64.b64encode(der).decode()
        credentials.append(Credential(key=key, kind=kind, public_key=encoded, first_used_at=timezone.now()))
        holders.append(Holder(key.key_id, str(key.owner_id), sign, _address(n)))
    _save(made, credentials)
    return holders


def copy_of(url: str) -> str:
    """Create a database with the same rows and return its URL. The original must have no connections meanwhile."""
    connections["default"].close_pool()  # type: ignore[attr-defined]
    connections.close_all()
    server, _, original = url.rpartition("/")
    name = f"{original}_copy"
    made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(original))
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(made)
    return f"{server}/{name}"


def add_cold(url: str, count: int) -> None:
    """Add ``count`` unused keys: complete rows, with a secret that cannot be decrypted."""
    sealed = crypto.seal(secrets.token_hex(32).encode(), "bench")
    with psycopg.connect(url, autocommit=True) as connection:
        # No triggers: a million notifications would have no recipient.
        connection.execute("SET session_replication_role = replica")
        row = connection.execute("SELECT min(id) FROM accounts_user").fetchone()
        values = {"owner": row[0] if row else None, "count": count, "sealed": sealed}
        for statement in COLD.split(";")[:-1]:
            connection.execute(statement, values)


def write_requests(path: Path, holders: list[Holder], token: str, each: int = 4) -> None:
    """Write ``each`` requests of every holder, all with different signatures, fresh for a minute from now."""
    now_ms = time.time_ns() // 1_000_000
    with path.open("wb") as file:
        for n in range(each):
            for holder in holders:
                file.write(request(holder, token, QUERY.format(n=n + 1, at=now_ms)) + b"\0")


def request(holder: Holder, token: str, query: str, permission: str = "trade") -> bytes:
    lines = (
        "GET /gateway/v1/auth HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {token}",
        f"X-MBX-APIKEY: {holder.key_id}",
        f"X-Original-URI: /api/v3/order?{query}&signature={holder.sign(query.encode())}",
        f"X-Client-IP: {holder.address}",
        f"X-Required-Permission: {permission}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def write_plain(path: Path, holders: list[Holder]) -> None:
    """Write a client's signed GET request of every holder, as it is sent to a proxy."""
    _write_all(path, holders, lambda holder, signed: _client_request(holder, "GET", signed, ""))


def write_forms(path: Path, holders: list[Holder]) -> None:
    """Write a client's signed POST request of every holder, with all parameters in its body."""
    _write_all(path, holders, lambda holder, signed: _client_request(holder, "POST", "", signed))


def _write_all(path: Path, holders: list[Holder], request: Callable[[Holder, str], bytes]) -> None:
    now_ms = time.time_ns() // 1_000_000
    with path.open("wb") as file:
        for holder in holders:
            query = QUERY.format(n=1, at=now_ms)
            file.write(request(holder, f"{query}&signature={holder.sign(query.encode())}") + b"\0")


def _client_request(holder: Holder, method: str, query: str, body: str) -> bytes:
    target = "/api/v3/order" + ("?" + query if query else "")
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", f"X-MBX-APIKEY: {holder.key_id}"]
    if body:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    return "\r\n".join((*lines, "", body)).encode()


def bare_request(key: str) -> bytes:
    """Return a request for a gateway that only checks keys."""
    lines = ("GET /gateway/v1/auth HTTP/1.1", "Host: gateway", f"Authorization: Api-Key {key}", "", "")
    return "\r\n".join(lines).encode()


def networks_of(holder: Holder) -> tuple[str, str]:
    return holder.address, "198.51.100.0/24"


def _owners(count: int) -> list[User]:
    stamp = secrets.randbelow(9000) + 1000
    return User.objects.bulk_create(
        [User(phone=f"+98{stamp}{n:06d}", password="!", joined_at=timezone.now()) for n in range(count)]
    )


def _key(owner: User) -> ApiKey:
    trusted = IpPolicy.TRUSTED
    return ApiKey(
        owner=owner, label="bot", label_folded="bot", key_id=random_text(), can_trade=True, ip_policy=trusted
    )


def _save(made: list[ApiKey], credentials: Iterable[Credential]) -> None:
    ApiKey.objects.bulk_create(made)
    Credential.objects.bulk_create(credentials)
    AllowedNetwork.objects.bulk_create(
        [
            AllowedNetwork(key=key, value=value)
            for n, key in enumerate(made)
            for value in (_address(n), "198.51.100.0/24")
        ]
    )


def _address(n: int) -> str:
    return f"203.{n // 65536}.{n // 256 % 256}.{n % 256}"


def _hmac(secret: bytes) -> Sign:
    return lambda payload: hmac.digest(secret, payload, hashlib.sha256).hex()


def _pair(kind: str, bits: int) -> tuple[Any, Sign]:
    if kind == "ed25519":
        small = ed25519.Ed25519PrivateKey.generate()
        return small, lambda payload: _encoded(small.sign(payload))
    large = rsa.generate_private_key(65_537, bits)
    return large, lambda payload: _encoded(large.sign(payload, padding.PKCS1v15(), SHA256()))


def _encoded(signature: bytes) -> str:
    text = base64.b64encode(signature).decode()
    return text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
