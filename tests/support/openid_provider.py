"""A real OpenID provider for the tests: the npm package oidc-provider, in `tests/accounts/oidc/provider`."""

import json
import secrets
import shutil
import subprocess
from typing import Any
from urllib.parse import urljoin
from urllib.request import urlopen

import httpx
from django.http import HttpResponse
from django.test import Client
from django.utils.http import urlencode

from tests.support.production import HOST, ROOT
from tests.support.servers import Missing, Server

DIRECTORY = ROOT / "tests/accounts/oidc/provider"
LEAST_NODE = 20
BEGIN, CALLBACK = "/login/oidc/", "/login/oidc/callback/"


class OpenIdProvider(Server):
    """``issuer`` is its address, ``portal`` that of its client. `control` makes it faulty; each call ends the faults of
    the one before.
    """

    name = "openid-provider"
    client_id = "portal"

    def __init__(self, portal: str = f"https://{HOST}") -> None:
        node = shutil.which("node")
        if node is None:
            raise Missing("Node.js is not installed.")
        version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
        if int(version.removeprefix("v").partition(".")[0] or 0) < LEAST_NODE:
            raise Missing(f"Node.js {LEAST_NODE} or newer is needed, and it is {version.strip()}.")
        if not (DIRECTORY / "node_modules/oidc-provider").is_dir():
            raise Missing("Its packages are not installed; run: make openid")
        super().__init__()
        self.node, self.portal = node, portal
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.client_secret = f"%+{secrets.token_urlsafe(32)}"  # characters that RFC 6749 wants encoded

    def command(self) -> list[str]:
        return [
            self.node, str(DIRECTORY / "provider.mjs"), str(self.port), f"{self.portal}{CALLBACK}",
            self.client_secret,
        ]  # fmt: skip

    def ping(self) -> None:
        with urlopen(f"{self.issuer}/.well-known/openid-configuration", timeout=10):
            pass

    def control(self, **wanted: Any) -> dict[str, Any]:
        """Change what it does; see `provider.mjs`."""
        answer = httpx.post(f"{self.issuer}/control", json=wanted, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = json.loads(answer.text)
        return result

    def logout_token(self, subject: str, **changes: Any) -> str:
        token: str = self.control(logout=subject, **changes)["logout_token"]
        return token

    def answer_for(self, url: str, subject: str) -> str:
        """Log in as ``subject`` on the provider's pages, from the address that the portal sent the browser to.

        Return the address on the portal to which the provider sends it back. ``subject`` "": the customer cancels.
        """
        with httpx.Client(trust_env=False, timeout=30) as browser:
            for _step in range(10):
                answer = browser.get(url)
                assert answer.is_redirect, f"{answer.status_code} {answer.text[:500]}"
                url = urljoin(url, answer.headers["location"])
                if url.startswith(f"{self.portal}/"):
                    return url.removeprefix(self.portal)
                if "/interaction/" in url:
                    url += f"?{urlencode({'as': subject})}"
        raise AssertionError(f"the provider does not come to an end: {url}")

    def log_in(self, client: Client, subject: str, next_url: str = "") -> HttpResponse:
        """Go the whole way in ``client`` and return what the portal answers at its end."""
        url = self.answer_for(begun(client, next_url), subject)
        return client.get(url)  # type: ignore[return-value]


def begun(client: Client, next_url: str = "") -> str:
    """Begin a login and return the provider's address to which the portal sends the browser."""
    answer = client.get(BEGIN, {"next": next_url} if next_url else {})
    assert answer.status_code == 302, answer.content[:500]
    location: str = answer["Location"]
    return location
