"""What this process knows of keys, models, prices and maintenance, and when it must forget it.

Rules. A value is kept until its change is announced on the invalidation channel, at most
`POLICY_AGE_S_MAX` seconds. While the link to the channel is down nothing is kept longer than
`UNLINKED_AGE_S`. A value read before an announcement and arriving after it is read again at its
next use. When Postgres is away, old values go on being used; but a limit that was raised until an
instant falls back at that instant, for a policy knows what comes after it.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any

from keys.core.access import Address, Catalogue, KeyPolicy, Maintenance
from keys.invalidation import CHANNEL, EVERYTHING
from keys.policy import load_catalogue, load_maintenance, load_policy
from keys.valkey import AsyncValkey
from proxy.accounts import load_accounts
from proxy.core.account import Account
from proxy.core.allowance import Allowance, Client, client_of
from proxy.core.errors import Unavailable
from proxy.database import Database, DatabaseUnavailable
from proxy.listening import end, listen_forever
from usage.core.price import PriceBook
from usage.prices import load_price_book

logger = logging.getLogger(__name__)

# A change must be obeyed within a second, also when nobody can tell us of it.
UNLINKED_AGE_S = 0.5
# How soon an old value is read again after Postgres did not answer.
RETRY_S = 1.0
# Strangers' digests remembered, so that one bad key in a loop costs one look-up a second.
STRANGERS_MAX = 20_000
STRANGER_AGE_S = 1.0


@dataclass(frozen=True, slots=True)
class Published:
    """What holds for all keys."""

    catalogue: Catalogue
    prices: PriceBook
    maintenance: Maintenance
    accounts: tuple[Account, ...]


# When a value was read that has been announced as changed since.
NEVER = float("-inf")


@dataclass(slots=True)
class _Kept:
    policy: KeyPolicy
    read_at: float
    reading: "asyncio.Task[KeyPolicy | None] | None" = None


class Policies:
    """The cache of everything the control plane publishes."""

    def __init__(
        self,
        database: Database,
        valkey: AsyncValkey,
        *,
        entries_max: int,
        age_s_max: float,
        lookups_per_s_max: int,
    ) -> None:
        self._database = database
        self._valkey = valkey
        self._entries_max = entries_max
        self._age_s_max = age_s_max
        self._lookups = Allowance(lookups_per_s_max)
        self._keys: OrderedDict[str, _Kept] = OrderedDict()
        # Look-ups under way of keys not known yet, each with what was announced before it began.
        self._first_readings: dict[str, tuple[int, asyncio.Task[KeyPolicy | None]]] = {}
        self._strangers: OrderedDict[str, float] = OrderedDict()
        self._published: tuple[Published, float] | None = None
        self._loading: asyncio.Lock = asyncio.Lock()
        self._announcements = 0
        self._linked = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Begin to listen for changes."""
        self._spawn(listen_forever(self._valkey, CHANNEL, heard=self._heard, lost=self._lost))

    async def stop(self) -> None:
        """Stop listening."""
        await end(self._tasks)

    async def find(self, digest: str, address: Address | None = None) -> KeyPolicy | None:
        """Return the policy of a key that came from `address`, `None` for a stranger.

        Raises `Unavailable` when it is not known here and cannot be looked up just now.
        """
        now = time.monotonic()
        kept = self._keys.get(digest)
        if kept is not None:
            if kept.policy.later is not None:
                kept.policy = kept.policy.at(time.time_ns() // 1_000_000)
            if now - kept.read_at < (self._age_s_max if self._linked else UNLINKED_AGE_S):
                return kept.policy
            return await self._renew(digest, kept)
        if now - self._strangers.get(digest, -STRANGER_AGE_S) < STRANGER_AGE_S:
            return None
        known_at, reading = self._first_readings.get(digest, (None, None))
        if reading is None or known_at != self._announcements:
            reading = self._begin_reading(digest, client_of(address), now)
        return await asyncio.shield(reading)

    def _begin_reading(
        self, digest: str, client: Client, now: float
    ) -> "asyncio.Task[KeyPolicy | None]":
        """Look up a key that nobody has asked for yet, once for all who ask meanwhile."""
        if not self._lookups.take(client, now):
            raise Unavailable(
                "The gateway looks up too many unknown keys just now. Try again shortly.",
                retry_after_s=1,
            )
        reading = asyncio.create_task(self._first_read(digest, client))
        self._first_readings[digest] = (self._announcements, reading)
        self._tasks.add(reading)
        reading.add_done_callback(partial(self._end_reading, digest))
        return reading

    def _end_reading(self, digest: str, reading: "asyncio.Task[KeyPolicy | None]") -> None:
        self._tasks.discard(reading)
        if self._first_readings.get(digest, (0, None))[1] is reading:
            del self._first_readings[digest]
        if not reading.cancelled():
            reading.exception()  # Whoever asked may be gone.

    async def _first_read(self, digest: str, client: Client) -> KeyPolicy | None:
        try:
            policy = await self._read(digest)
        except DatabaseUnavailable as error:
            logger.warning("a key could not be looked up: %s", error)
            raise Unavailable(
                "The gateway cannot look up API keys just now. Try again shortly.",
                retry_after_s=5,
            ) from error
        if policy is not None:
            self._lookups.give_back(client)
        return policy

    async def accounts(self) -> tuple[Account, ...]:
        """Return the upstream accounts that may be used. Raises `Unavailable`."""
        return (await self.published()).accounts

    async def published(self) -> Published:
        """Return catalogue, prices, maintenance and accounts. Raises `Unavailable`."""
        if self._published is not None:
            value, read_at = self._published
            if time.monotonic() - read_at < (self._age_s_max if self._linked else UNLINKED_AGE_S):
                return value
        async with self._loading:
            return await self._read_published()

    async def _renew(self, digest: str, kept: _Kept) -> KeyPolicy | None:
        """Read again, once for all. Values merely old serve meanwhile, changed ones wait."""
        if kept.reading is None:
            kept.reading = asyncio.create_task(self._reread(digest, kept))
            self._tasks.add(kept.reading)
            kept.reading.add_done_callback(self._tasks.discard)
        elif kept.read_at != NEVER:
            return kept.policy
        return await asyncio.shield(kept.reading)

    async def _reread(self, digest: str, kept: _Kept) -> KeyPolicy | None:
        try:
            return await self._read(digest)
        except DatabaseUnavailable as error:
            logger.warning("a key could not be read again, its old policy stays: %s", error)
            kept.read_at = time.monotonic() - self._age_s_max + RETRY_S
            return kept.policy
        finally:
            kept.reading = None

    async def _read(self, digest: str) -> KeyPolicy | None:
        announcements = self._announcements
        policy = await self._database.call(load_policy, digest)
        now = time.monotonic()
        if policy is None:
            self._keys.pop(digest, None)
            self._strangers[digest] = now
            while len(self._strangers) > STRANGERS_MAX:
                self._strangers.popitem(last=False)
        elif announcements == self._announcements or digest not in self._keys:
            self._strangers.pop(digest, None)
            unannounced = announcements == self._announcements
            self._keys[digest] = _Kept(policy, now if unannounced else NEVER)
            while len(self._keys) > self._entries_max:
                self._keys.popitem(last=False)
        return policy

    async def _read_published(self) -> Published:
        announcements = self._announcements
        if self._published is not None and time.monotonic() - self._published[1] < UNLINKED_AGE_S:
            return self._published[0]  # Another caller read it while this one waited.
        try:
            value = await self._database.call(_load_published)
        except DatabaseUnavailable as error:
            if self._published is None:
                raise Unavailable(
                    "The gateway cannot read its settings just now. Try again shortly.",
                    retry_after_s=5,
                ) from error
            value = self._published[0]
        read_at = time.monotonic() if announcements == self._announcements else NEVER
        self._published = (value, read_at)
        return value

    def _forget(self, message: str) -> None:
        self._announcements += 1
        if message == EVERYTHING:
            # Old values stay at hand for when Postgres is away; they are only no longer believed.
            for kept in self._keys.values():
                kept.read_at = NEVER
            self._strangers.clear()
            if self._published is not None:
                self._published = (self._published[0], NEVER)
        else:
            if message in self._keys:
                self._keys[message].read_at = NEVER
            self._strangers.pop(message, None)

    def _heard(self, message: bytes | None) -> None:
        # Whatever changed before the channel was joined went unheard.
        self._forget(EVERYTHING if message is None else message.decode())
        self._linked = True

    def _lost(self) -> None:
        self._linked = False
        self._forget(EVERYTHING)

    def _spawn(self, work) -> None:  # type: ignore[no-untyped-def]
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _load_published() -> Published:
    return Published(load_catalogue(), load_price_book(), load_maintenance(), load_accounts())
