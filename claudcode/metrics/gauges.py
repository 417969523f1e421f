"""What is read at the moment of a scrape: of this process, of Valkey, of Postgres.

Whatever a store does not say is left out, and `…_up` is 0: a gauge is never a guess.
"""

import asyncio
import logging
import os
import resource
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from redis import RedisError

from keys import valkey
from keys.limiter import shard_tag
from proxy.application import Parts
from proxy.database import DatabaseUnavailable
from proxy.models import UpstreamAccount
from proxy.rest import resting
from usage import ledger, replica
from usage.models import DeadLetter
from usage.partitions import partitions

logger = logging.getLogger(__name__)

# Prometheus gives up after 10 s.
SECONDS_MAX = 4.0
WAITING_COUNTED_MAX = 1_000
COUNT_WAITING = """
local position = string.gsub(KEYS[1], 'events$', 'drained')
local drained = redis.call('GET', position) or '0-0'
return #redis.call('XRANGE', KEYS[1], '(' .. drained, '+', 'COUNT', ARGV[1])
"""


def of_process(parts: Parts) -> dict[str, float]:
    """Return the gauges of this worker."""
    pool = _pool()
    return {
        "workers": 1,
        "exchanges_in_flight": parts.settler.in_flight,
        "request_bodies_bytes": parts.gateway.bodies.held,
        "valkey_links": int(parts.limiter.link.connected),
        "valkey_waits_short": parts.limiter.link.short,
        "postgres_pool_connections": pool.get("pool_size", 0),
        "postgres_pool_idle": pool.get("pool_available", 0),
        "postgres_pool_waiting": pool.get("requests_waiting", 0),
        "worker_open_files_max": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        **_of_proc(),
    }


async def of_stores(parts: Parts) -> dict[str, float]:
    """Return what Valkey and Postgres say, in bounded time."""
    found = await asyncio.gather(
        _bounded("valkey_up", asyncio.to_thread(of_valkey)),
        _bounded("postgres_up", parts.database.call(of_postgres)),
    )
    return {name: value for gauges in found for name, value in gauges.items()}


def of_valkey() -> dict[str, float]:
    """Return the gauges of Valkey. Raises `RedisError`."""
    client = valkey.client()
    events = [f"{shard_tag(shard)}:events" for shard in range(settings.SHARDS)]
    waiting = valkey.run_each(client, COUNT_WAITING, [(e, (WAITING_COUNTED_MAX,)) for e in events])
    pipeline = client.pipeline(transaction=False)
    for shard, name in enumerate(events):
        pipeline.xlen(name)
        pipeline.zcard(f"{shard_tag(shard)}:leases")
    said = pipeline.execute()
    nodes: Any = [node.info("memory") for node in valkey.primaries(client)]
    return {
        "drain_lag_seconds": ledger.drain_lag(client),
        "events_waiting": sum(waiting),
        "events_kept": sum(said[0::2]),
        "leases": sum(said[1::2]),
        "upstream_accounts_resting": len(resting()),
        "valkey_memory_bytes": sum(memory["used_memory"] for memory in nodes),
        "valkey_memory_bytes_max": sum(memory["maxmemory"] for memory in nodes),
        # Of the node that is fullest: one that is full refuses its shards whatever others have.
        "valkey_memory_share": max(_share(memory) for memory in nodes),
        "valkey_primaries": len(nodes),
    }


def of_replica() -> dict[str, float]:
    """Return the gauges of Postgres' replica, none where there is none."""
    if not replica.configured():
        return {}
    age_s = replica.age_s()
    if age_s is None:
        return {"postgres_replica_up": 0}
    return {"postgres_replica_up": 1, "postgres_replica_lag_seconds": age_s}


def _share(memory: dict[str, int]) -> float:
    return memory["used_memory"] / memory["maxmemory"] if memory["maxmemory"] else 0.0


def of_postgres() -> dict[str, float]:
    """Return the gauges of Postgres. Raises `DatabaseError`."""
    suspended = UpstreamAccount.objects.filter(enabled=True, suspended_at__isnull=False)
    return of_replica() | {
        "dead_letters": DeadLetter.objects.count(),
        # Counting them would read them all.
        "ledger_rows": sum(partition.rows for partition in partitions()),
        "upstream_accounts_suspended": suspended.count(),
    }


async def _bounded(up: str, look: Awaitable[dict[str, float]]) -> dict[str, float]:
    try:
        return {up: 1} | await asyncio.wait_for(look, SECONDS_MAX)
    except (RedisError, DatabaseError, DatabaseUnavailable, OSError, TimeoutError) as error:
        logger.warning("no figures of a store (%s): %s", up, error)
        return {up: 0}


def _pool() -> dict[str, int]:
    pool: Any = getattr(connection, "pool", None)
    return pool.get_stats() if pool is not None else {}


def _of_proc() -> dict[str, float]:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        open_files = len(os.listdir("/proc/self/fd"))
    except OSError:  # Not Linux.
        return {}
    resident = pages * resource.getpagesize()
    return {"worker_resident_bytes": resident, "worker_open_files": open_files}


def cpu_seconds() -> float:
    """Return the CPU time of this process."""
    return time.process_time()
