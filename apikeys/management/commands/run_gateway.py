"""``manage.py run_gateway``: serve the authorization API; used by ``make gateway`` and in production."""

import contextlib
import importlib.util
import os
import resource
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

#: Maximum number of connections of a process, including idle ones; further ones are closed at once.
#: SECURITY: with 1,024, a client that opened that many idle connections blocked all others. An incomplete header takes
#: at most 128 KB for 10 s: hosts in the gateways' network could occupy 2 GB.
CONNECTIONS = 16_384


def connections() -> int:
    """Raise the limit of open files, and return how many connections it allows, with an eighth left for other files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS * 8 // 7 + 1
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit that it does not report
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return CONNECTIONS if soft == resource.RLIM_INFINITY else min(CONNECTIONS, soft - soft // 8)


def in_batches() -> None:
    """Use the scheduling policy SCHED_BATCH for this process and its children, where it exists (Linux).

    A process that is woken then waits for its turn, so more requests are read at a time.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def has_grpc_packages() -> bool:
    """Return whether the packages in requirements-grpc.txt are installed."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in ("grpclib", "google.protobuf"))
    except ModuleNotFoundError:  # google
        return False


class Command(BaseCommand):
    help = "Serve the authorization API on 127.0.0.1 (--host) and PORTAL_GATEWAY_PORT (8001), until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 in a container"
        )
        parser.add_argument("--port", type=int, default=settings.GATEWAY_PORT)
        parser.add_argument(
            "--grpc-port",
            type=int,
            help="also serve Envoy's ext_authz over gRPC (envoy.service.auth.v3) on this port",
        )
        parser.add_argument(
            "--workers", type=int, default=1, help="number of processes, at most one per core"
        )
        parser.add_argument(
            "--while-pid", type=int, help="exit when the parent process is no longer this one"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["grpc_port"] is not None:
            if options["grpc_port"] == options["port"]:
                raise CommandError("--grpc-port and --port are the same.")
            if not has_grpc_packages():
                raise CommandError(
                    "--grpc-port needs packages that are not installed: "
                    "pip install --require-hashes -r requirements-grpc.txt"
                )
        in_batches()
        arguments = [
            *("--host", options["host"], "--port", str(options["port"])),
            *("--workers", str(options["workers"]), "--connections", str(connections())),
            *("--log-format", settings.LOG_FORMAT),
            *(("--grpc-port", str(options["grpc_port"])) if options["grpc_port"] is not None else ()),
            *(("--while-pid", str(options["while_pid"])) if options["while_pid"] else ()),
        ]
        os.execv(sys.executable, [sys.executable, "-m", "apikeys.gateway.supervisor", *arguments])  # nosec B606
