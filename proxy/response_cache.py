"""Answers that are kept for identical requests: looked up beside the admission, stored beside the
settlement, so that neither costs a round trip of its own.

Knows how entries are named in Valkey and how long they live; what one holds is for
`proxy.core.cache_entry`, what is safe to keep for `proxy.core.replay`. A cache that fails is a
miss, never an error.
"""

import asyncio
from typing import Any

from redis.exceptions import RedisError

from keys.core.access import KeyPolicy
from keys.limiter import shard_tag
from keys.link import LinkDown, ReplyLost
from keys.links import AnyLink
from proxy.core.cache_entry import Entry, decode


class ResponseCache:
    """The response cache of all keys, on the connection that admissions go over."""

    def __init__(self, link: AnyLink) -> None:
        self._link = link

    def look_up(self, policy: KeyPolicy, digest: str) -> "Look":
        """Begin to look; the question leaves with the next call of this turn of the event loop."""
        try:
            return Look(self._link.post(b"GET", entry_name(policy, digest)))
        except LinkDown:
            return Look(None)

    def store(
        self, policy: KeyPolicy, digest: str, entry: bytes, ttl_s: int
    ) -> "asyncio.Future[Any] | None":
        """Begin to store; return the store's answer to come, `None` if it cannot be asked.

        Whoever looks up on this connection from now on finds the entry.
        """
        try:
            return self._link.post(b"SET", entry_name(policy, digest), entry, b"EX", ttl_s)
        except LinkDown:
            return None


class Look:
    """A look-up under way."""

    __slots__ = ("_reply",)

    def __init__(self, reply: "asyncio.Future[Any] | None") -> None:
        self._reply = reply

    async def entry(self) -> Entry | None:
        """Return what is kept, `None` if nothing is, or nothing that can be read."""
        if self._reply is None:
            return None
        try:
            stored = await self._reply
        except (LinkDown, ReplyLost, RedisError):
            return None
        return None if stored is None else decode(stored)


def entry_name(policy: KeyPolicy, digest: str) -> str:
    """Return the name of an entry in Valkey, on the shard of its key."""
    return f"{shard_tag(policy.shard)}:r:{policy.cache_scope}:{digest}"
