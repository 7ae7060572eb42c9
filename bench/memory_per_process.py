"""Measure the memory of a cached key: resident size before and after 100,000 of them, and tracemalloc's result.

A separate process (``python -m bench.memory_per_process KIND``) builds them with the code of the gateway, each with its
own owner, secret and two networks, and prints the bytes for each key as JSON.
"""

import gc
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

from apikeys.gateway.fastpath.lru import GenerationalCache
from apikeys.gateway.fastpath.prepared_key import PreparedKey
from apikeys.verification.networks import compile_networks
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind

KEYS = 100_000
PERMISSIONS = frozenset({"read", "trade"})


def resident() -> int:
    text = Path("/proc/self/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def key(number: int) -> PreparedKey:
    networks = [
        f"203.{number // 65536}.{number // 256 % 256}.{number % 256}",
        f"198.{18 + number % 2}.0.0/24",
    ]
    secret = f"{number:064d}".encode()
    record = KeyRecord(
        user=str(number),
        key=f"{number:064d}",
        active=True,
        owner_active=True,
        expires_at_ms=1_900_000_000_000 + number,
        permissions=PERMISSIONS,  # `key_loader.load` shares them, too
        restricted=True,
        networks=compile_networks(networks),
        credentials=(CredentialRecord(number + 1000, Kind.HMAC, secret),),
    )
    return PreparedKey(record)


def main() -> None:
    traced = "traced" in sys.argv
    if traced:
        tracemalloc.start()
    cache: GenerationalCache[PreparedKey] = GenerationalCache(2 * KEYS)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0] if traced else resident()
    for number in range(KEYS):
        made = key(number)
        cache.put(made.record.key, made)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0] if traced else resident()
    sys.stdout.write(json.dumps({"bytes_a_key": (after - before) / KEYS}))


def measure(how: str) -> float:
    """Return the bytes for each key, by ``rss`` or ``traced`` (which does not include OpenSSL's memory)."""
    process = subprocess.run(
        [sys.executable, "-m", "bench.memory_per_process", how], capture_output=True, text=True, check=True
    )
    result: float = json.loads(process.stdout)["bytes_a_key"]
    return result


if __name__ == "__main__":
    main()
