"""Makes the clients of Valkey, whichever form VALKEY_URL names (`keys.core.valkey_address`).

Whoever has a client need not know the form: it takes the same commands, and fails with redis-py's
`RedisError` alone. What differs has a function here. In a cluster a command goes to the node that
has its key; one without a key goes to some node, so what is said of time or memory is asked of the
node that matters.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any, TypeAlias, cast

from django.conf import settings
from redis import Redis, RedisCluster
from redis import asyncio as on_asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.cluster import ClusterNode
from redis.connection import SSLConnection, parse_url
from redis.exceptions import ConnectionError, NoScriptError, RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from keys.core.valkey_address import Form, ValkeyAddress, parse

AsyncValkey: TypeAlias = "on_asyncio.Redis | on_asyncio.RedisCluster"

# How often a command of a cluster is tried again when a node is gone, with new knowledge of it.
TRIES_AGAIN = 3
# A script takes some 50 µs, so this many connections are never the bottleneck; without a bound a
# stalled Valkey would be met with thousands.
CONNECTIONS_MAX = 64
_TIME = "return redis.call('TIME')"


def client() -> Redis:
    """Return the synchronous client of this process: of a cluster a `RedisCluster`.

    It connects at its first command and reconnects. When no node of a cluster answers, this itself
    raises `RedisError`.
    """
    return client_of(settings.VALKEY_URL, settings.VALKEY_SECONDS_MAX)


@lru_cache(maxsize=4)
def client_of(url: str, seconds_max: float) -> Redis:
    """Return the synchronous client of this process for `url`, which waits for `seconds_max`."""
    address = parse(url)
    options: dict[str, Any] = {"socket_timeout": seconds_max, "socket_connect_timeout": seconds_max}
    if address.form is Form.SINGLE:
        return Redis.from_url(address.url, **options)
    if address.form is Form.SENTINEL:
        sentinels = Sentinel(address.nodes, sentinel_kwargs=_to_sentinels(address) | options)
        return sentinels.master_for(address.service, **connection_options(address), **options)
    again = Retry(ExponentialBackoff(cap=0.4, base=0.05), TRIES_AGAIN)
    nodes = [ClusterNode(host, port) for host, port in address.nodes]
    try:
        cluster = _Cluster(
            startup_nodes=nodes,
            require_full_coverage=False,
            retry=again,
            **connection_options(address),
            **options,
        )
    except RedisClusterException as error:
        raise ConnectionError(str(error)) from error
    return cast("Redis", cluster)


def async_client(*, connections_max: int = CONNECTIONS_MAX) -> AsyncValkey:
    """Return a new client on asyncio, whose caller closes it.

    Of one server it never sends a command twice. Whoever asks for more connections than
    `connections_max` waits for one; of a cluster or behind Sentinel that is an error at once.
    """
    return async_client_of(settings.VALKEY_URL, settings.VALKEY_SECONDS_MAX, connections_max)


def async_client_of(
    url: str, seconds_max: float, connections_max: int = CONNECTIONS_MAX
) -> AsyncValkey:
    """Return a new client on asyncio for `url`, which waits for `seconds_max`."""
    address = parse(url)
    patience = {"socket_timeout": seconds_max, "socket_connect_timeout": seconds_max}
    options: dict[str, Any] = {
        **patience,
        "max_connections": connections_max,
        # A script that was sent may have run: only its caller knows whether to send it again.
        "retry": AsyncRetry(NoBackoff(), 0),
    }
    if address.form is Form.SINGLE:
        pool = on_asyncio.BlockingConnectionPool.from_url(
            address.url, timeout=seconds_max, **options
        )
        return on_asyncio.Redis(connection_pool=pool)
    if address.form is Form.SENTINEL:
        to_sentinels = _to_sentinels(address) | patience
        sentinels = AsyncSentinel(address.nodes, sentinel_kwargs=to_sentinels)
        return sentinels.master_for(
            address.service, _AsyncNamed, **connection_options(address), **options
        )
    # Whatever may not be sent twice goes over links, not through this client.
    options["retry"] = AsyncRetry(ExponentialBackoff(cap=0.2, base=0.05), TRIES_AGAIN)
    nodes = [AsyncClusterNode(host, port) for host, port in address.nodes]
    return _AsyncCluster(
        startup_nodes=nodes, require_full_coverage=False, **connection_options(address), **options
    )


def primaries(client: Redis) -> list[Redis]:
    """Return a client of each node that has keys. Raises `RedisError`."""
    if not isinstance(client, RedisCluster):
        return [client]
    return [client.get_redis_connection(node) for node in client.get_primaries()]


def primary_of(client: Redis, key: str) -> Redis:
    """Return a client of the node that has `key`. Raises `RedisError`."""
    if not isinstance(client, RedisCluster):
        return client
    node = client.get_node_from_key(key)
    if node is None:
        raise ConnectionError("no node of the cluster has this key")
    return client.get_redis_connection(node)


def now_ms(client: Redis, key: str) -> int:
    """Return the clock of the node that has `key`, by which scripts on it date."""
    return milliseconds(cast("list[bytes]", client.eval(_TIME, 1, key)))


def clocks_ms(client: Redis, keys: Sequence[str]) -> list[int]:
    """Return, for each key, the clock of the node that has it, in one round trip to each node."""
    return [milliseconds(time) for time in run_each(client, _TIME, [(key, ()) for key in keys])]


async def async_now_ms(client: AsyncValkey, key: str) -> int:
    """Return the clock of the node that has `key`, by which scripts on it date."""
    return milliseconds(cast("list[bytes]", await client.eval(_TIME, 1, key)))  # type: ignore[misc]


def run_each(client: Redis, source: str, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
    """Run a script once for each key and its arguments, in one round trip to each node.

    Raises `RedisError`.
    """
    digest = sha1(source.encode(), usedforsecurity=False).hexdigest()
    try:
        return _run_each(client, digest, calls)
    except NoScriptError:
        client.script_load(source)
        return _run_each(client, digest, calls)


def _run_each(client: Redis, digest: str, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for key, arguments in calls:
        pipeline.execute_command("EVALSHA", digest, 1, key, *arguments)
    return pipeline.execute()


def milliseconds(time: Sequence[bytes | int]) -> int:
    """Return what TIME answers as milliseconds."""
    seconds, microseconds = time
    return int(seconds) * 1000 + int(microseconds) // 1000


class _Cluster(RedisCluster):
    """redis-py's own, but for errors: all of them are `RedisError`."""

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().execute_command(*args, **kwargs)
        except RedisClusterException as error:
            raise ConnectionError(str(error)) from error

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:
        pipeline = super().pipeline(transaction, shard_hint)
        execute = pipeline.execute

        def translating(raise_on_error: bool = True) -> list[Any]:
            try:
                return execute(raise_on_error)
            except RedisClusterException as error:
                raise ConnectionError(str(error)) from error

        pipeline.execute = translating
        return pipeline


class _AsyncNamed(on_asyncio.Redis):
    """redis-py's own, which closes the connections to sentinels too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        for sentinel in self.connection_pool.sentinel_manager.sentinels:
            await sentinel.aclose()


class _AsyncCluster(on_asyncio.RedisCluster):
    """redis-py's own, but for errors: all of them are `RedisError`. And it closes what is open."""

    async def aclose(self) -> None:
        await super().aclose()
        # After an error redis-py takes itself for closed.
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")

    async def initialize(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().initialize(*args, **kwargs)
        except RedisClusterException as error:
            raise ConnectionError(str(error)) from error

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        # A link may have learnt the slots already; redis-py would take that for all it needs.
        await self.initialize()
        try:
            return await super().execute_command(*args, **kwargs)
        except RedisClusterException as error:
            raise ConnectionError(str(error)) from error


def connection_options(address: ValkeyAddress) -> dict[str, Any]:
    """Return the options of connections to Valkey, without where to."""
    options = {**parse_url(address.url)}
    for place in ("host", "port"):
        options.pop(place, None)
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    return options


def _to_sentinels(address: ValkeyAddress) -> dict[str, Any]:
    """Return the options of connections to sentinels, without where to."""
    options = {k: v for k, v in connection_options(address).items() if k.startswith("ssl")}
    named = {"username": address.sentinel_username, "password": address.sentinel_password}
    return options | {name: value for name, value in named.items() if value}
