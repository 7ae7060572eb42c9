"""Serve ``envoy.service.auth.v3.Authorization/Check`` with the decisions of the HTTP endpoints.

A call without a decision ends with a gRPC status other than OK, which Envoy answers with its ``status_on_error``.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server, Stream

from apikeys.gateway.authorizer import AuthorizationResult, rejected
from apikeys.gateway.endpoints import BODY_TIMEOUT_SECONDS, Endpoints
from apikeys.gateway.grpc import messages
from apikeys.gateway.keycache.cache import Unavailable
from apikeys.gateway.requests import AuthorizationRequestError

CHECK_METHOD: Final = "/envoy.service.auth.v3.Authorization/Check"


class _RawCodec(CodecBase):
    """Messages as bytes: `messages` decodes them after the token was checked."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        encoded: bytes = message
        return encoded

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class AuthorizationService:
    """The service ``envoy.service.auth.v3.Authorization`` of a process, beside its HTTP ``endpoints``."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    def __mapping__(self) -> dict[str, Handler]:
        return {CHECK_METHOD: Handler(self.check, Cardinality.UNARY_UNARY, bytes, bytes)}

    async def check(self, stream: Stream[bytes, bytes]) -> None:
        """Answer one call. Raise `GRPCError` if no decision is possible."""
        try:
            # SECURITY: before the message is read: what others send is not even buffered.
            if not await self._endpoints.is_authenticated(_authorization(stream)):
                raise GRPCError(Status.UNAUTHENTICATED, "the token is not valid")
            result = await self._decide(await _receive(stream))
        except Unavailable:
            raise GRPCError(Status.UNAVAILABLE, "no decision is possible at the moment") from None
        await stream.send_message(messages.encode_response(result))

    async def _decide(self, data: bytes) -> AuthorizationResult:
        """Parse and authorize a ``CheckRequest``. Raise `Unavailable`."""
        try:
            request = self._endpoints.check_enabled(messages.decode_request(data))
        except AuthorizationRequestError as error:
            self._endpoints.log_once(str(error))
            return rejected(400, str(error))
        return await self._endpoints.decide(request)


def _authorization(stream: Stream[bytes, bytes]) -> str | None:
    """Return the call's metadata ``authorization`` if it occurs once."""
    # SECURITY: of two tokens, one was sent by the client.
    values = stream.metadata.getall("authorization", []) if stream.metadata is not None else []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


async def _receive(stream: Stream[bytes, bytes]) -> bytes:
    """Return the call's message. Raise `GRPCError`."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            message = await stream.recv_message()
    except TimeoutError:
        raise GRPCError(Status.DEADLINE_EXCEEDED, "the message was not received in time") from None
    except NotImplementedError:
        raise GRPCError(Status.UNIMPLEMENTED, "messages must not be compressed") from None
    if message is None:
        raise GRPCError(Status.INVALID_ARGUMENT, "there is no message")
    return message


async def listen(endpoints: Endpoints, host: str, port: int, *, shared: bool = False) -> Server:
    """Listen on ``host`` and ``port`` with HTTP/2 without TLS. Raise `OSError`.

    ``shared``: share the port with other processes; the kernel distributes the connections (SO_REUSEPORT).
    """
    server = Server([AuthorizationService(endpoints)], codec=_RawCodec())
    await server.start(host, port, reuse_port=shared or None)
    return server


async def close(server: Server) -> None:
    """End all calls and connections. Envoy retries a call that was ended (``retry_policy`` in deploy/envoy/)."""
    server.close()
    await server.wait_closed()
