"""A real nginx with deploy/nginx/portal.conf, as operators get it; only addresses, ports and paths are replaced."""

import os
import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import Self

from cryptography import x509

from tests.conftest import unavailable
from tests.support.certificates import self_signed
from tests.support.production import ROOT
from tests.support.servers import die_with_parent, free_port, nginx_temporary

HOST = "keys.example.com"
START_SECONDS = 60.0


class Nginx:
    """nginx with ``text`` in its context http, and its own files in ``directory``."""

    def __init__(self, directory: Path, text: str) -> None:
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            unavailable("nginx is not installed")
            raise AssertionError
        self.directory = directory
        # As root it would give its workers another user, who may not read the directories of tests.
        user = "user root;" if os.geteuid() == 0 else ""
        (directory / "nginx.conf").write_text(
            f"{user} daemon off; pid {directory}/pid; error_log {directory}/error.log; events {{}}\n"
            f"http {{ {nginx_temporary(directory)}\n{text} }}"
        )
        self._command = [
            program,
            "-e",
            f"{directory}/error.log",
            "-p",
            str(directory),
            "-c",
            f"{directory}/nginx.conf",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def errors(self) -> str:
        return (self.directory / "error.log").read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, preexec_fn=die_with_parent, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not (self.directory / "pid").exists():
            assert self._process.poll() is None, self.errors
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


class PortalNginx(Nginx):
    """nginx before the servers on ports ``a`` and ``b`` of 127.0.0.1.

    ``state``, ``drain``: what it has for /var/lib/portal and /run/portal-drain.
    """

    def __init__(self, directory: Path, a: int, b: int, *, state: Path, drain: Path) -> None:
        self.plain, self.tls = free_port(), free_port()
        certificate(directory)
        self.context = ssl.create_default_context(cafile=str(directory / "tls-certificate"))
        text = replaced(
            (ROOT / "deploy/nginx/portal.conf").read_text(encoding="utf-8"),
            {
                "portal-a:8000": f"127.0.0.1:{a}",
                "portal-b:8000": f"127.0.0.1:{b}",
                "listen 8080": f"listen 127.0.0.1:{self.plain}",
                "listen 8443": f"listen 127.0.0.1:{self.tls}",
                "/run/secrets": str(directory),
                "/run/portal-drain": str(drain),
                "/var/lib/portal": str(state),
                "/dev/stdout": f"{directory}/access.log",
                "/dev/stderr": f"{directory}/error.log",
            },
        )
        super().__init__(directory, text)


def replaced(text: str, values: dict[str, str]) -> str:
    """Return ``text`` with each key of ``values``, which it has to contain, replaced by its value."""
    for old, new in values.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def certificate(directory: Path) -> None:
    made, key = self_signed(x509.DNSName(HOST))
    (directory / "tls-certificate").write_bytes(made)
    (directory / "tls-key").write_bytes(key)
