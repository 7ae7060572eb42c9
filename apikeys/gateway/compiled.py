"""A key made ready to say yes quickly. Pure: no ORM, no Django, no clock.

`Compiled.signed_by` knows one shape of request, the one that nearly all programs send: everything in the query string,
the signature last. With `Compiled.span` it only ever says yes where `verification.decide` does (a property test holds
the two together); about everything else it says nothing, and `decide` has the word.
"""

from __future__ import annotations

import binascii
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from apikeys import networks, signing
from apikeys.gateway.limits import Bucket
from apikeys.signing import Kind
from apikeys.verification import MAX_AHEAD_US, READ_GRACE_MS, CredentialRecord, KeyRecord

_NEVER = 1 << 62

#: RFC 3986's query characters without "&" and "=", which give the shape, and without what has to be decoded.
_ORDINARY = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$'()*,;:@/?"
_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}|\+").sub
_MILLISECONDS = 13  # digits of a time in ms from 2001 to 2286; the other unit is for `decide`
_MAX_AHEAD_MS = MAX_AHEAD_US // 1000
_DEFAULT_WINDOW_MS = signing.DEFAULT_RECV_WINDOW_US // 1000
_MAX_WINDOW_MS = signing.MAX_RECV_WINDOW_US // 1000


class Use:
    """One address that used a key for one permission since the last write (``mark``), how often, and what the next such
    request needs: what it has to say, for how long it may (ms since 1970, the end not included), the buckets that it
    takes from, and the header lines of the yes."""

    __slots__ = (
        *("mark", "record", "credential", "count", "said_address", "said_permission"),
        *("since_ms", "until_ms", "of_address", "of_key", "lines"),
    )

    def __init__(self, mark: object, record: KeyRecord, credential: int) -> None:
        self.mark = mark
        self.record, self.credential = record, credential
        self.count = self.since_ms = self.until_ms = 0
        self.said_address = self.said_permission = self.lines = b""
        self.of_address: Bucket | None = None
        self.of_key: Bucket | None = None


class Compiled:
    """A `KeyRecord` with its signers prepared and its permissions as spans of time.

    ``skew_ms``: how far the clock of the last fresh and rightly signed request was ahead. ``use``: the last one.
    """

    __slots__ = ("_networks", "_signers", "_spans", "record", "skew_ms", "use")

    def __init__(self, record: KeyRecord) -> None:
        self.record = record
        self.skew_ms: int | None = None
        self.use: Use | None = None
        self._spans = spans(record)
        self._networks = record.networks if record.restricted else None
        self._signers = tuple(
            signer
            for credential in record.credentials
            if (signer := _signer(credential)) is not None and not credential.is_new
        )

    def signed_by(self, query: bytes, now_ms: int) -> int:
        """The id of the credential that signed ``query``, if it is fresh; 0 when `decide` has to be asked.

        A request with a body is for `decide`.
        """
        payload, _mark, signature = query.rpartition(b"&signature=")
        pieces = payload.replace(b"=", b"&").split(b"&")
        names = tuple(pieces[::2])
        layout = _LAYOUTS.get(names) or _layout(names)
        if layout is None:
            return 0
        shape, time_at, window_at = layout
        if payload.translate(None, _ORDINARY) != shape and (
            _ENCODED(b"", payload).translate(None, _ORDINARY) != shape
        ):
            return 0
        timestamp = pieces[time_at]
        if len(timestamp) != _MILLISECONDS or not timestamp.isdigit():
            return 0
        window_ms = _DEFAULT_WINDOW_MS
        if window_at:
            window = pieces[window_at]
            if len(window) > 5 or not window.isdigit():
                return 0
            window_ms = int(window)
        skew_ms = int(timestamp) - now_ms
        if -skew_ms > window_ms or skew_ms >= _MAX_AHEAD_MS or window_ms > _MAX_WINDOW_MS:
            return 0
        found = 0
        for signer in self._signers:
            if signer.verifies(payload, signature) and now_ms < signer.retires_at_ms:
                found = signer.number
        if found:
            self.skew_ms = skew_ms
            if len(payload) < _ORDINARY_LENGTH and len(_LAYOUTS) < _MOST_LAYOUTS:
                _LAYOUTS[names] = layout
        return found

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


_NO_SPAN = (_NEVER, 0)
_NONE = _NO_SPAN * 4
#: Where a permission's span is in `spans`; the last one is that of all other words.
_PLACES = {"read": 0, "trade": 2, "withdraw": 4}

#: What is left of a query string when all that is ordinary is taken away, and where its pieces have the time and the
#: window (0: nowhere; a name is there).
Layout = tuple[bytes, int, int]
#: By the names in their order. A program sends few; only what was rightly signed is remembered, so nobody can fill it
#: who has no key. With it reading eight parameters takes 1.6 µs, with a dict of them 2.4.
_LAYOUTS: dict[tuple[bytes, ...], Layout] = {}
_MOST_LAYOUTS, _ORDINARY_LENGTH = 2_000, 500


def _layout(names: tuple[bytes, ...]) -> Layout | None:
    """Of plain name=value pairs, each name once, and none that could be another spelling of one that counts."""
    if len(set(names)) != len(names) or b"signature" in names or b"timestamp" not in names:
        return None
    if any(b"%" in name or b"+" in name for name in names):
        return None
    window = 2 * names.index(b"recvWindow") + 1 if b"recvWindow" in names else 0
    return b"&".join([b"="] * len(names)), 2 * names.index(b"timestamp") + 1, window


def spans(record: KeyRecord) -> tuple[int, ...]:
    """From when until when (ms, the end not included) each permission of the key can be used: see `_PLACES`.

    All in one tuple: a dict of pairs is much larger, and there is one of these a key.
    """
    if not record.active or not record.owner_active or record.owner_frozen:
        return _NONE
    expires = _NEVER if record.expires_at_ms is None else record.expires_at_ms
    trades_until = _NEVER if record.trade_until_ms is None else record.trade_until_ms
    powers_from = record.reads_until_ms or 0
    has = record.permissions.__contains__
    withdraws = has("withdraw") and record.restricted and bool(record.networks)
    return (
        *((0, min(expires + READ_GRACE_MS, _NEVER)) if has("read") else _NO_SPAN),
        *((powers_from, min(expires, trades_until)) if has("trade") else _NO_SPAN),
        *((powers_from, expires) if withdraws else _NO_SPAN),
        *_NO_SPAN,
    )


class _Signer:
    """What checks the signatures of one credential."""

    __slots__ = ("_key", "number", "retires_at_ms")
    _key: Any

    def __init__(self, credential: CredentialRecord, key: object) -> None:
        self.number = credential.id
        self.retires_at_ms = _NEVER if credential.retires_at_ms is None else credential.retires_at_ms
        self._key = key

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        """``signature``: as it stands in the query string."""
        raise NotImplementedError


class _Hmac(_Signer):
    """HMAC-SHA256 with the secret's two blocks hashed in advance (RFC 2104, 4): 0.6 µs, and `hmac.digest` 1.5."""

    __slots__ = ()

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        state = self._key.copy()
        state.update(payload)
        try:
            state.verify(binascii.unhexlify(signature))
        except (InvalidSignature, ValueError):
            return False
        return True


class _Ed25519(_Signer):
    __slots__ = ()

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(_raw(signature), payload)
        except (InvalidSignature, ValueError):
            return False
        return True


class _Rsa(_Signer):
    __slots__ = ()

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(_raw(signature), payload, _PADDING, _SHA256)
        except (InvalidSignature, ValueError):
            return False
        return True


def _signer(credential: CredentialRecord) -> _Signer | None:
    """None for what can't be used: `decide` refuses it."""
    if credential.kind is Kind.HMAC:
        return _Hmac(credential, HMAC(credential.material, _SHA256)) if credential.material else None
    try:
        key = signing.public_key(credential.material)
    except ValueError:
        return None
    if credential.kind is Kind.ED25519 and isinstance(key, Ed25519PublicKey):
        return _Ed25519(credential, key)
    if credential.kind is Kind.RSA and isinstance(key, RSAPublicKey) and key.key_size in signing.RSA_BITS:
        return _Rsa(credential, key)
    return None


_PADDING, _SHA256 = PKCS1v15(), SHA256()


def _raw(signature: bytes) -> bytes:
    """The bytes of a percent-encoded base64 text. Raises ValueError unless that is its one spelling."""
    if b"+" in signature:
        raise binascii.Error("a space")
    if b"%" in signature:
        # What base64 has besides letters and digits; `unquote_to_bytes` takes 8 µs for an RSA signature's.
        signature = signature.replace(b"%2B", b"+").replace(b"%2F", b"/").replace(b"%3D", b"=")
    text = unquote_to_bytes(signature) if b"%" in signature else signature
    # `a2b_base64` reads over what is no base64; what it read is compared with what was there.
    raw = binascii.a2b_base64(text)
    if binascii.b2a_base64(raw, newline=False) != text:
        raise binascii.Error("another spelling")
    return raw
