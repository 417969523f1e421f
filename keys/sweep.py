"""Housekeeping of the limiter, for a periodic task: abandoned leases, old tombs, idle windows."""

from django.conf import settings
from redis import Redis

from keys import valkey
from keys.limiter import shard_tag, source

# One call stays short, so that an admission never waits long behind it; the task comes again in a
# second, and a shard that hits the bound is called again at once.
MOST_AT_ONCE = 200
CALLS_PER_SHARD_MAX = 50


def sweep(client: Redis | None = None) -> int:
    """Sweep every shard; return how many abandoned exchanges were charged and recorded."""
    client = client or valkey.client()
    script = client.register_script(source("sweep"))
    return sum(_sweep_shard(script, shard) for shard in range(settings.SHARDS))


def _sweep_shard(script, shard: int) -> int:
    abandoned = 0
    for _call in range(CALLS_PER_SHARD_MAX):
        counts = script(keys=[f"{shard_tag(shard)}:leases"], args=[0, MOST_AT_ONCE])
        abandoned += counts[0]
        if max(counts) < MOST_AT_ONCE:
            break
    return abandoned
