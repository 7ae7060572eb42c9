"""The portal as people run it: ``manage.py run_demo`` in a process of its own, over real HTTP."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.production import ROOT, without_settings
from tests.support.servers import die_with_parent, free_port

START_SECONDS = 180.0  # migrations, static files and an argon2 hash on two busy cores
STOP_SECONDS = 60.0
SMS_SECONDS = 60.0
POLL_SECONDS = 0.05


class LivePortal:
    """A running demo portal. ``environ`` adds to (or overrides) the demo's settings."""

    def __init__(self, data_dir: Path, environ: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir / "portal.log"
        self.environ = {
            **without_settings(dict(os.environ)),
            "PORTAL_DEMO": "true",
            "PORTAL_DATA_DIR": str(data_dir),
            "PORT": str(self.port),
            "PORTAL_GATEWAY_PORT": "0",
            "PYTHONUNBUFFERED": "1",
            **(environ or {}),
        }
        self.demo: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "LivePortal":
        """Starts (or starts again) and returns when ``/healthz`` answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "run_demo"],
                cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"The portal does not start:\n{self.tail()}")
            time.sleep(POLL_SECONDS)
        if not self.demo:
            self.demo = json.loads(self.manage("create_demo", "--json"))
        return self

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def manage(self, *arguments: str) -> str:
        """What ``manage.py arguments`` prints in the environment of this portal."""
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        if result.returncode:
            raise RuntimeError(f"manage.py {arguments[0]}: {result.stderr[-2000:]}")
        return result.stdout

    def tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def newest_sms(self) -> str:
        """The file name of the newest message, or ``""``: what ``sms(after=...)`` takes."""
        return max((path.name for path in (self.data_dir / "sms").glob("[!.]*.json")), default="")

    def sms(self, after: str = "") -> dict[str, Any]:
        """The newest message with a code that is newer than the file ``after``; waits for it, since they're sent
        off-request. Notices, which the sender beside the server sends when it likes, are passed over."""
        deadline = time.monotonic() + SMS_SECONDS
        while True:
            for path in sorted((self.data_dir / "sms").glob("[!.]*.json"), reverse=True):
                message: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                if path.name > after and message["code"]:
                    return message
            if time.monotonic() > deadline:
                raise RuntimeError(f"No message came within {SMS_SECONDS:.0f} s:\n{self.tail()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, 9)
                self.process.wait()
            self.process = None
