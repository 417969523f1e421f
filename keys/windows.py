"""Empties one window of one limit in Valkey, so that the gateway loads it from the ledger again."""

import logging

from redis import RedisError

from keys import valkey

logger = logging.getLogger(__name__)


def forget(shard: int, window_name: str) -> None:
    """Delete what Valkey counts for `window_name` (`k12.0:tok:18000`) on `shard`.

    The next admission loads the window from the ledger, from its `reset_at` on. Deleting what is
    not there does nothing. A failure is logged: the budget's `reset_at` is in its policy already.
    """
    try:
        valkey.client().delete(f"{{s{shard:02d}}}:w:{window_name}")
    except RedisError:
        logger.exception("the window %s was not emptied", window_name)
