"""``manage.py run_gateway``: the machine door alone; what ``make gateway`` and production run."""

import contextlib
import os
import signal
import subprocess  # nosec B404
import sys
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from hitobit_portal import logs

#: Slow senders of headers are cut off, and a header line can hold the longest payload.
SERVER = (
    "--interface rsgi --no-ws --http 1 --log-level warning --workers-kill-timeout 3s --backpressure 1024 "
    "--http1-header-read-timeout 10000 --http1-buffer-size 131072 --respawn-failed-workers"
)

PARENT_SECONDS = 0.5


def in_batches() -> None:
    """Has this process, and what it starts, wait for its turn when it is woken, where the system knows that (Linux).

    The server's thread that reads and the one that decides then hand over many requests at a time: a tenth less work.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class Command(BaseCommand):
    help = (
        "Serves the gateways' questions on 127.0.0.1 (--host) and PORTAL_GATEWAY_PORT (8001), until SIGTERM."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 in a container"
        )
        parser.add_argument("--port", type=int, default=settings.GATEWAY_PORT)
        parser.add_argument("--workers", type=int, default=1, help="processes, one a core at most")
        parser.add_argument("--while-pid", type=int, help="end when the parent process is no longer this one")

    def handle(self, *args: Any, **options: Any) -> None:
        where = [
            "--host",
            options["host"],
            "--port",
            str(options["port"]),
            "--workers",
            str(options["workers"]),
        ]
        in_batches()
        log = logs.server_options(settings.LOG_FORMAT)
        arguments = [
            sys.executable,
            "-m",
            "granian",
            *SERVER.split(),
            *log,
            *where,
            "apikeys.gateway.process:app",
        ]
        if options["while_pid"]:
            self._serve_while(options["while_pid"], arguments)
        else:
            os.execv(sys.executable, arguments)  # nosec B606

    def _serve_while(self, parent: int, arguments: list[str]) -> None:
        server = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)  # nosec B603
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.terminate())
        while server.poll() is None:
            if os.getppid() != parent:
                server.terminate()
            time.sleep(PARENT_SECONDS)
