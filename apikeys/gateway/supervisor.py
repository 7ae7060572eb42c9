"""The parent of the machine door's processes: starts them, starts again what died, ends them. No Django, no ORM.

``python -m apikeys.gateway.supervisor``: what `manage.py run_gateway` turns into.
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

from apikeys.gateway.worker import END_SECONDS, MISCONFIGURED
from hitobit_portal.observability import logs

logger = logging.getLogger("portal.gateway")
LOOK_SECONDS = 0.1
#: Between a process's end and the next try.
AGAIN_SECONDS = 0.5
#: A process that ran for so long showed that the settings are right: what stops a later one passes.
SETTLED_SECONDS = 30.0
#: After asking to end: `worker.END_SECONDS` for answers, and the last write of counts.
KILL_SECONDS = END_SECONDS + 5


class Supervisor:
    """``command``: of a worker."""

    def __init__(self, command: list[str], workers: int, parent: int | None) -> None:
        self._command = command
        self._count = workers
        self._parent = parent
        self._workers: list[subprocess.Popen[bytes]] = []
        self._settled_at = 0.0
        #: No `threading.Event`: one that a signal sets while the same thread asks for it waits for itself, for ever.
        self._stopped = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or ``parent`` is gone; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._workers = [self._start() for _ in range(self._count)]
        self._settled_at = time.monotonic() + SETTLED_SECONDS
        code = 0
        while not code and not self._stopped:
            time.sleep(LOOK_SECONDS)
            if self._parent is not None and os.getppid() != self._parent:
                break
            code = self._look()
        self._end()
        return code

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL)  # nosec B603

    def _look(self) -> int:
        """Starts again what died; not 0 when that would be of no use."""
        for place, worker in enumerate(self._workers):
            code = worker.poll()
            if code == MISCONFIGURED and time.monotonic() < self._settled_at:
                return 1
            if code is not None:
                logger.error("process %d of the gateway ended (%d): another is started", worker.pid, code)
                time.sleep(AGAIN_SECONDS)
                # Whoever ends all of them at once ended this one, too.
                if self._stopped:
                    break
                self._workers[place] = self._start()
        return 0

    def _end(self) -> None:
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + KILL_SECONDS
        for worker in self._workers:
            try:
                worker.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("process %d of the gateway does not end: it is killed", worker.pid)
                worker.kill()


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there; several workers that share a port would share it with a stranger, too."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        sys.stderr.write(f"The gateway can't listen on {host}, port {port}: {error.strerror}.\n")
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    for name in ("--port", "--workers", "--connections"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--log-format", required=True)
    parser.add_argument("--while-pid", type=int)
    said = parser.parse_args()
    logging.config.dictConfig(logs.configuration(said.log_format, "INFO"))
    if not is_free(said.host, said.port):
        return 1
    shared = ["shared"] if said.workers > 1 else []
    worker = [
        sys.executable,
        "-m",
        "apikeys.gateway.worker",
        said.host,
        str(said.port),
        str(said.connections),
        str(os.getpid()),
    ]
    return Supervisor([*worker, *shared], said.workers, said.while_pid).run()


if __name__ == "__main__":
    sys.exit(main())
