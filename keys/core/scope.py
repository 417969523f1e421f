"""The names of the levels a limit applies to, and the shard where a key's counters live.

A key with a team lives on its team's shard, so that one script sees the counters of both.
"""

import zlib


def apikey_scope(apikey_id: int, generation: int) -> str:
    """Return the scope of one key: `k12.0`."""
    return f"k{apikey_id}.{generation}"


def team_scope(team_id: int, generation: int) -> str:
    """Return the scope of one team: `t3.0`."""
    return f"t{team_id}.{generation}"


def shard(*, apikey_id: int | None, team_id: int | None, shards: int) -> int:
    """Return which of `shards` holds the counters of the key, or of the team if there is one."""
    holder = f"t{team_id}" if team_id is not None else f"k{apikey_id}"
    # CRC-32, not hash(): every process of every machine must agree, for ever.
    return zlib.crc32(holder.encode()) % shards
