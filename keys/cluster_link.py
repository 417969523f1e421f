"""The link to a Valkey Cluster: one `Link` to each primary, and each call goes to its key's.

redis-py's cluster client knows which node has which slot; calls do not go through it
(docs/decisions/0012). What a node answers when it has not run a script:

    MOVED                       the slot is elsewhere: learn where, send again at once
    ASK, TRYAGAIN               the slot is being moved key by key: wait and send again. ASK is
                                never followed: scripts touch keys that they do not name, and
                                part of those would seem never to have been
    CLUSTERDOWN, READONLY, LOADING, MASTERDOWN, no connection
                                nobody has the slot now: learn anew, wait, send again

After `seconds_max` of these it is `LinkDown`: nothing was sent that ran. A connection that broke
behind a call is `ReplyLost` as on any link, and the cluster is looked at anew, for the node may be
no primary any more.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)

from keys.link import Link, LinkDown, Replication, ReplyLost

# How soon a call is sent again that nobody could run.
PAUSE_S = 0.05
# How soon the cluster is asked for its slots again. A failover takes a second or two.
LOOK_AGAIN_S = 0.2
_NOT_RUN = (AskError, TryAgainError, ClusterDownError, BusyLoadingError, LinkDown)


class ClusterLink:
    """Calls scripts by name on whichever primary has the key. Connects to each at need."""

    def __init__(
        self,
        cluster: "RedisCluster",
        sources: Mapping[str, str],
        *,
        seconds_max: float,
        replication: Replication | None = None,
    ) -> None:
        """Connect as `cluster` does; `sources` are scripts by name, `seconds_max` bounds a call."""
        self._nodes = cluster.nodes_manager
        self._sources = sources
        self._seconds_max = seconds_max
        self._replication = replication
        self._links: dict[str, Link] = {}
        self._short_before = 0
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")

    async def call(
        self, name: str, key: str, arguments: list[Any], *, replicated: bool = False
    ) -> Any:
        """Return the reply of the script `name` on `key`; if `replicated`, when replicas have it.

        Raises `LinkDown`, `ReplyLost`, or redis-py's `ResponseError` for an error of the script.
        """
        until, moves = time.monotonic() + self._seconds_max, 0
        while True:
            node = self._primary(key)
            try:
                if node is None:
                    raise LinkDown("no node is known to have this key")
                return await self._link(node).call(name, key, arguments, replicated=replicated)
            except ReplyLost:
                self._look(node)
                raise
            except MovedError as error:
                await self._learn(error)
                self._look(node)
                moves, why = moves + 1, str(error)
                if moves == 1:
                    continue
            except _NOT_RUN as error:
                why = str(error)
                looking = self._look(node)
                if not self._nodes.slots_cache:
                    await asyncio.wait([looking], timeout=until - time.monotonic())
            if time.monotonic() + PAUSE_S > until:
                raise LinkDown(why)
            await asyncio.sleep(PAUSE_S)

    def post(self, *command: Any) -> "asyncio.Future[Any]":
        """Send a command to the primary that has its first argument, a key, with whatever else
        this turn of the event loop sends there.

        Whether somebody awaits the reply is no matter; a redirection is an error like any other.
        Raises `LinkDown`; connects nothing.
        """
        node = self._primary(command[1])
        link = None if node is None else self._links.get(node.name)
        if link is None:
            raise LinkDown("there is no connection to the node that has this key")
        return link.post(*command)

    def place(self, key: str) -> str:
        """Return a name of the slot of `key`: what has one name fails together.

        Not of its node, whose other slots are served while this one is moved.
        """
        return str(_slot(key))

    @property
    def connected(self) -> bool:
        """Whether there is a connection to any node, as far as is known."""
        return any(link.connected for link in self._links.values())

    @property
    def short(self) -> int:
        """How many WAITs found fewer replicas than asked for."""
        return self._short_before + sum(link.short for link in self._links.values())

    async def close(self) -> None:
        """Close all connections; calls under way raise `ReplyLost`."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for link in self._links.values():
            await link.close()

    def _primary(self, key: str) -> "ClusterNode | None":
        nodes = self._nodes.slots_cache.get(_slot(key))
        return nodes[0] if nodes else None

    def _link(self, node: "ClusterNode") -> Link:
        link = self._links.get(node.name)
        if link is None:
            link = self._links[node.name] = Link(
                node,
                self._sources,
                seconds_max=self._seconds_max,
                replication=self._replication,
            )
        return link

    # --- Who has which slot ---------------------------------------------------------------------

    async def _learn(self, moved: MovedError) -> None:
        if moved.host and moved.slot_id in self._nodes.slots_cache:
            await self._nodes.move_slot(moved)

    def _look(self, doubted: "ClusterNode | None") -> "asyncio.Task[None]":
        """Ask the cluster for its slots, once for all who want to know."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_once(doubted))
        return self._looking

    async def _look_once(self, doubted: "ClusterNode | None") -> None:
        await asyncio.sleep(self._looked_at + LOOK_AGAIN_S - time.monotonic())
        self._looked_at = time.monotonic()
        with contextlib.suppress(RedisClusterException, RedisError, OSError, TimeoutError):
            # A node in doubt is asked last: it may be gone, or think that it is still a primary.
            await self._nodes.initialize(last_failed_node_name=doubted and doubted.name)
        await self._close_strangers()

    async def _close_strangers(self) -> None:
        """Close the links to nodes that have left the cluster."""
        for name in self._links.keys() - self._nodes.nodes_cache.keys():
            link = self._links.pop(name)
            self._short_before += link.short
            await link.close()


@lru_cache(maxsize=10_000)
def _slot(key: str | bytes) -> int:
    return key_slot(key.encode() if isinstance(key, str) else key)
