"""The gateway itself, which also writes down when it dropped which key: ``NAME SECONDS`` on the machine's clock."""

import os
import time

from apikeys.gateway.keycache.cache import Memory

_dropped = Memory.dropped
_file = os.open(f"{os.environ['BENCH_DROPS']}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def dropped(self: Memory, name: str) -> None:
    _dropped(self, name)
    os.write(_file, f"{name or '-'} {time.monotonic()}\n".encode())


Memory.dropped = dropped  # type: ignore[method-assign]

from apikeys.gateway.worker import main  # noqa: E402

main()
