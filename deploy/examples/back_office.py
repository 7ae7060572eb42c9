"""A trial of moving in: the back office of an exchange, its customers and its receiver of webhooks, in one file.

``python back_office.py --portal URL --gateway URL --data DIRECTORY``, beside manage.py and in the portal's environment.
compose.yaml beside this file starts what it needs. It imports ten customers. One of them logs in with the exchange's
account, creates a key with both codes, and sends a signed request. Then the back office freezes the account. Each step
prints a line; the exit code is 1 if one of them fails.

Packages: those of requirements.txt.
"""

import argparse
import csv
import hashlib
import hmac
import json
import queue
import re
import secrets
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import httpx
import pyotp
from standardwebhooks import Webhook, WebhookVerificationError

CUSTOMERS = 10
WAIT_SECONDS, POLL_SECONDS = 120.0, 0.1
PERIOD = 30
COLUMNS = ("external_id", "phone", "name", "phone_verified", "totp_secret")


def manage(*arguments: str) -> str:
    """Return what ``manage.py arguments`` prints."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def client(**options: Any) -> httpx.Client:
    """Return a client that keeps no connection, and so needs no end."""
    return httpx.Client(
        trust_env=False, timeout=60, limits=httpx.Limits(max_keepalive_connections=0), **options
    )


class Customer:
    """A customer, with a phone, an authenticator and a browser without JavaScript.

    ``external_id``: the exchange's own id, which its OpenID provider calls ``sub``; ``seed``: base32.
    """

    def __init__(self, external_id: str, phone: str) -> None:
        self.external_id, self.phone = external_id, phone
        self.seed = pyotp.random_base32()
        self._last_step = 0
        self._browser: httpx.Client
        self._page: httpx.Response

    def row(self) -> dict[str, str]:
        """Return the customer's row for ``manage.py import_users``."""
        name = f"مشتری {self.external_id}"
        values = (self.external_id, self.phone, name, "true", self.seed)
        return dict(zip(COLUMNS, values, strict=True))

    def log_in(self, portal: str) -> None:
        """Log in with the exchange's account, and with the authenticator as the second factor."""
        self._browser = client(base_url=portal, follow_redirects=True)
        at_exchange = self._get("/login/oidc/")
        # The exchange's own login page; its password is not the portal's business, and this provider has none.
        self._get(str(at_exchange.url.copy_merge_params({"as": self.external_id})))
        self._get("/login/second-factor/?method=totp")
        self._post(code=self._code())
        expect(self._page.url.path == "/dashboard/", f"the login ends at {self._page.url.path}")

    def create_key(self, name: str, data: Path) -> tuple[str, str]:
        """Create a key with both codes. Return the API key and the secret."""
        self._get("/keys/")
        self._post("/keys/", name=name)
        codes = {"sms_code": self._newest_sms(data), "totp_code": self._code()}
        self._post("/keys/new/verify/", **codes)
        shown = [
            re.search(r'<bdi id="api-key"[^>]*>([^<]*)</bdi>', self._page.text),
            re.search(r'<bdi id="api-secret"[^>]*>([^<]*)</bdi>', self._page.text),
        ]
        expect(all(shown), f"no key is shown at {self._page.url.path}")
        key, secret = (match[1].strip() for match in shown if match is not None)
        return key, secret

    def _get(self, path: str) -> httpx.Response:
        self._page = self._browser.get(path)
        expect(self._page.status_code == 200, f"{self._page.url} answers {self._page.status_code}")
        return self._page

    def _post(self, path: str = "", **fields: str) -> None:
        """Send the form of the page, to ``path`` or to where the page is."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self._page.text)
        form = {"csrfmiddlewaretoken": token[1] if token else "", **fields}
        self._page = self._browser.post(path or str(self._page.url), data=form)
        expect(self._page.status_code == 200, f"{self._page.url} answers {self._page.status_code}")

    def _code(self) -> str:
        """Return a code of the authenticator that was not used yet: each one works once."""
        self._last_step = max(self._last_step + 1, int(time.time()) // PERIOD)
        wait_until(lambda: int(time.time()) // PERIOD >= self._last_step - 1, "the next code")
        return pyotp.TOTP(self.seed).generate_otp(self._last_step)

    def _newest_sms(self, data: Path) -> str:
        """Return the code of the newest SMS that a demo's portal wrote into ``data`` in place of sending it."""
        codes: list[str] = []

        def has_come() -> bool:
            for path in sorted((data / "sms").glob("[!.]*.json")):
                message = json.loads(path.read_text(encoding="utf-8"))
                if message["to"] == self.phone and message["code"]:
                    codes.append(message["code"])
            return bool(codes)

        wait_until(has_come, "the SMS")
        return codes[-1]


class BackOffice:
    """Calls of the management API with a token of its own."""

    def __init__(self, portal: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._client = client(base_url=f"{portal}/manage/v1/", headers=headers)

    def user_id(self, external_id: str) -> int:
        """Return the portal's number of the exchange's customer."""
        answer = self._client.get("users", params={"external_id": external_id})
        expect(answer.status_code == 200, f"GET /users answers {answer.status_code}")
        return int(answer.json()["items"][0]["id"])

    def freeze(self, user: int, reason: str) -> None:
        """Stop the account: when this returns, no gateway allows a request of any of its keys."""
        answer = self._client.post(f"users/{user}/freeze", json={"reason": reason})
        expect(answer.status_code == 200, f"freeze answers {answer.status_code} {answer.text}")


class Gateway:
    """The question of the exchange's gateway about each request that it gets: `/gateway/v1/auth`."""

    def __init__(self, address: str, token: str) -> None:
        self._client = client(base_url=address)
        self._token = token

    def is_allowed(self, key: str, secret: str) -> bool:
        """Sign a request as clients do, and return whether the portal allows it."""
        query = urlencode({"symbol": "BTCUSDT", "timestamp": time.time_ns() // 1_000_000})
        signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        headers = {
            "Authorization": f"Bearer {self._token}",
            "X-MBX-APIKEY": key,
            "X-Original-Method": "GET",
            "X-Original-URI": f"/api/v3/openOrders?{query}&signature={signature}",
            "X-Client-IP": "203.0.113.9",
            "X-Required-Permission": "read",
        }
        answer = self._client.get("/gateway/v1/auth", headers=headers)
        expect(answer.status_code in (204, 401, 403), f"the gateway answers {answer.status_code}")
        return answer.status_code == 204


class Receiver:
    """A receiver of webhooks on a free port. Give it the secret that ``manage.py webhook create`` prints."""

    def __init__(self) -> None:
        self.secret = ""
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    event = Webhook(receiver.secret).verify(body, dict(self.headers.items()))
                except WebhookVerificationError:
                    self.send_response(401)
                else:
                    receiver._events.put(event)
                    self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/portal"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, event: str, external_id: str) -> dict[str, Any]:
        """Return the members of the next such event of the customer."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            with suppress(queue.Empty):
                data: dict[str, Any] = self._events.get(timeout=left)["data"]
                if (data["event"], data["external_id"]) == (event, external_id):
                    return data
        raise SystemExit(f"FAILED: no webhook of {event} came")


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise SystemExit(f"FAILED: {otherwise}")


def wait_until(condition: Any, name: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        expect(time.monotonic() < deadline, f"{name} did not come")
        time.sleep(POLL_SECONDS)


def write_users(path: Path, customers: list[Customer]) -> None:
    """Write the file that ``manage.py import_users --format csv`` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(customer.row() for customer in customers)


def print_step(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--portal", default="http://127.0.0.1:8000")
    parser.add_argument("--gateway", default="http://127.0.0.1:8001")
    parser.add_argument("--data", type=Path, default=Path("/data"), help="PORTAL_DATA_DIR of the portal")
    options = parser.parse_args()

    # By chance: an import changes no account that exists already.
    run, first = secrets.token_hex(4), secrets.randbelow(1_000_000)
    customers = [Customer(f"trial-{run}-{n}", f"+98935{first:06d}{n}") for n in range(CUSTOMERS)]
    users = options.data / f"users-{run}.csv"
    write_users(users, customers)
    imported = json.loads(manage("import_users", str(users), "--format", "csv", "--json"))
    users.unlink()
    expect(imported["created"] == CUSTOMERS, f"imported: {imported}")
    print_step(f"1. imported: {imported['created']} customers")

    gateway = Gateway(options.gateway, manage("gateway_token", "create", f"trial-{run}"))
    scopes = ("--scope", "users:read,users:stop", "--networks", "127.0.0.1", "--days", "1")
    back_office = BackOffice(options.portal, manage("management_token", "create", f"trial-{run}", *scopes))
    with Receiver() as receiver:
        events = ("--events", "key.*,account.frozen")
        receiver.secret = manage("webhook", "create", f"trial-{run}", receiver.url, *events)

        sara = customers[3]
        sara.log_in(options.portal)
        print_step(f"2. logged in with the exchange's account and the authenticator: {sara.external_id}")
        key, secret = sara.create_key("bot", options.data)
        print_step("3. key created with both codes")
        expect(gateway.is_allowed(key, secret), "the new key's request is refused")
        print_step("4. signed request: allowed")

        event = receiver.wait_for("key.created", sara.external_id)
        expect(event["api_key"] == key, "the webhook names another key")
        print_step("5. webhook received and verified: key.created")

        back_office.freeze(back_office.user_id(sara.external_id), "trial")
        expect(not gateway.is_allowed(key, secret), "the frozen account's request is allowed")
        print_step("6. account frozen through the management API; the next signed request: refused")
        receiver.wait_for("account.frozen", sara.external_id)
        print_step("7. webhook received and verified: account.frozen")
        manage("webhook", "delete", f"trial-{run}")
    manage("management_token", "revoke", f"trial-{run}")
    manage("gateway_token", "revoke", f"trial-{run}")


if __name__ == "__main__":
    main()
