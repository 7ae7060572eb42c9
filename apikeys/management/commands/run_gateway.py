"""``manage.py run_gateway``: the machine door alone; what ``make gateway`` and production run."""

import contextlib
import os
import resource
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

#: Connections that a process holds, idle ones too; the next is closed until one ends.
#: SECURITY: at 1,024 whoever opened that many and said nothing kept everybody out. Half a header takes 128 KB at most,
#: and 10 s later it is cut off: 2 GB that strangers in the gateways' network could hold.
CONNECTIONS = 16_384


def connections() -> int:
    """As many as open files allow, an eighth of them left for all else; has the system allow this process enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS * 8 // 7 + 1
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit that it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return CONNECTIONS if soft == resource.RLIM_INFINITY else min(CONNECTIONS, soft - soft // 8)


def in_batches() -> None:
    """Has this process, and what it starts, wait for its turn when it is woken, where the system knows that (Linux).

    More requests are then read at a time.
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
        in_batches()
        arguments = [
            *("--host", options["host"], "--port", str(options["port"])),
            *("--workers", str(options["workers"]), "--connections", str(connections())),
            *("--log-format", settings.LOG_FORMAT),
            *(("--while-pid", str(options["while_pid"])) if options["while_pid"] else ()),
        ]
        os.execv(sys.executable, [sys.executable, "-m", "apikeys.gateway.supervisor", *arguments])  # nosec B606
