"""One POST to a webhook: the name is resolved once, its addresses are checked, and the connection goes to one of them.

Redirects, proxies of the environment and `.netrc` are not used. Of the answer only the status is read.
"""

import asyncio
import functools
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

import anyio
import anyio.to_thread
import httpx

from hitobit_portal.http import destinations, outgoing
from hitobit_portal.http.destinations import Network

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
#: Addresses of one name that are tried.
MAX_ADDRESSES = 4
MAX_URL = 500
USER_AGENT = "Hitobit-Portal-Webhooks/1"
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-:")
Address = IPv4Address | IPv6Address


class Refused(Exception):
    """The request is not sent: an address is not allowed, or the name has none."""


@dataclass(frozen=True)
class Answer:
    """``status``: of the answer, None without one; ``error``: a class, "" if there is an answer."""

    status: int | None
    error: str
    took_ms: int

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def url_problem(url: str, networks: Collection[Network]) -> str:
    """Return what is wrong with the address of an endpoint, "" if nothing is.

    SECURITY: without user, query and fragment: credentials belong there, and addresses are shown to staff and in logs
    of proxies. The signature proves the sender.
    """
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        return "it is no address such as https://hooks.example.com/portal"
    host = parts.hostname or ""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return f"it has more than {MAX_URL} characters, or some that are not printable ASCII"
    if parts.scheme not in ("https", "http") or not host or set(host) - _HOST_CHARACTERS:
        return "it is no address such as https://hooks.example.com/portal"
    if "@" in parts.netloc or "?" in url or "#" in url:
        return "it has a user, a query or a fragment"
    if parts.scheme == "http" and not networks:
        return "it is not https://; plain http is for addresses in PORTAL_WEBHOOK_NETWORKS only"
    return ""


def post(url: str, headers: Mapping[str, str], body: bytes, networks: Collection[Network]) -> Answer:
    """Send ``body``, in a thread without an event loop. Never raise: what goes wrong is in the answer, as a class."""
    started = time.monotonic()
    status, error = None, ""
    try:
        status = asyncio.run(_post(urlsplit(url), headers, body, networks))
    except Refused as refused:
        error = str(refused)
    except Exception as raised:
        # SECURITY: the class only: messages contain addresses, and parts of what a server sent.
        error = outgoing.reason_of(raised)[:40]
    return Answer(status, error, int((time.monotonic() - started) * 1000))


async def _post(
    parts: SplitResult, headers: Mapping[str, str], body: bytes, networks: Collection[Network]
) -> int:
    # SECURITY: one deadline over all of it, as a server that sends a byte now and then restarts every other one.
    with anyio.fail_after(TOTAL_SECONDS):
        addresses = await _resolve(parts, networks)
        last: Exception = Refused("NoAddress")
        for address in addresses[:MAX_ADDRESSES]:
            try:
                return await _post_to(address, parts, headers, body)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                last = error
        raise last


async def _resolve(parts: SplitResult, networks: Collection[Network]) -> list[Address]:
    """Return the addresses of the host. Raise `Refused` if it has none, or one that is not allowed.

    SECURITY: this is the only look-up. If the connection looked the name up again, whoever owns it would answer with a
    public address here and with one of our own network there.
    """
    port = parts.port or (443 if parts.scheme == "https" else 80)
    look_up = functools.partial(socket.getaddrinfo, parts.hostname, port, type=socket.SOCK_STREAM)
    try:
        # A resolver that hangs keeps a thread and not this request.
        rows = await anyio.to_thread.run_sync(look_up, abandon_on_cancel=True)
    except (OSError, UnicodeError):
        raise Refused("NoAddress") from None
    addresses = list(dict.fromkeys(ip_address(str(row[4][0])) for row in rows))
    for address in addresses:
        listed = destinations.is_within(address, networks)
        if not listed and not (parts.scheme == "https" and destinations.is_public(address)):
            raise Refused("AddressNotAllowed")
    return addresses


async def _post_to(address: Address, parts: SplitResult, headers: Mapping[str, str], body: bytes) -> int:
    host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    pinned = parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}").geturl()
    async with (
        httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            verify=outgoing.tls_context(),
            timeout=httpx.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS),
        ) as client,
        client.stream(
            "POST",
            pinned,
            content=body,
            headers={**headers, "Host": parts.netloc, "User-Agent": USER_AGENT, "Connection": "close"},
            # The certificate is checked for the name, though the connection goes to its address.
            extensions={"sni_hostname": parts.hostname},
        ) as response,
    ):
        # SECURITY: no body is read: it would be what a server within our network says.
        return response.status_code
