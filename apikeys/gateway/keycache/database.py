"""What a gateway process asks the database, in threads of its own, and what it writes there."""

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
from apikeys.verification.decision import KeyRecord

logger = logging.getLogger("portal.gateway")
Found = TypeVar("Found")
#: A database that takes longer than this for a key is as good as gone; the proxy in front waits no longer either.
SECONDS = 5.0


class Database:
    """Every question raises `Unavailable` when it can't be answered."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(settings.GATEWAY_LOADERS, thread_name_prefix="gateway")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="gateway-writer")

    async def load(self, key_id: str) -> KeyRecord | None:
        return await self._ask(key_loader.load, key_id)

    async def tokens(self) -> dict[str, int]:
        return await self._ask(_tokens)

    async def first_use(self, credential_id: int) -> None:
        await self._ask(_first_use, credential_id)

    async def answers(self) -> bool:
        """Whether the database can be asked at all."""
        try:
            await self._ask(_ping)
        except Unavailable:
            return False
        return True

    async def write(self, batch: Batch, tokens: Iterable[int]) -> float:
        """How long it took, in seconds."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, functools.partial(write, batch, tuple(tokens)))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown(wait=True)

    async def _ask(self, question: Callable[..., Found], *arguments: Any) -> Found:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SECONDS):
                return await loop.run_in_executor(self._pool, functools.partial(_asked, question, *arguments))
        except (DatabaseError, InterfaceError, PoolTimeout, OSError, TimeoutError) as error:
            logger.error("the gateway can't ask the database: %s", type(error).__name__)
            raise Unavailable from None


def _asked(question: Callable[..., Found], *arguments: Any) -> Found:
    close_old_connections()
    try:
        return question(*arguments)
    finally:
        # A connection that broke is thrown away here, so that the next question gets a new one.
        close_old_connections()


def write(batch: Batch, tokens: tuple[int, ...] = ()) -> float:
    """The seconds that it took. Raises what the database raises: the batch is then not written at all."""
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
    rotation.note_first_use(credential_id, timezone.now())


def _ping() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
