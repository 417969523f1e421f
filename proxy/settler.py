"""Keeps the leases of this process alive and sees every settlement through.

An exchange is held from its admission until the store has confirmed its settlement. Settlements
that fail are tried again until they pass or the process ends; then the lease expires and the
sweep records the exchange as abandoned. So the ledger gets each one exactly once, whatever dies.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Protocol

from keys.core.access import KeyPolicy
from keys.core.limits import Wanted
from keys.limiter import Limiter, LimiterUnavailable, Progress, Settlement

logger = logging.getLogger(__name__)

RETRY_FIRST_S = 0.05
RETRY_MOST_S = 2.0
# Progress of an exchange is about 600 bytes, so one renewal stays below 200 KB.
RENEWED_AT_ONCE = 250


class InFlight(Protocol):
    """An admitted exchange, as far as its lease goes."""

    exchange_id: str
    policy: KeyPolicy
    wanted: Wanted
    opening: bytes

    def progress(self) -> Progress:
        """Return how far it has come, for whoever finds it abandoned."""


class Settler:
    """Holds exchanges from admission to confirmed settlement, of which it tells `settled`, with
    the id of the ledger event, empty if there was nothing to record.
    """

    def __init__(
        self,
        limiter: Limiter,
        *,
        renew_s: float,
        settled: Callable[[Settlement, bytes], None] = lambda _settlement, _event_id: None,
    ) -> None:
        self._limiter = limiter
        self._renew_s = renew_s
        self._settled = settled
        self._held: dict[str, InFlight] = {}
        self._ending: set[str] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to renew leases."""
        self._renewing = asyncio.create_task(self._renew_forever())

    async def stop(self, seconds_max: float) -> None:
        """Give settlements under way `seconds_max` to pass."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=seconds_max)
        if self._renewing is not None:
            self._renewing.cancel()
        for task in self._settling:
            task.cancel()
        if self._settling:
            logger.error("%d exchanges end abandoned: the store is away", len(self._settling))

    @property
    def in_flight(self) -> int:
        """Exchanges held by this process."""
        return len(self._held)

    def hold(self, exchange: InFlight) -> None:
        """Renew the lease of `exchange` from now on."""
        self._held[exchange.exchange_id] = exchange

    def settle(self, settlement: Settlement) -> asyncio.Task[None]:
        """Begin to settle; returns at once. The task ends when the store has confirmed."""
        return self._see_through(settlement, self._limiter.settle)

    def void(self, settlement: Settlement) -> asyncio.Task[None]:
        """Begin to free an exchange that may or may not have been admitted."""
        return self._see_through(settlement, self._void)

    async def _void(self, settlement: Settlement, *, again: bool) -> bytes:
        del again  # A void does nothing the second time.
        await self._limiter.void(settlement)
        return b""  # Nothing was charged, so nothing can be lost.

    def _see_through(
        self, settlement: Settlement, attempt: Callable[..., Awaitable[bytes]]
    ) -> asyncio.Task[None]:
        self._ending.add(settlement.exchange_id)
        task = asyncio.create_task(self._until_done(settlement, attempt))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    async def _until_done(
        self, settlement: Settlement, attempt: Callable[..., Awaitable[bytes]]
    ) -> None:
        wait_s, again = RETRY_FIRST_S, False
        while True:
            try:
                event_id = await attempt(settlement, again=again)
                break
            except LimiterUnavailable as error:
                logger.warning(
                    "settlement of %s will be tried again: %s", settlement.exchange_id, error
                )
            again = True
            await asyncio.sleep(wait_s)
            wait_s = min(RETRY_MOST_S, 2 * wait_s)
        self._settled(settlement, event_id)
        self._held.pop(settlement.exchange_id, None)
        self._ending.discard(settlement.exchange_id)

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._renew_s)
            try:
                await self._renew_all()
            except LimiterUnavailable as error:
                logger.warning("leases were not renewed: %s", error)
            except Exception:
                # A bug here must not let every lease of the process expire for good.
                logger.exception("leases were not renewed")

    async def _renew_all(self) -> None:
        shards: dict[int, list[InFlight]] = defaultdict(list)
        for exchange in self._held.values():
            shards[exchange.policy.shard].append(exchange)
        for shard, exchanges in shards.items():
            for first in range(0, len(exchanges), RENEWED_AT_ONCE):
                await self._renew(shard, exchanges[first : first + RENEWED_AT_ONCE])

    async def _renew(self, shard: int, exchanges: list[InFlight]) -> None:
        lost = await self._limiter.renew(shard, [exchange.progress() for exchange in exchanges])
        for exchange_id in lost:
            exchange = self._held.get(exchange_id)
            # One that ends is not known because its settlement has just passed, most likely; a
            # lease taken again would hold its place until it expires.
            if exchange is not None and exchange_id not in self._ending:
                # The store was emptied: take the place again, so that a crash is still recorded.
                await self._limiter.restore(
                    exchange.policy, exchange_id, exchange.wanted, exchange.opening
                )
