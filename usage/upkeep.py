"""When partitions are made ahead and old entries dropped: as a process starts, then now and again.

Each call is short, since whoever drains waits for it; what is left is done by the next ones.
"""

import logging
import time

from usage import partitions, retention

LOOK_EVERY_S = 3_600.0
# With something left to do, or somebody in the way.
AGAIN_AFTER_S = 10.0
SECONDS_MAX = 2.0

logger = logging.getLogger(__name__)


class Upkeep:
    """One process's turn at the ledger's partitions; any number of processes may have one."""

    def __init__(self) -> None:
        self._next_at_s = float("-inf")

    def tend(self) -> None:
        """Make months ahead and drop what is old, if it is time."""
        if time.monotonic() < self._next_at_s:
            return
        self._next_at_s = time.monotonic() + AGAIN_AFTER_S
        try:
            partitions.make_ahead()
            left = retention.step(SECONDS_MAX)
        except partitions.Busy:
            logger.info("the ledger's partitions are in use: they are looked after later")
            return
        if not left:
            self._next_at_s = time.monotonic() + LOOK_EVERY_S
