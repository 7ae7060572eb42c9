"""HTTPS client for providers: one request, limited in time and size, to the configured address only."""

import json
import os
import socket
import threading
from collections.abc import Container, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from accounts.sms.errors import ProviderError

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0  # between two bytes
TOTAL_SECONDS = 8.0
MAX_BYTES = 64 * 1024
CHUNK = 4096


@dataclass(frozen=True)
class ProviderResponse:
    """The response of a provider. ``content``: the decoded JSON, or None if the body is not JSON."""

    status: int
    content: object

    def path_value(self, *path: str | int) -> object:
        """Return the value at ``path`` in the content, None if the content has another shape."""
        value = self.content
        for step in path:
            if isinstance(step, str):
                value = value.get(step) if isinstance(value, dict) else None
            else:
                value = value[step] if isinstance(value, list) and len(value) > step else None
        return value


class Deadline:
    """Close the connection when the time is up.

    SECURITY: a socket timeout restarts with every byte, so a server that sends its response slowly, even its headers,
    could block a worker for hours.
    """

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self.passed = False

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def watch(self, connection: socket.socket) -> None:
        # A second handle of the same connection: shutting it down wakes the reader, without touching TLS.
        with self._lock:
            self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        if self.passed:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            self.passed = True
            if self._socket is not None:
                with suppress(OSError):  # the other side closed it first
                    self._socket.shutdown(socket.SHUT_RDWR)


_deadline: ContextVar[Deadline] = ContextVar("deadline")


class _Plain(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _deadline.get().watch(self.sock)


class _Tls(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _deadline.get().watch(self.sock)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


def post(url: str, *, headers: Mapping[str, str], **body: Any) -> ProviderResponse:
    """Send a POST request and return the response, whatever its status below 500. ``body``: ``data=`` (form) or
    ``json=``.

    Raise `ProviderError` with a class or a status if the response is late, too long, a redirect, or a server error.
    """
    with Deadline(TOTAL_SECONDS) as deadline:
        token = _deadline.set(deadline)
        try:
            status, raw = _send_request(url, headers, body)
            reason = "" if not deadline.passed else "Deadline"
        except Exception as error:
            # SECURITY: the class only. The messages of requests and urllib3 contain the URL, and Kavenegar's URL
            # contains the API key. Raised below and not here, so that no traceback shows this error as the context.
            reason = "Deadline" if deadline.passed else type(error).__name__
        finally:
            _deadline.reset(token)
    if reason:
        raise ProviderError(reason)
    if len(raw) > MAX_BYTES:
        raise ProviderError("TooLong")
    if 300 <= status < 400 or status >= 500:
        raise ProviderError(f"HTTP {status}")
    return ProviderResponse(status, _decode(raw))


def refusal_error(
    response: ProviderResponse, status: object, message_faults: Container[int]
) -> ProviderError:
    """Return the error for a response whose own ``status`` is not success, or is not a status at all."""
    if not isinstance(status, int) or isinstance(status, bool):
        return ProviderError(f"HTTP {response.status}, not understood")
    return ProviderError(f"status {status}"[:40], is_message_fault=status in message_faults)


def _send_request(url: str, headers: Mapping[str, str], body: dict[str, Any]) -> tuple[int, bytes]:
    with requests.Session() as session:
        # SECURITY: no proxy and no .netrc of the environment may see keys and codes; certificates are certifi's.
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(max_retries=0))
        response = session.post(
            url,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", **headers},
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,  # SECURITY: a redirect must not receive the key and a code
            stream=True,
            **body,
        )
        with response:
            raw = bytearray()
            for chunk in response.iter_content(CHUNK):
                raw += chunk
                if len(raw) > MAX_BYTES:
                    break
            return response.status_code, bytes(raw)


def _decode(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):  # 64 KB of "[" nest too deep
        return None
