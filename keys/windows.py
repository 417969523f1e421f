"""Empties one window of one limit in Valkey, at an operator's word."""

import datetime as dt
import logging

from redis import RedisError

from keys import valkey
from keys.limiter import shard_tag, source

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

logger = logging.getLogger(__name__)


class NotEmptied(Exception):
    """Valkey did not answer: the window may still count what was used before the reset."""


def now(shard: int) -> dt.datetime:
    """Return this instant on the clock of the node of Valkey that dates the charges of `shard`;
    without it on ours.
    """
    try:
        at_ms = valkey.now_ms(valkey.client(), f"{shard_tag(shard)}:leases")
    except RedisError:
        logger.warning("Valkey does not tell the time: a reset is dated by this machine's clock")
        return dt.datetime.now(dt.UTC)
    return _EPOCH + dt.timedelta(milliseconds=at_ms)


def forget(shard: int, window_name: str) -> dt.datetime | None:
    """Empty what Valkey counts for `window_name` (`k12.0:tok:18000`) on `shard`; return when.

    What exchanges in flight hold stays held. A window that is not loaded needs nothing, and `None`
    is returned: its next load begins at the budget's `reset_at`. Raises `NotEmptied`; to repeat it
    is harmless.
    """
    try:
        reset = valkey.client().register_script(source("reset"))
        at_ms = reset(keys=[f"{shard_tag(shard)}:leases"], args=[0, window_name])
    except RedisError as error:
        raise NotEmptied(window_name) from error
    return _EPOCH + dt.timedelta(milliseconds=at_ms) if at_ms else None
