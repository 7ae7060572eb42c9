"""What stands behind the machine door in one process, put together from the settings. Importing it sets Django up."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from typing import Any

import django
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitobit_portal.settings")
django.setup()

from django.core.checks import run_checks  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.db import DatabaseError, InterfaceError, connection  # noqa: E402
from psycopg_pool import PoolTimeout  # noqa: E402
from redis.asyncio import Redis  # noqa: E402

from apikeys.gateway import openapi, prometheus  # noqa: E402
from apikeys.gateway.authorizer import Gatekeeper, Limits  # noqa: E402
from apikeys.gateway.endpoints import Door  # noqa: E402
from apikeys.gateway.fastpath.rate_limits import Buckets  # noqa: E402
from apikeys.gateway.fastpath.replay_guard import ReplayGuard  # noqa: E402
from apikeys.gateway.keycache import database  # noqa: E402
from apikeys.gateway.keycache.cache import Memory, Watch  # noqa: E402
from apikeys.gateway.keycache.postgresql_invalidation import PostgresWatch  # noqa: E402
from apikeys.gateway.keycache.sqlite_invalidation import SqliteWatch  # noqa: E402
from apikeys.gateway.metrics import Measures, Siblings, keep_measuring  # noqa: E402
from apikeys.gateway.shared_limits import SharedBuckets, SharedReplayGuard  # noqa: E402
from apikeys.gateway.tokens import Tokens  # noqa: E402

logger = logging.getLogger("portal.gateway")
#: Between two writes of what was counted; longer where writing keeps the database busy for more than a share of it.
WRITE_SECONDS = 1.0
WRITE_SHARE = 0.1
#: How many more objects that refer to others there are before garbage is looked for, among the new ones, among those of
#: the last two times, and among all: that takes 80 ms with 10,000 keys, and came every few seconds with Python's own
#: numbers (700, 10, 10). What is made and dropped in between is no garbage that had to be looked for.
GARBAGE = (10_000, 2, 10_000)
#: For so long a thread that loads or writes keeps the interpreter from the one that answers; Python's own is 5 ms.
SWITCH_SECONDS = 0.001


class Process:
    """Everything here lives in one event loop."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> Door:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._database = database.Database()
        self._tokens = Tokens(self._database.tokens)
        self._measures, self._siblings = Measures(), Siblings()
        load = self._measures.timed(self._database.load)
        self._memory = Memory(load, settings.GATEWAY_CACHE, float(settings.GATEWAY_GRACE))
        self._memory.tokens_changed = self._tokens.changed
        heard = self._memory.watch = self._tokens.watch = watch(self._memory)
        self._keeper = Gatekeeper(self._memory, self._database.first_use, limits())
        door = self._door = Door(
            self._keeper, self._tokens, self._database.answers, openapi.text, self._exposed
        )
        self._tasks = [
            loop.create_task(heard.run()),
            loop.create_task(self._write_now_and_then()),
            loop.create_task(keep_measuring(self._measures, self._siblings, door, self._gauges)),
        ]
        # What was made until now stays: looking through it for garbage would hold up the answers for 0.1 s.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        return door

    def stop(self) -> None:
        """Writes what was counted; after the loop has ended, with whatever ran in it."""
        self._database.close()
        batch = asyncio.run(self._keeper.take_batch())
        self._measures.count(batch, self._door.take_long())
        self._siblings.publish(self._measures)
        try:
            database.write(batch, tuple(self._tokens.used))
        except (DatabaseError, InterfaceError, PoolTimeout, OSError) as error:
            logger.error("the last counts of a gateway are lost: %s", type(error).__name__)

    async def _write_now_and_then(self) -> None:
        took = 0.0
        while True:
            await asyncio.sleep(max(WRITE_SECONDS, took / WRITE_SHARE))
            batch = await self._keeper.take_batch()
            self._measures.count(batch, self._door.take_long())
            used = self._tokens.take_used()
            try:
                took = await self._database.write(batch, used)
                self._measures.counters["batches_written"] += bool(batch)
            except Exception as error:  # whatever it is: the next batch is written
                self._measures.counters["batches_failed"] += 1
                self._tokens.used |= used
                # Statistics: bounded, and not worth holding on to while the database is away.
                logger.error("counts of a gateway are lost: %s", type(error).__name__)

    def _gauges(self) -> dict[str, int]:
        return {"workers": 1, "believing": int(self._memory.believed()), "keys_in_memory": len(self._memory)}

    def _exposed(self) -> str:
        self._measures.gauges = self._gauges()
        return prometheus.text(self._siblings.all(self._measures))


def limits() -> Limits:
    """As `settings` has it; in Valkey over all processes, or in this one."""
    found = Limits(settings.GATEWAY_KEY_RATE, settings.GATEWAY_ADDRESS_RATE)
    redis = (
        Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
        if settings.REDIS_URL
        else None
    )
    if settings.GATEWAY_LIMITS == "process":
        found.keys = Buckets(settings.GATEWAY_KEY_RATE)
        found.addresses = Buckets(settings.GATEWAY_ADDRESS_RATE)
    elif settings.GATEWAY_LIMITS == "valkey" and redis is not None:
        found.keys = SharedBuckets(redis, "key", settings.GATEWAY_KEY_RATE)
        found.addresses = SharedBuckets(redis, "address", settings.GATEWAY_ADDRESS_RATE)
    if settings.REPLAY_GUARD == "process":
        found.seen = ReplayGuard()
    elif settings.REPLAY_GUARD == "valkey" and redis is not None:
        found.seen = SharedReplayGuard(redis)
    return found


def watch(memory: Memory) -> Watch:
    """What tells this database's changes."""
    if connection.vendor == "sqlite":
        return SqliteWatch(str(settings.DATABASES["default"]["NAME"]), memory.dropped)
    return PostgresWatch(_parameters(), settings.GATEWAY_LEASE_MS / 1000, memory.dropped)


def _parameters() -> dict[str, Any]:
    """Of the listening connection, which is none of the pool's."""
    wanted = connection.get_connection_params()
    for name in ("pool", "context", "cursor_factory", "prepare_threshold"):
        wanted.pop(name, None)
    return {**wanted, "application_name": "portal-gateway", "connect_timeout": 2}


# A server asks no `manage.py check`: what is wrong has to stop it, too.
if wrong := [message for message in run_checks(tags=["portal"]) if message.is_serious()]:
    raise ImproperlyConfigured(" ".join(f"{message.msg} ({message.id})" for message in wrong))
