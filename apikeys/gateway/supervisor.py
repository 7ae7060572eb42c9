"""The parent of the gateway's worker processes: start, restart and stop them. No Django, no ORM.

`manage.py run_gateway` replaces itself with ``python -m apikeys.gateway.supervisor``.
"""

from __future__ import annotations

import argparse
import logging
import logging.config
import os
import signal
import socket
import subprocess  # nosec B404
import sys
import time

from apikeys.gateway.worker import MISCONFIGURED, SHUTDOWN_SECONDS
from hitobit_portal.observability import logs

logger = logging.getLogger("portal.gateway")
POLL_SECONDS = 0.1
#: Delay between the end of a worker and its restart.
RESTART_DELAY_SECONDS = 0.5
#: When a worker has run for this time, the settings are valid: a later failure to start is temporary.
STARTUP_SECONDS = 30.0
#: Time from SIGTERM to SIGKILL: `worker.SHUTDOWN_SECONDS` for pending responses, and the last write of statistics.
KILL_SECONDS = SHUTDOWN_SECONDS + 5


class Supervisor:
    """Runs ``workers`` processes of ``command``, until the process ``parent`` ends (None: until a signal)."""

    def __init__(self, command: list[str], workers: int, parent: int | None) -> None:
        self._command = command
        self._count = workers
        self._parent = parent
        self._workers: list[subprocess.Popen[bytes]] = []
        self._startup_until = 0.0
        #: Not a `threading.Event`: a signal handler that sets it while the same thread reads it would deadlock.
        self._stopped = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until ``parent`` has ended. Return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._workers = [self._start() for _ in range(self._count)]
        self._startup_until = time.monotonic() + STARTUP_SECONDS
        code = 0
        while not code and not self._stopped:
            time.sleep(POLL_SECONDS)
            if self._parent is not None and os.getppid() != self._parent:
                break
            code = self._restart_dead_workers()
        self._end()
        return code

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL)  # nosec B603

    def _restart_dead_workers(self) -> int:
        """Restart dead workers. Return non-zero if a restart cannot help."""
        for index, worker in enumerate(self._workers):
            code = worker.poll()
            if code == MISCONFIGURED and time.monotonic() < self._startup_until:
                return 1
            if code is not None:
                logger.error("gateway worker %d ended with code %d; restarting", worker.pid, code)
                time.sleep(RESTART_DELAY_SECONDS)
                # A signal to the process group ends the workers, too.
                if self._stopped:
                    break
                self._workers[index] = self._start()
        return 0

    def _end(self) -> None:
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + KILL_SECONDS
        for worker in self._workers:
            try:
                worker.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("gateway worker %d did not stop; killing it", worker.pid)
                worker.kill()


def is_port_free(host: str, port: int) -> bool:
    """Return whether the port is free. Workers that share a port would share it with another program, too."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        sys.stderr.write(f"The gateway cannot listen on {host}, port {port}: {error.strerror}.\n")
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    for name in ("--port", "--workers", "--connections"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--log-format", required=True)
    parser.add_argument("--while-pid", type=int)
    parser.add_argument("--grpc-port", type=int)
    arguments = parser.parse_args()
    logging.config.dictConfig(logs.configuration(arguments.log_format, "INFO"))
    ports = [port for port in (arguments.port, arguments.grpc_port) if port is not None]
    if not all(is_port_free(arguments.host, port) for port in ports):
        return 1
    options = ["shared"] if arguments.workers > 1 else []
    if arguments.grpc_port is not None:
        options.append(f"grpc={arguments.grpc_port}")
    worker = [
        sys.executable,
        "-m",
        "apikeys.gateway.worker",
        arguments.host,
        str(arguments.port),
        str(arguments.connections),
        str(os.getpid()),
    ]
    return Supervisor([*worker, *options], arguments.workers, arguments.while_pid).run()


if __name__ == "__main__":
    sys.exit(main())
