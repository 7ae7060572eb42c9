"""A key made ready to say yes quickly. Pure: no ORM, no Django, no clock.

`Compiled.passes` knows one shape of request, the one that nearly all programs send: everything in the query string, the
signature last. It only ever says yes where `verification.decide` does (a property test holds the two together); about
everything else it says nothing, and `decide` has the word.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from hmac import compare_digest
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from apikeys import signing
from apikeys.signing import Kind
from apikeys.verification import MAX_AHEAD_US, READ_GRACE_MS, CredentialRecord, KeyRecord

Verifier = Callable[[bytes, str], bool]
_NEVER = 1 << 62

#: RFC 3986's query characters without "%" and "+", so that nothing needs decoding to be compared.
_PLAIN = re.compile(r"[A-Za-z0-9\-._~!$'()*,;:@/?&=]*").fullmatch
#: The same with encoded bytes and "+": where they stand in values that the decision does not read.
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$'()*,;:@/?&=+]|%[0-9A-Fa-f]{2})*").fullmatch
_PAIRS = re.compile(r"([A-Za-z0-9\-._~!$'()*,;:@/?]+)=([^&]*)").findall
_HEX = 64
_MILLISECONDS = 13  # digits of a time in ms from 2001 to 2286; the other unit is for `decide`
_MAX_AHEAD_MS = MAX_AHEAD_US // 1000
_DEFAULT_WINDOW_MS = signing.DEFAULT_RECV_WINDOW_US // 1000
_MAX_WINDOW_MS = signing.MAX_RECV_WINDOW_US // 1000


class Compiled:
    """A `KeyRecord` with its signers prepared and its permissions as spans of time.

    ``skew_ms``: how far the clock of the last request that passed was ahead.
    """

    __slots__ = ("_holds", "_signers", "_spans", "record", "skew_ms")

    def __init__(self, record: KeyRecord) -> None:
        self.record = record
        self.skew_ms: int | None = None
        self._spans = spans(record)
        self._holds = record.networks.holds if record.restricted else None
        self._signers = tuple(
            (credential.id, _NEVER if credential.retires_at_ms is None else credential.retires_at_ms, verify)
            for credential in record.credentials
            if (verify := _verifier(credential)) is not None and not credential.is_new
        )

    def passes(self, query: str, address: int | None, permission: str, now_ms: int) -> int:
        """The id of the credential that signed ``query``, if the request may pass; 0 when `decide` has to be asked.

        ``address``: `networks.number_of` the caller's. A request with a body is for `decide`.
        """
        payload, mark, signature = query.rpartition("&signature=")
        pairs = _PAIRS(payload)
        fields = dict(pairs)
        timestamp = fields.get("timestamp", "")
        window = fields.get("recvWindow")
        if (
            not mark
            or (_PLAIN(query) is None and _QUERY(query) is None)
            or len(fields) != len(pairs)  # a name twice
            or len(pairs) != payload.count("&") + 1  # a piece that is no plain name=value
            or "signature" in fields
            or len(timestamp) != _MILLISECONDS
            or not timestamp.isdecimal()
        ):
            return 0
        skew_ms = int(timestamp) - now_ms
        if window is None:
            window_ms = _DEFAULT_WINDOW_MS
        elif len(window) <= 5 and window.isdecimal():
            window_ms = int(window)
        else:
            return 0
        if -skew_ms > window_ms or skew_ms >= _MAX_AHEAD_MS or window_ms > _MAX_WINDOW_MS:
            return 0
        # SECURITY: what depends on the key comes after the signature was checked, or the time taken would tell that
        # the key exists to somebody who can't sign.
        found = 0
        raw = payload.encode()
        for number, retires_at_ms, verify in self._signers:
            if verify(raw, signature) and now_ms < retires_at_ms:
                found = number
        begins, ends = self._spans.get(permission, _NO_SPAN)
        if not found or not begins <= now_ms < ends or address is None:
            return 0
        if self._holds is not None and not self._holds(address):
            return 0
        self.skew_ms = skew_ms
        return found


_NO_SPAN = (_NEVER, 0)


def spans(record: KeyRecord) -> dict[str, tuple[int, int]]:
    """From when until when (ms, the end not included) each permission of the key can be used."""
    if not record.active or not record.owner_active or record.owner_frozen:
        return {}
    expires = _NEVER if record.expires_at_ms is None else record.expires_at_ms
    trades_until = _NEVER if record.trade_until_ms is None else record.trade_until_ms
    powers_from = record.reads_until_ms or 0
    found = {
        "read": (0, min(expires + READ_GRACE_MS, _NEVER)),
        "trade": (powers_from, min(expires, trades_until)),
        "withdraw": (powers_from, expires),
    }
    if not (record.restricted and record.networks):
        del found["withdraw"]
    return {name: span for name, span in found.items() if name in record.permissions}


def _verifier(credential: CredentialRecord) -> Verifier | None:
    """None for what can't be used: `decide` refuses it."""
    if credential.kind is Kind.HMAC:
        return _Hmac(credential.material) if credential.material else None
    try:
        key = signing.public_key(credential.material)
    except ValueError:
        return None
    if credential.kind is Kind.ED25519 and isinstance(key, Ed25519PublicKey):
        return _Ed25519(key)
    if credential.kind is Kind.RSA and isinstance(key, RSAPublicKey) and key.key_size in signing.RSA_BITS:
        return _Rsa(key)
    return None


class _Hmac:
    """HMAC-SHA256 with the secret's two blocks hashed in advance (RFC 2104, 4)."""

    __slots__ = ("_begun",)

    def __init__(self, secret: bytes) -> None:
        self._begun = HMAC(secret, SHA256())

    def __call__(self, payload: bytes, signature: str) -> bool:
        state = self._begun.copy()
        state.update(payload)
        return compare_digest(state.finalize().hex(), signature.lower())


class _Ed25519:
    __slots__ = ("_key",)

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    def __call__(self, payload: bytes, signature: str) -> bool:
        try:
            self._key.verify(_raw(signature), payload)
        except (InvalidSignature, ValueError):
            return False
        return True


class _Rsa:
    __slots__ = ("_key",)

    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    def __call__(self, payload: bytes, signature: str) -> bool:
        try:
            self._key.verify(_raw(signature), payload, _PADDING, _SHA256)
        except (InvalidSignature, ValueError):
            return False
        return True


_PADDING, _SHA256 = PKCS1v15(), SHA256()


def _raw(signature: str) -> bytes:
    """The bytes of a percent-encoded base64 text. Raises ValueError unless that is its one spelling."""
    if "+" in signature:
        raise binascii.Error("a space")
    text = unquote_to_bytes(signature) if "%" in signature else signature.encode()
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw) != text:
        raise binascii.Error("another spelling")
    return raw
