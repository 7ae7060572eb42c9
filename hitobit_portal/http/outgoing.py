"""HTTPS requests to the services that an operator has configured: one request, limited in time and size.

The answer is JSON or nothing. Redirects, proxies of the environment and `.netrc` are not used.
"""

import asyncio
import functools
import json
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import anyio
import certifi
import httpx

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0  # between two bytes
TOTAL_SECONDS = 8.0
MAX_BYTES = 64 * 1024


class OutgoingError(Exception):
    """There is no usable answer: late, too long, a redirect, or an error of the server.

    ``reason``: a class or a status, never a part of the request or of the answer. ``has_answered``: the server did, in
    time, with something that cannot be used.
    """

    def __init__(self, reason: str, *, has_answered: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.has_answered = has_answered


@dataclass(frozen=True)
class JsonAnswer:
    """``content``: the decoded JSON, or None if the body is not JSON."""

    status: int
    content: object


def request(method: str, url: str, *, headers: Mapping[str, str], **body: Any) -> JsonAnswer:
    """Send a request and return the answer, whatever its status below 500 except redirects.

    ``body``: ``data=`` (form), ``content=`` (bytes or text) or ``json=``. Raise `OutgoingError`.
    """
    reason = ""
    try:
        # In a thread of its own: the caller's thread may run an event loop already.
        with ThreadPoolExecutor(max_workers=1) as pool:
            status, raw = pool.submit(lambda: asyncio.run(_send(method, url, headers, body))).result()
    except Exception as error:
        # SECURITY: the class only. The messages of httpx contain the URL, and Kavenegar's URL contains the API key.
        # Raised below and not here, so that no traceback shows this error as the context.
        reason = reason_of(error)
    if reason:
        raise OutgoingError(reason)
    if len(raw) > MAX_BYTES:
        raise OutgoingError("TooLong", has_answered=True)
    if 300 <= status < 400 or status >= 500:
        raise OutgoingError(f"HTTP {status}", has_answered=True)
    return JsonAnswer(status, _decode(raw))


async def _send(method: str, url: str, headers: Mapping[str, str], body: dict[str, Any]) -> tuple[int, bytes]:
    # SECURITY: a socket timeout restarts with every byte, so a server that sends its response slowly, even its headers,
    # could block a worker for hours: one deadline over all of it. (anyio's: asyncio.timeout of Python before 3.11.3 can
    # lose a cancellation.)
    with anyio.fail_after(TOTAL_SECONDS):
        async with (
            # SECURITY: no proxy and no .netrc of the environment may see keys and codes, and a redirect must not
            # receive them; certificates are certifi's.
            httpx.AsyncClient(
                trust_env=False,
                follow_redirects=False,
                verify=tls_context(),
                timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            ) as client,
            client.stream(method, url, headers=_headers(headers), **body) as response,
        ):
            raw = bytearray()
            async for chunk in response.aiter_raw():
                raw += chunk
                if len(raw) > MAX_BYTES:
                    break
            return response.status_code, bytes(raw)


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {"Accept": "application/json", "Accept-Encoding": "identity", **headers}


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return the context of all requests. Loading the certificates takes about 20 ms of CPU."""
    return ssl.create_default_context(cafile=certifi.where())


def reason_of(error: BaseException) -> str:
    """Return the name of the failure: "Deadline", "SSLError", or the class of httpx."""
    if type(error) is TimeoutError:
        return "Deadline"
    cause: BaseException | None = error if isinstance(error, httpx.ConnectError) else None
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "SSLError"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _decode(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):  # 64 KB of "[" nest too deep
        return None
