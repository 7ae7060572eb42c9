"""Worker processes of the gateway: several on one port, restarted when they die, stopped together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apikeys.gateway.supervisor import Supervisor, is_port_free
from apikeys.gateway.worker import MISCONFIGURED
from tests.support.gateways import GatewayProcess
from tests.support.production import ROOT
from tests.support.servers import free_port

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True), pytest.mark.verify]
SECONDS = 30.0


def workers(process: GatewayProcess) -> list[int]:
    assert process.process is not None
    parent = process.process.pid
    return [
        int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    ]


def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def answers(process: GatewayProcess) -> bool:
    try:
        return process.ask("GET", "/readyz").status == 200
    except OSError:
        return False


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class Several(GatewayProcess):
    """``run_gateway --workers 2``."""

    arguments = ("--workers", "2")


def test_several_workers_share_one_port_and_a_killed_one_is_restarted() -> None:
    with Several("") as process:
        assert until(lambda: len(workers(process)) == 2)
        first, second = workers(process)
        os.kill(first, signal.SIGKILL)
        assert until(lambda: len(workers(process)) == 2 and first not in workers(process))
        assert second in workers(process)
        os.kill(second, signal.SIGKILL)
        assert until(lambda: second not in workers(process) and answers(process))
        ended = workers(process)
    assert until(lambda: all(is_gone(pid) for pid in ended))


def test_workers_stop_when_their_parent_was_killed() -> None:
    with GatewayProcess("") as process:
        (worker,) = workers(process)
        assert process.process is not None
        process.process.kill()
        assert until(lambda: is_gone(worker))


def test_no_worker_is_restarted_during_shutdown() -> None:
    """A service manager, or Ctrl+C, signals all of them at once, and a worker may end before its parent."""
    supervisor = Supervisor([sys.executable, "-c", ""], 1, None)
    ended = supervisor._start()
    supervisor._workers = [ended]
    ended.wait(SECONDS)
    supervisor._stop()
    assert supervisor._restart_dead_workers() == 0
    assert supervisor._workers == [ended]


def test_misconfigured_worker_is_not_restarted() -> None:
    command = [sys.executable, "-c", f"import sys; sys.exit({MISCONFIGURED})"]
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert Supervisor(command, 2, None).run() == 1
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)


def test_late_failure_to_start_does_not_stop_the_other_workers() -> None:
    supervisor = Supervisor([sys.executable, "-c", f"import sys; sys.exit({MISCONFIGURED})"], 1, None)
    first = supervisor._start()
    supervisor._workers = [first]
    first.wait(SECONDS)
    assert supervisor._restart_dead_workers() == 0
    (second,) = supervisor._workers
    assert second is not first
    second.wait(SECONDS)


@pytest.mark.parametrize("count", ["1", "2"])
def test_port_of_another_program_is_not_shared(count: str) -> None:
    with GatewayProcess("") as first:
        process = subprocess.run(
            [sys.executable, "manage.py", "run_gateway", "--port", str(first.port), "--workers", count],
            cwd=ROOT, env=first.environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert process.returncode == 1
        assert f"port {first.port}" in process.stderr
        assert answers(first)


def test_invalid_setting_stops_the_start_and_is_named() -> None:
    port = free_port()
    assert is_port_free("127.0.0.1", port)
    process = subprocess.run(
        [sys.executable, "-m", "apikeys.gateway.worker", "127.0.0.1", str(port), "9", "1"],
        cwd=ROOT, env={**os.environ, "PORTAL_GATEWAY_LEASE_MS": "soon"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == MISCONFIGURED
    assert "PORTAL_GATEWAY_LEASE_MS" in process.stderr
