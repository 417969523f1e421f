"""What Celery runs every second or minute. Each task may run twice, at once or after a crash.

The schedule is in the settings; a tick that nobody took in time is dropped there. A worker that is
not asked for a while does the same work unasked: a Valkey whose memory is full takes no message
from beat, and the drain is what makes room in it.
"""

import logging
import threading
import time
from typing import Any

from celery import shared_task
from celery.signals import worker_init
from django.db import DatabaseError, connection
from django.utils import timezone
from redis import RedisError

from keys.sweep import sweep as sweep_leases
from usage import heavy_hitters
from usage.catching_up import tend
from usage.ledger import MEMORY_SHARE_MAX, memory_share
from usage.ledger import drain as drain_events
from usage.upkeep import Upkeep

UNASKED_AFTER_S = 5.0

logger = logging.getLogger(__name__)


class Housekeeping(threading.Thread):
    """Does a worker's periodic work when nobody asks for it, and warns before memory is short."""

    def __init__(self) -> None:
        super().__init__(name="housekeeping", daemon=True)
        self._asked_at_s = float("-inf")

    def asked(self) -> None:
        """Note that the work is being asked for."""
        self._asked_at_s = time.monotonic()

    def run(self) -> None:
        """Look every few seconds, for as long as the process lives."""
        while True:
            try:
                self.look()
            except (RedisError, DatabaseError) as error:
                logger.warning("a store is away: %s", error)
            except Exception:
                # A bug here must not end the looking for good.
                logger.exception("housekeeping failed")
            finally:
                connection.close()
            time.sleep(UNASKED_AFTER_S)

    def look(self) -> None:
        """Do the work if nobody has asked for it lately; warn if events take too much memory."""
        if time.monotonic() - self._asked_at_s > UNASKED_AFTER_S:
            drain_events()
            tend()
            upkeep.tend()
            sweep_leases()
        share = memory_share()
        if share > MEMORY_SHARE_MAX:
            logger.error("events take %d %% of the memory that Valkey may use", 100 * share)


housekeeping = Housekeeping()
upkeep = Upkeep()


@worker_init.connect
def _keep_house(**_kwargs: Any) -> None:
    housekeeping.start()


@shared_task
def drain() -> None:
    """Write waiting events to the ledger, old entries to new roll-ups; tend the partitions."""
    housekeeping.asked()
    drain_events()
    tend()
    upkeep.tend()


@shared_task
def sweep() -> None:
    """Charge and record the exchanges whose holder died; drop what is idle."""
    sweep_leases()


@shared_task
def list_heavy_hitters() -> None:
    """List who used most in the hours and days that ended."""
    heavy_hitters.make(timezone.now())
