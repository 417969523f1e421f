"""The link that fits a client: to one server, to whichever Sentinel names, or to a cluster."""

from collections.abc import Mapping

from redis.asyncio import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool

from keys.cluster_link import ClusterLink
from keys.link import Link, Replication
from keys.sentinel_link import SentinelLink
from keys.valkey import AsyncValkey

AnyLink = Link | ClusterLink


def link_to(
    valkey: AsyncValkey,
    sources: Mapping[str, str],
    *,
    seconds_max: float,
    replication: Replication | None = None,
) -> AnyLink:
    """Return a link that connects as `valkey` does; see `keys.link.Link`."""
    options = {"seconds_max": seconds_max, "replication": replication}
    if isinstance(valkey, RedisCluster):
        return ClusterLink(valkey, sources, **options)
    pool = valkey.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return SentinelLink(pool, sources, **options)
    return Link(pool, sources, **options)
