"""Gateway processes as operators run them, and requests to them over real HTTP."""

import http.client
import itertools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Self

from django.db import connection

from apikeys.models import GatewayToken
from hitobit_portal.http import commit_barrier
from tests.support.binance_client import Call
from tests.support.production import ROOT
from tests.support.servers import die_with_parent, free_port

START_SECONDS = 180.0
POLL_SECONDS = 0.05
ADDRESS = "203.0.113.9"
#: Generous, as the machine may be busy; a process that does not stop by itself is killed, and that is an error.
STOP_SECONDS = 60.0
_numbers = itertools.count(1)


def token(name: str = "") -> str:
    """Create and commit a gateway token with a unique name (or ``name``); return its text."""
    made, text = GatewayToken.new(name or f"test {next(_numbers)}")
    made.save()
    # Gateways hear of it within a lease, as whoever makes one with `manage.py` is told.
    commit_barrier.changed()
    commit_barrier.wait()
    return text


def database_url() -> str:
    """Return the URL of the database of this test, for other processes."""
    parts = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{parts['NAME']}"
    return f"postgresql://{parts['USER']}:{parts['PASSWORD']}@{parts['HOST']}:{parts['PORT']}/{parts['NAME']}"


@dataclass
class GatewayResponse:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> int:
        """Error code for the client; 0 if the request is allowed."""
        return int(self.headers.get("x-portal-code", "0"))

    def json(self) -> Any:
        return json.loads(self.body)


class GatewayProcess:
    """``manage.py run_gateway`` on a free port; ``environ`` overrides the settings of the tests.

    ``grpc``: serve ext_authz over gRPC, too, on ``grpc_port``.
    """

    arguments: tuple[str, ...] = ()

    def __init__(self, bearer: str, environ: dict[str, str] | None = None, *, grpc: bool = False) -> None:
        self.bearer = bearer
        self.port = free_port()
        self.grpc_port = free_port()
        if grpc:
            self.arguments = (*self.arguments, "--grpc-port", str(self.grpc_port))
        self.environ = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "PORTAL_GATEWAY_PORT": str(self.port),
            "PORTAL_GATEWAY_SECURITY_TYPES": "signed,key,none",
            **(environ or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "run_gateway", *self.arguments],
            cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if self.ask("GET", "/readyz", token="").status == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("The gateway does not start.")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop as an operator does; statistics are written."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.process = None

    def kill(self) -> None:
        """Kill all of its processes at once."""
        if self.process is not None:
            subprocess.run(["pkill", "-KILL", "-s", str(self.process.pid)], check=False)
            self.process.wait(STOP_SECONDS)
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        *,
        token: str | None = None,
    ) -> GatewayResponse:
        """Send one request on its own connection; ``token`` "" sends none."""
        connection = self.connection()
        try:
            return self.ask_on(connection, method, path, headers, body, token=token)
        finally:
            connection.close()

    def ask_on(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        *,
        token: str | None = None,
    ) -> GatewayResponse:
        bearer = self.bearer if token is None else token
        authorization = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        connection.request(method, path, body=body, headers={**authorization, **(headers or {})})
        response = connection.getresponse()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return GatewayResponse(response.status, lower, response.read())

    def auth(
        self, call: Call, permission: str = "read", address: str = ADDRESS, **headers: str
    ) -> GatewayResponse:
        """Send ``/gateway/v1/auth`` for ``call``, which has no body."""
        return self.ask("GET", "/gateway/v1/auth", {**auth_headers(call, permission, address), **headers})

    def authorize(self, *calls: Call, permission: str = "read", address: str = ADDRESS) -> Any:
        """Send ``/gateway/v1/authorize`` for one call, or for several as a batch; return the decoded response."""
        requests = [as_json(call, permission, address) for call in calls]
        document = requests[0] if len(requests) == 1 else {"requests": requests}
        return self.ask("POST", "/gateway/v1/authorize", body=json.dumps(document).encode()).json()

    def envoy(self, call: Call, permission: str = "read", address: str = ADDRESS) -> GatewayResponse:
        headers = {**call.headers, "X-Client-IP": address, "X-Required-Permission": permission}
        path = "/gateway/v1/envoy" + call.path + ("?" + call.query.decode() if call.query else "")
        return self.ask(call.method, path, headers, call.body or None)


def auth_headers(call: Call, permission: str = "read", address: str = ADDRESS) -> dict[str, str]:
    return {
        "X-MBX-APIKEY": call.headers["X-MBX-APIKEY"],
        "X-Original-Method": call.method,
        "X-Original-URI": call.path + ("?" + call.query.decode() if call.query else ""),
        "X-Client-IP": address,
        "X-Required-Permission": permission,
    }


def as_json(call: Call, permission: str = "read", address: str = ADDRESS) -> dict[str, str]:
    return {
        "api_key": call.headers["X-MBX-APIKEY"],
        "method": call.method,
        "path": call.path,
        "query": call.query.decode(),
        "body": call.body.decode(),
        "client_ip": address,
        "permission": permission,
    }
