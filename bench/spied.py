"""The gateway itself, which also writes down when it dropped which key: ``NAME SECONDS`` on the machine's clock."""

import os
import time

from apikeys.gateway.gatekeeper import Gatekeeper

_dropped = Gatekeeper.dropped
_file = os.open(f"{os.environ['BENCH_DROPS']}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def dropped(self: Gatekeeper, name: str) -> None:
    _dropped(self, name)
    os.write(_file, f"{name or '-'} {time.monotonic()}\n".encode())


Gatekeeper.dropped = dropped  # type: ignore[method-assign]

from apikeys.gateway.process import app  # noqa: E402, F401 - granian takes it from here
