"""Database access of a gateway process: load keys and tokens, and write batches, in separate threads."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.utils import timezone
from psycopg_pool import PoolTimeout

from apikeys.actions import key_loader, rotation
from apikeys.gateway.keycache.cache import Unavailable
from apikeys.models import GatewayToken
from apikeys.usage import batch_writer
from apikeys.usage.batch import Batch
from apikeys.verification.records import KeyRecord

logger = logging.getLogger("portal.gateway")
Result = TypeVar("Result")
#: Timeout of a query. The proxy in front waits no longer either.
QUERY_TIMEOUT_SECONDS = 5.0


class Database:
    """Queries in a pool of threads; each raises `Unavailable` if the database does not answer."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(settings.GATEWAY_LOADERS, thread_name_prefix="gateway")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="gateway-writer")

    async def load(self, key_id: str) -> KeyRecord | None:
        return await self._run(key_loader.load, key_id)

    async def tokens(self) -> dict[str, int]:
        return await self._run(_tokens)

    async def first_use(self, credential_id: int) -> None:
        await self._run(_first_use, credential_id)

    async def is_reachable(self) -> bool:
        """Return whether the database answers."""
        try:
            await self._run(_ping)
        except Unavailable:
            return False
        return True

    async def write(self, batch: Batch, tokens: Iterable[int]) -> float:
        """Write a batch and the last use of tokens. Return the seconds it took. Raise what the database raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, functools.partial(write, batch, tuple(tokens)))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown(wait=True)

    async def _run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_SECONDS):
                call = functools.partial(_run_with_fresh_connection, function, *arguments)
                return await loop.run_in_executor(self._pool, call)
        except (DatabaseError, InterfaceError, PoolTimeout, OSError, TimeoutError) as error:
            logger.error("database unavailable for the gateway: %s", type(error).__name__)
            raise Unavailable from None


def _run_with_fresh_connection(function: Callable[..., Result], *arguments: Any) -> Result:
    close_old_connections()
    try:
        return function(*arguments)
    finally:
        # A broken connection is closed here, so that the next call gets a new one.
        close_old_connections()


def write(batch: Batch, tokens: tuple[int, ...] = ()) -> float:
    """Write a batch and return the seconds it took. Raise what the database raises; then nothing is written."""
    began = time.monotonic()
    close_old_connections()
    try:
        if batch:
            batch_writer.write(batch)
        if tokens:
            GatewayToken.objects.filter(pk__in=tokens).update(last_used_at=timezone.now())
    finally:
        close_old_connections()
    return time.monotonic() - began


def _tokens() -> dict[str, int]:
    return dict(GatewayToken.objects.filter(revoked_at=None).values_list("digest", "pk"))


def _first_use(credential_id: int) -> None:
    rotation.record_first_use(credential_id, timezone.now())


def _ping() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
