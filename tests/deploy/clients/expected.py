"""What each client is expected to do behind the proxies; the table of docs/clients.md is made of it.

A call is sent in the query string unless ``forms`` says another place. ``failures`` are the client's own: each is shown
in the table with its reason, and a test fails as soon as the client does better.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.support.production import ROOT

HERE = ROOT / "tests/deploy/clients"
KEYS = ("hmac", "ed25519", "rsa")
#: Calls → their columns.
CALLS = {
    "time": "server time", "market": "market data", "trades": "old trades (key only)", "stream": "user stream",
    "keepalive": "user stream, kept", "account": "account", "order": "order",
    "reserved": "order, id with ` +/=&`", "cancel": "cancel", "withdraw": "withdraw",
}  # fmt: skip
Form = Literal["body", "both"]


@dataclass(frozen=True)
class Client:
    """``runs``: the environment of the program. ``missing``: calls that the client does not offer."""

    name: str
    registry: str
    runs: Literal["portal", "python", "node"]
    forms: Mapping[str, Form] = field(default_factory=dict)
    #: (Kind of key, or "" for each; call) → reason.
    failures: Mapping[tuple[str, str], str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def failure(self, key: str, call: str) -> str | None:
        return self.failures.get((key, call)) or self.failures.get(("", call))

    @property
    def version(self) -> str:
        """The version that is installed, from the lock file."""
        if self.registry == "npm":
            lock = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))
            return str(lock["packages"][f"node_modules/{self.name}"]["version"])
        file = "requirements-dev.txt" if self.runs == "portal" else "requirements-clients.txt"
        match = re.search(rf"(?m)^{self.name}==(\S+)", (ROOT / file).read_text(encoding="utf-8"))
        assert match, f"{self.name} is not in {file}"
        return match[1]


_STREAM_GONE = ("stream", "keepalive")
_CCXT: Mapping[str, Form] = dict.fromkeys(("keepalive", "order", "reserved", "withdraw"), "body")
_SIGNS_PLAIN = "signs these characters unencoded, and sends them encoded"
_SIGNS_OTHER = "signs `%20` for a space, and sends `+`"
CLIENTS = {
    f"{client.registry}:{client.name}": client
    for client in (
        Client("binance-connector", "PyPI", "portal"),
        Client(
            "python-binance", "PyPI", "python", failures={("", "reserved"): _SIGNS_PLAIN},
            forms=dict.fromkeys(("keepalive", "order", "reserved", "cancel", "withdraw"), "body"),
        ),
        Client("binance-sdk-spot", "PyPI", "python", missing=(*_STREAM_GONE, "withdraw")),
        Client("ccxt", "PyPI", "python", forms=_CCXT),
        Client("@binance/connector", "npm", "node"),
        Client(
            "@binance/spot", "npm", "node",
            failures={("", "reserved"): _SIGNS_OTHER}, missing=(*_STREAM_GONE, "withdraw"),
        ),
        Client("binance", "npm", "node"),
        Client("binance-api-node", "npm", "node"),
        Client(
            "node-binance-api", "npm", "node", missing=_STREAM_GONE,
            forms=dict.fromkeys(("order", "reserved", "withdraw"), "body"),
            failures={
                ("", "reserved"): _SIGNS_OTHER,
                ("", "trades"): "sends no key with this call",
                **dict.fromkeys([("rsa", "order"), ("rsa", "withdraw")], "encodes the signature twice in a body"),
            },
        ),
        Client("ccxt", "npm", "node", forms=_CCXT),
    )
}  # fmt: skip
