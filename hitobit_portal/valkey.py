"""Redis or Valkey at ``settings.REDIS_URL``: one server, or the master that Sentinels name.

Sentinels are asked for the master whenever a connection is made, so that a fail-over needs no restart: connections to
the old master break, or refuse writes, and are not used again.
"""

from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis import asyncio
from redis.asyncio import sentinel as async_sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from hitobit_portal.config.parsers import SentinelAddress, sentinel_address


class SentinelCacheClient(RedisCacheClient):
    """Django's client, whose pool connects to the master. Replicas are not read: they are behind it."""

    def __init__(self, servers: list[str], **options: Any) -> None:
        super().__init__(servers, **options)
        address = _address(servers[0])
        # Without retries: Sentinels that do not answer are passed over at once, and pages do not wait for them.
        known = _of_sentinels(address, options, Retry(NoBackoff(), 0))
        self._pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
            address.service,
            Sentinel(address.sentinels, sentinel_kwargs=known),  # type: ignore[no-untyped-call]
            db=address.database,
            password=address.password or None,
            **options,
        )

    def _get_connection_pool(self, write: bool) -> SentinelConnectionPool:
        """Called by Django for each command."""
        return self._pool


class SentinelCache(RedisCache):
    """The cache back-end for a list with one ``redis+sentinel://`` address (`config.parsers.sentinel_address`)."""

    def __init__(self, server: list[str], params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = SentinelCacheClient


def async_client(url: str, timeout: float) -> "asyncio.Redis":
    """Return an asynchronous client of ``url``. ``timeout``: seconds for connecting, and for each answer."""
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    address = sentinel_address(url)
    if address is None:
        return asyncio.Redis.from_url(url, **options)
    sentinel = async_sentinel.Sentinel(  # type: ignore[no-untyped-call]
        address.sentinels,
        sentinel_kwargs=_of_sentinels(address, options, AsyncRetry(NoBackoff(), 0)),
        db=address.database,
        password=address.password or None,
        **options,
    )
    client: asyncio.Redis = sentinel.master_for(address.service)
    return client


def _of_sentinels(address: SentinelAddress, options: dict[str, Any], retry: object) -> dict[str, Any]:
    timeouts = {name: value for name, value in options.items() if name.startswith("socket_")}
    return {**timeouts, "password": address.password or None, "retry": retry}


def _address(url: str) -> SentinelAddress:
    address = sentinel_address(url)
    if address is None:
        raise ValueError("not an address of Sentinels")
    return address
