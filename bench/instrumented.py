"""A gateway worker that also records its evictions: a line ``KEY_ID SECONDS`` (monotonic clock) for each."""

import os
import time

from apikeys.gateway.keycache.cache import KeyCache

_invalidate = KeyCache.invalidate
_file = os.open(f"{os.environ['BENCH_EVICTIONS']}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def invalidate(self: KeyCache, name: str) -> None:
    _invalidate(self, name)
    os.write(_file, f"{name or '-'} {time.monotonic()}\n".encode())


KeyCache.invalidate = invalidate  # type: ignore[method-assign]

from apikeys.gateway.worker import main  # noqa: E402

main()
