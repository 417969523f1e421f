"""Remembers settlements until the ledger has them, and settles again what the store lost.

Valkey confirms a settlement before the drain has read its event, and may yet be emptied: flushed,
or replaced by a replica that was behind. So a settlement is kept here, in memory, until its event
is in the stream and drained, or its row in the ledger. What is in neither is settled as lost:
charged, counted and recorded anew. Only the loss of Valkey's data and of this process together can
lose an exchange.
"""

import asyncio
import logging
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from keys.limiter import Limiter, LimiterUnavailable, Settlement, Standing
from proxy.database import Database, DatabaseUnavailable
from usage import ledger

logger = logging.getLogger(__name__)

# The drain runs every second, so most are asked about once.
LOOK_AFTER_S = 3.0
LOOK_EVERY_S = 2.0
# Some 2 KB each. Beyond that, while Postgres is away, the oldest are left to Valkey alone.
UNWRITTEN_MAX = 10_000
# A millisecond of Valkey's time.
ASKED_AT_ONCE = 250

# Returns which exchanges of a shard the ledger has. Raises `LimiterUnavailable`.
Recorded = Callable[[int, Sequence[str]], Awaitable[Collection[str]]]


@dataclass(frozen=True, slots=True)
class _Kept:
    settlement: Settlement
    event_id: bytes
    since: float


class LedgerRows:
    """Answers `Recorded` from Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, shard: int, exchange_ids: Sequence[str]) -> Collection[str]:
        """Return which of the shard's exchanges the ledger has as settled."""
        try:
            return await self._database.call(ledger.settled_among, shard, exchange_ids)
        except DatabaseUnavailable as error:
            raise LimiterUnavailable(f"the ledger cannot be read: {error}") from error


class Unwritten:
    """Settlements of this process that may not be in the ledger yet."""

    def __init__(self, limiter: Limiter, recorded: Recorded) -> None:
        self._limiter = limiter
        self._recorded = recorded
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look_forever())

    def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    def __len__(self) -> int:
        return len(self._kept)

    def remember(self, settlement: Settlement, event_id: bytes) -> None:
        """Keep `settlement`, which the store has just confirmed as the event `event_id`."""
        self._kept[settlement.exchange_id] = _Kept(settlement, event_id, time.monotonic())
        if len(self._kept) > UNWRITTEN_MAX:
            self._kept.popitem(last=False)

    async def look(self, older_than_s: float = LOOK_AFTER_S) -> None:
        """Forget what is written and settle again what is lost. Raises `LimiterUnavailable`."""
        shards: dict[int, list[_Kept]] = defaultdict(list)
        before = time.monotonic() - older_than_s
        for kept in self._kept.values():
            if kept.since > before:
                break
            shards[kept.settlement.shard].append(kept)
        for shard, some in shards.items():
            for first in range(0, len(some), ASKED_AT_ONCE):
                await self._look_at(shard, some[first : first + ASKED_AT_ONCE])

    async def _look_at(self, shard: int, some: Sequence[_Kept]) -> None:
        standings = await self._limiter.standings(shard, [kept.event_id for kept in some])
        gone = []
        for kept, standing in zip(some, standings, strict=True):
            if standing is Standing.DRAINED:
                self._kept.pop(kept.settlement.exchange_id, None)
            elif standing is Standing.GONE:
                gone.append(kept.settlement)
        if gone:
            await self._settle_lost(shard, gone)

    async def _settle_lost(self, shard: int, gone: Sequence[Settlement]) -> None:
        # Trimmed long after it was drained, or lost.
        recorded = await self._recorded(shard, [settlement.exchange_id for settlement in gone])
        lost = [settlement for settlement in gone if settlement.exchange_id not in recorded]
        for exchange_id in recorded:
            self._kept.pop(exchange_id, None)
        for settlement in lost:
            self.remember(settlement, await self._limiter.settle_lost(settlement))
            self._kept.move_to_end(settlement.exchange_id)
        if lost:
            logger.error("the store lost %d settlements; they were made again", len(lost))

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except LimiterUnavailable as error:
                logger.warning("unwritten settlements were not looked at: %s", error)
            except Exception:
                # A bug here must not end the looking for good.
                logger.exception("unwritten settlements were not looked at")
