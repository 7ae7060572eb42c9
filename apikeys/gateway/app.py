"""Assemble a gateway process from the settings. Importing this module sets Django up."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import django
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitobit_portal.settings")
django.setup()

from django.core.checks import run_checks  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.db import DatabaseError, InterfaceError, connection  # noqa: E402
from psycopg_pool import PoolTimeout  # noqa: E402

from apikeys.gateway import prometheus  # noqa: E402
from apikeys.gateway.authorizer import Authorizer, RequestLimits  # noqa: E402
from apikeys.gateway.endpoints import Endpoints  # noqa: E402
from apikeys.gateway.fastpath.rate_limits import Buckets  # noqa: E402
from apikeys.gateway.fastpath.replay_guard import ReplayGuard  # noqa: E402
from apikeys.gateway.keycache import database  # noqa: E402
from apikeys.gateway.keycache.cache import InvalidationListener, KeyCache  # noqa: E402
from apikeys.gateway.keycache.postgresql_invalidation import PostgresListener  # noqa: E402
from apikeys.gateway.keycache.sqlite_invalidation import SqliteListener  # noqa: E402
from apikeys.gateway.metrics import GatewayMetrics, WorkerMetricsDirectory, collect_periodically  # noqa: E402
from apikeys.gateway.requests import Security  # noqa: E402
from apikeys.gateway.shared_limits import SharedBuckets, SharedReplayGuard  # noqa: E402
from apikeys.gateway.tokens import TokenCache  # noqa: E402
from hitobit_portal import valkey  # noqa: E402
from hitobit_portal.database import limit_statements  # noqa: E402

logger = logging.getLogger("portal.gateway")
OPENAPI = Path(__file__).with_name("openapi.json")
#: Seconds between two writes of counters; longer if writing takes more than `MAX_WRITE_SHARE` of the time.
WRITE_SECONDS = 1.0
MAX_WRITE_SHARE = 0.1
#: Thresholds of the garbage collector (`gc.set_threshold`). A full collection takes 80 ms with 10,000 keys, and with
#: Python's defaults (700, 10, 10) it ran every few seconds. Objects without cycles are freed by reference counting.
GC_THRESHOLDS = (10_000, 2, 10_000)
#: Longest time for which a thread that loads or writes holds the interpreter; Python's default is 5 ms.
SWITCH_INTERVAL_SECONDS = 0.001


class GatewayApplication:
    """The objects of one gateway process; all of them belong to one event loop."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> Endpoints:
        """Build everything, start the background tasks, and return the request handler."""
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        self._database = database.Database()
        self._tokens = TokenCache(self._database.tokens)
        self._metrics, self._worker_metrics = GatewayMetrics(), WorkerMetricsDirectory()
        load = self._metrics.timed(self._database.load)
        self._key_cache = KeyCache(load, settings.GATEWAY_CACHE, float(settings.GATEWAY_GRACE))
        self._key_cache.tokens_changed = self._tokens.invalidate
        listener = self._key_cache.listener = self._tokens.listener = build_listener(self._key_cache)
        self._authorizer = Authorizer(self._key_cache, self._database.first_use, build_limits())
        endpoints = self._endpoints = Endpoints(
            self._authorizer,
            self._tokens,
            self._database.is_reachable,
            openapi_text(),
            self._render_metrics,
            [Security(name) for name in settings.GATEWAY_SECURITY_TYPES],
        )
        self._tasks = [
            loop.create_task(listener.run()),
            loop.create_task(self._write_periodically()),
            loop.create_task(
                collect_periodically(self._metrics, self._worker_metrics, endpoints, self._collect_gauges)
            ),
        ]
        # Objects created so far are permanent: collecting garbage among them would delay responses by 0.1 s.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        return endpoints

    def stop(self) -> None:
        """Write the last batch. Called after the event loop has ended."""
        self._database.close()
        batch = asyncio.run(self._authorizer.take_batch())
        self._metrics.count(batch, *self._endpoints.take_path_counts())
        self._worker_metrics.publish(self._metrics)
        try:
            database.write(batch, tuple(self._tokens.used_ids))
        except (DatabaseError, InterfaceError, PoolTimeout, OSError) as error:
            logger.error("last batch of gateway statistics lost: %s", type(error).__name__)

    async def _write_periodically(self) -> None:
        took = 0.0
        while True:
            await asyncio.sleep(max(WRITE_SECONDS, took / MAX_WRITE_SHARE))
            batch = await self._authorizer.take_batch()
            self._metrics.count(batch, *self._endpoints.take_path_counts())
            used = self._tokens.take_used_ids()
            try:
                took = await self._database.write(batch, used)
                self._metrics.counters["batches_written"] += bool(batch)
            except Exception as error:  # any error: the next batch is written all the same
                self._metrics.counters["batches_failed"] += 1
                self._tokens.used_ids |= used
                # Statistics are not kept for a retry while the database is unavailable: memory stays bounded.
                logger.error("batch of gateway statistics lost: %s", type(error).__name__)

    def _collect_gauges(self) -> dict[str, int]:
        return {
            "workers": 1,
            "believing": int(self._key_cache.is_fresh()),
            "keys_in_memory": len(self._key_cache),
        }

    def _render_metrics(self) -> str:
        self._metrics.gauges = self._collect_gauges()
        return prometheus.render(self._worker_metrics.all(self._metrics))


def openapi_text() -> str:
    """Return the OpenAPI document of the endpoints, openapi.json, in compact form."""
    return json.dumps(json.loads(OPENAPI.read_text(encoding="utf-8")))


def build_limits() -> RequestLimits:
    """Build rate limits and replay guard from the settings, in this process or in Valkey (over all processes)."""
    limits = RequestLimits(settings.GATEWAY_KEY_RATE, settings.GATEWAY_ADDRESS_RATE)
    redis = valkey.async_client(settings.REDIS_URL, timeout=1) if settings.REDIS_URL else None
    if settings.GATEWAY_LIMITS == "process":
        limits.key_buckets = Buckets(settings.GATEWAY_KEY_RATE)
        limits.address_buckets = Buckets(settings.GATEWAY_ADDRESS_RATE)
    elif settings.GATEWAY_LIMITS == "valkey" and redis is not None:
        limits.key_buckets = SharedBuckets(redis, "key", settings.GATEWAY_KEY_RATE)
        limits.address_buckets = SharedBuckets(redis, "address", settings.GATEWAY_ADDRESS_RATE)
    if settings.REPLAY_GUARD == "process":
        limits.replay_guard = ReplayGuard()
    elif settings.REPLAY_GUARD == "valkey" and redis is not None:
        limits.replay_guard = SharedReplayGuard(redis)
    return limits


def build_listener(key_cache: KeyCache) -> InvalidationListener:
    """Build the invalidation listener for the configured database."""
    if connection.vendor == "sqlite":
        return SqliteListener(str(settings.DATABASES["default"]["NAME"]), key_cache.invalidate)
    return PostgresListener(_connection_parameters(), settings.GATEWAY_LEASE_MS / 1000, key_cache.invalidate)


def _connection_parameters() -> dict[str, Any]:
    """Return the parameters of the listening connection, which does not come from the pool."""
    parameters = connection.get_connection_params()
    for name in ("pool", "context", "cursor_factory", "prepare_threshold"):
        parameters.pop(name, None)
    return {**parameters, "application_name": "portal-gateway", "connect_timeout": 2}


limit_statements()
# The server does not run `manage.py check`: a failed check has to stop it, too.
if wrong := [message for message in run_checks(tags=["portal"]) if message.is_serious()]:
    raise ImproperlyConfigured(" ".join(f"{message.msg} ({message.id})" for message in wrong))
