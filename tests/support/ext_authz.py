"""Envoy's side of ``envoy.service.auth.v3.Authorization/Check``, from Envoy's API and independent of the portal."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase

CHECK = "/envoy.service.auth.v3.Authorization/Check"
Pairs = Sequence[tuple[str, bytes]]


class _Raw(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        data: bytes = message
        return data

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number: int, data: bytes) -> bytes:
    """Return a field of the wire type "length-delimited": a string, bytes, or a message."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def check_request(
    target: bytes | None,
    headers: Pairs,
    body: bytes = b"",
    *,
    raw: bool = True,
    extensions: Pairs = (),
) -> bytes:
    """Return a ``CheckRequest`` as Envoy sends it. ``raw``: with encode_raw_headers and pack_as_bytes."""
    http = field(1, b"17") + field(2, b"POST")  # id, method
    if raw:
        entries = [field(1, name.encode()) + field(3, value) for name, value in headers]
        http += field(13, b"".join(field(1, entry) for entry in entries))
    else:
        http += b"".join(field(3, field(1, name.encode()) + field(2, value)) for name, value in headers)
    if target is not None:
        http += field(4, target)
    http += field(5, b"api.example") + field(10, b"HTTP/1.1")  # host, protocol
    if body:
        http += field(12 if raw else 11, body)
    attributes = field(1, field(4, b"peer")) + field(4, field(1, b"") + field(2, http))
    attributes += b"".join(field(10, field(1, name.encode()) + field(2, value)) for name, value in extensions)
    return field(1, attributes)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        else:
            assert tag & 7 == 2, "a wire type that no field of a CheckResponse has"
            length = varint()
            yield tag >> 3, data[at : at + length]
            at += length


def _all(data: bytes, number: int) -> list[Any]:
    return [value for known, value in _fields(data) if known == number]


def _one(data: bytes, number: int, absent: Any) -> Any:
    values = _all(data, number)
    assert len(values) < 2
    return values[0] if values else absent


@dataclass(frozen=True)
class CheckResponse:
    """What Envoy does: let the request pass, or answer it. ``removed``: headers it removes before it forwards."""

    allowed: bool
    status: int
    headers: dict[str, str]
    body: str
    removed: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, data: bytes) -> "CheckResponse":
        code = _one(_one(data, 1, b""), 1, 0)
        denied, ok = _one(data, 2, None), _one(data, 3, None)
        assert (denied is None) != (ok is None)
        assert (code == 0) == (ok is not None)
        answer = ok if denied is None else denied
        headers = {}
        for option in _all(answer, 2):
            assert _one(option, 3, 0) == 2, "the client's header would stay beside the portal's"
            header = _one(option, 1, b"")
            headers[_one(header, 1, b"").decode()] = _one(header, 2, b"").decode()
        if ok is not None:
            return cls(True, 200, headers, "", frozenset(name.decode() for name in _all(ok, 5)))
        return cls(False, _one(_one(denied, 1, b""), 1, 0), headers, _one(denied, 3, b"").decode())


async def call(port: int, message: bytes, *tokens: str, method: str = CHECK) -> CheckResponse | Status:
    """Send one call on its own connection. Return the response, or the status of a call without one."""
    channel = Channel("127.0.0.1", port, codec=_Raw())
    try:
        async with asyncio.timeout(60):
            metadata = [("authorization", f"Bearer {token}") for token in tokens]
            async with channel.request(
                method,
                Cardinality.UNARY_UNARY,
                bytes,
                bytes,
                metadata=metadata,
            ) as stream:
                await stream.send_message(message, end=True)
                answer = await stream.recv_message()
    except GRPCError as error:
        return error.status
    finally:
        channel.close()
    return Status.UNKNOWN if answer is None else CheckResponse.parse(answer)
