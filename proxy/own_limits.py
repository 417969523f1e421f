"""Concurrency and requests a minute of accounts that set such limits, over all gateways.

The one call to Valkey besides admission and settlement, and only for these accounts. A place is a
lease, renewed in the rhythm of exchanges' leases, so a process that dies leaks none. When Valkey
does not answer, the account is used: its own upstream limit stands behind ours.
"""

import asyncio
import logging
from collections import defaultdict
from uuid import uuid4

from redis.exceptions import RedisError

from keys.link import LinkDown, ReplyLost
from keys.links import link_to
from keys.valkey import AsyncValkey
from proxy.core.account import Account
from proxy.rest import source

logger = logging.getLogger(__name__)

UNLIMITED = -1
_LOST = (LinkDown, ReplyLost, RedisError)


class Full(Exception):
    """The account is at a limit of its own; ask again after `wait_s`."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"for {wait_s:g} s")
        self.wait_s = wait_s


class OwnLimits:
    """Takes and gives back places at accounts."""

    def __init__(
        self, valkey: AsyncValkey, *, lease_ttl_s: float, renew_s: float, seconds_max: float
    ) -> None:
        self._link = link_to(
            valkey, {n: source(n) for n in ("take", "keep", "leave")}, seconds_max=seconds_max
        )
        self._lease_ttl_ms = round(lease_ttl_s * 1000)
        self._renew_s = renew_s
        self._held: dict[str, set[str]] = defaultdict(set)
        self._releasing: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to renew leases."""
        self._renewing = asyncio.create_task(self._renew_forever())

    async def stop(self) -> None:
        """Give back what was left in the last moment, and close the connection."""
        if self._renewing is not None:
            self._renewing.cancel()
        await asyncio.gather(*self._releasing, return_exceptions=True)
        await self._link.close()

    async def take(self, account: Account) -> "Lease | None":
        """Return a lease, `None` where none is needed. Raises `Full`."""
        if account.concurrency is None and account.rpm is None:
            return None
        key, name = f"{{a{account.id}}}:slots", uuid4().hex
        limits = (_number(account.concurrency), _number(account.rpm))
        # Held before it is asked for: if the reply is lost, the lease is still given back.
        lease = Lease(self, key, name) if account.concurrency is not None else None
        try:
            wait_ms = await self._link.call("take", key, [*limits, name, self._lease_ttl_ms])
        except _LOST as error:
            logger.warning("the limits of account %s are not known: %s", account.name, error)
            wait_ms = 0
        except asyncio.CancelledError:
            if lease is not None:
                lease.release()
            raise
        if wait_ms:
            raise Full(wait_ms / 1000)
        if lease is not None:
            self._held[key].add(name)
        return lease

    def release(self, lease: "Lease") -> None:
        """Begin to give a lease back; returns at once."""
        self._held[lease.key].discard(lease.name)
        task = asyncio.create_task(self._release(lease))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _release(self, lease: "Lease") -> None:
        try:
            await self._link.call("leave", lease.key, [lease.name])
        except _LOST as error:
            logger.warning("a place at an account is free when its lease expires: %s", error)

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._renew_s)
            for key, names in list(self._held.items()):
                if not names:
                    del self._held[key]
                    continue
                try:
                    await self._link.call("keep", key, [self._lease_ttl_ms, *names])
                except _LOST as error:
                    logger.warning("places at an account were not renewed: %s", error)


class Lease:
    """A place at an account."""

    __slots__ = ("_limits", "key", "name")

    def __init__(self, limits: OwnLimits, key: str, name: str) -> None:
        self._limits, self.key, self.name = limits, key, name

    def release(self) -> None:
        """Give the place back; harmless the second time."""
        self._limits.release(self)


def _number(limit: int | None) -> int:
    return UNLIMITED if limit is None else limit
