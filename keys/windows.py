"""Empties one window of one limit in Valkey, at an operator's word."""

from redis import RedisError

from keys import valkey
from keys.limiter import shard_tag, source


class NotEmptied(Exception):
    """Valkey did not answer: the window may still count what was used before the reset."""


def forget(shard: int, window_name: str) -> None:
    """Empty what Valkey counts for `window_name` (`k12.0:tok:18000`) on `shard`.

    What exchanges in flight hold stays held. A window that is not loaded needs nothing: its next
    load begins at the budget's `reset_at`. Raises `NotEmptied`; to repeat it is harmless.
    """
    try:
        reset = valkey.client().register_script(source("reset"))
        reset(keys=[f"{shard_tag(shard)}:leases"], args=[0, window_name])
    except RedisError as error:
        raise NotEmptied(window_name) from error
