"""Tells every gateway process that policy it may have cached has changed.

A message that is lost costs at most `POLICY_AGE_S_MAX`: no gateway keeps a policy for longer.
So a publication that fails is logged and never breaks the write that it announces.
"""

import logging

from redis import RedisError

from keys import valkey

CHANNEL = "claudcode:policy"
# In place of one key's digest: drop everything that is cached.
EVERYTHING = "*"

logger = logging.getLogger(__name__)


def publish(message: str) -> None:
    """Announce a change to the key with this digest, or to `EVERYTHING`. Call it after the commit:
    a gateway that rereads sooner would cache the old state.
    """
    try:
        valkey.client().publish(CHANNEL, message)
    except RedisError:
        logger.exception("gateways were not told of a change; they reread it when theirs is old")
