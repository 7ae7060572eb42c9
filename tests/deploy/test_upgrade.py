"""Installation, upgrade and return as docs/operating.md has them, word for word, while customers use the portal."""

import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.test import Client

from tests.conftest import unavailable
from tests.support.documented_machine import DOCUMENT, Machine, blocks
from tests.support.portal_nginx import HOST, PortalNginx
from tests.support.production import ROOT
from tests.support.servers import Missing, Postgres, Valkey

START_SECONDS = 180.0
#: Answers of each kind that have to be there before, during and after a restart.
ENOUGH = 20


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    try:
        with Postgres() as postgres, Valkey() as valkey:
            machine = Machine(tmp_path / "machine", postgres, valkey)
            yield machine
            machine.stop()
    except Missing as error:
        unavailable(str(error))


class Customers:
    """Pages, POSTs and static files through nginx, in a thread each. ``failed``: requests without the right answer."""

    def __init__(self, nginx: PortalNginx) -> None:
        self.counts: Counter[str] = Counter()
        self.failed: list[str] = []
        self._nginx = nginx
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop, args=(kind,)) for kind in ("page", "post", "static")
        ]

    def _client(self) -> httpx.Client:
        headers = {"Host": HOST, "Referer": f"https://{HOST}/login/"}
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self._nginx.tls}",
            headers=headers,
            verify=self._nginx.context,
            timeout=60,
            trust_env=False,
        )

    def _loop(self, kind: str) -> None:
        with self._client() as client:
            while not self._stop.is_set():
                try:
                    self._request(client, kind)
                except httpx.HTTPError as error:
                    self.failed.append(f"{kind}: {type(error).__name__} {error}")
                else:
                    self.counts[kind] += 1

    def _request(self, client: httpx.Client, kind: str) -> None:
        page = self._answer(client.get("/login/", extensions={"sni_hostname": HOST}), "page", 200)
        if kind == "post":
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
            assert token
            cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
            # No number: the form is shown again, and no password is hashed.
            fields = {"csrfmiddlewaretoken": token[1], "phone": "0", "password": "x"}
            sent = client.post(
                "/login/", data=fields, headers={"Cookie": cookie}, extensions={"sni_hostname": HOST}
            )
            self._answer(sent, "post", 200, 429)
        if kind == "static":
            for path in re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text):
                self._answer(client.get(path, extensions={"sni_hostname": HOST}), path, 200)

    def _answer(self, response: httpx.Response, what: str, *expected: int) -> httpx.Response:
        if response.status_code not in expected:
            self.failed.append(f"{what}: {response.status_code}")
        return response

    def wait(self) -> None:
        """Until each kind of request was answered `ENOUGH` more times."""
        before, deadline = Counter(self.counts), time.monotonic() + START_SECONDS
        while any(self.counts[kind] < before[kind] + ENOUGH for kind in ("page", "post", "static")):
            assert time.monotonic() < deadline, self.failed[-5:]
            time.sleep(0.1)

    def __enter__(self) -> "Customers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def started_block() -> str:
    """The line of the installation that starts the units."""
    line = re.search(r"(?m)^systemctl enable --now .*$", DOCUMENT.read_text(encoding="utf-8"))
    assert line
    units = "cp -r deploy/systemd/* /etc/systemd/system/\nsystemctl daemon-reload\n"
    return units + line[0]


@pytest.mark.verify
@pytest.mark.postgres
def test_an_upgrade_and_the_return_lose_no_request(machine: Machine, tmp_path: Path) -> None:
    release, switch, restart = blocks("upgrade")
    machine.run(machine.sources("old"), *blocks("install"), started_block())
    until_ready(machine)
    front = tmp_path / "front"
    front.mkdir()
    state, drain = (Path(machine.localized(path)) for path in ("/var/lib/portal", "/run/portal-drain"))
    nginx = PortalNginx(
        front, int(machine.ports["8000"]), int(machine.ports["8010"]), state=state, drain=drain
    )
    newer = machine.sources("new")
    style = next((newer / "static").rglob("*.css"))
    style.write_text(style.read_text(encoding="utf-8") + "\n/* of the new version */\n", encoding="utf-8")
    with nginx, Customers(nginx) as customers:
        customers.wait()
        time.sleep(1)  # a release is named by the second in which it is installed
        machine.run(newer, release, switch, restart)
        customers.wait()
        machine.run(newer, *blocks("back"), restart)
        customers.wait()
    print(customers.counts)
    assert customers.failed == [], (Counter(customers.failed), nginx.errors[-4000:])
    current = (machine.root / "opt/portal/current").resolve()
    assert current == sorted((machine.root / "opt/portal/releases").iterdir())[0]


def until_ready(machine: Machine) -> None:
    wait = "until .venv/bin/python -m hitobit_portal.http.healthcheck {} /readyz; do sleep 1; done"
    machine.run(
        machine.root / "opt/portal/current", *(wait.format(port) for port in machine.ports if port.isdigit())
    )


@pytest.mark.django_db
def test_static_files_are_sent_whole_and_not_streamed() -> None:
    """A stopped server cut a streamed file after its headers, when nginx can ask no other server."""
    page = Client().get("/login/", secure=True, headers={"host": "portal.test"}).content.decode()
    path = re.findall(r'(?:href|src)="(/static/[^"]+\.css)"', page)[0]
    ask = {"host": "portal.test"}
    file = Client().get(path, secure=True, headers=ask)
    assert (file.status_code, file.streaming) == (200, False)
    assert file.headers["Content-Length"] == str(len(file.content))
    unchanged = Client().get(path, secure=True, headers={**ask, "if-none-match": file.headers["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    part = Client().get(path, secure=True, headers={**ask, "range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, file.content[:10])


@pytest.mark.parametrize("variable", ["PORTAL_HOME", "PORTAL_ETC", "PORTAL_STATE"])
def test_variables_of_portal_manage_stay_its_own(variable: str, tmp_path: Path) -> None:
    """A variable PORTAL_* that is no setting stops the portal, and so they are not passed on."""
    home = tmp_path / "home"
    (home / ".venv/bin").mkdir(parents=True)
    python = home / ".venv/bin/python"
    python.write_text("#!/bin/sh\nenv\n")
    python.chmod(0o755)
    (tmp_path / "portal.env").write_text("PORTAL_PROCESSES=4\n")
    given = {"PORTAL_HOME": str(home), "PORTAL_ETC": str(tmp_path), "PORTAL_STATE": str(tmp_path / "state")}
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "setpriv").write_text('#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n')
    (shims / "setpriv").chmod(0o755)
    environ = {"PATH": f"{shims}:{os.environ['PATH']}", **given}
    shown = subprocess.run(
        ["sh", ROOT / "deploy/portal-manage", "check"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    passed = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    assert variable not in passed
    assert passed["PORTAL_DATA_DIR"] == given["PORTAL_STATE"]
    assert passed["PORTAL_SECRET_KEY_FILE"] == f"{tmp_path}/secrets/secret-key"
