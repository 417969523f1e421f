"""Exchanges that wait for one of their key's slots instead of being refused.

First come, first served within a key: only the first of a queue asks for admission again, when an
exchange that held a slot ends here, or a little later in case one ended in another process.
"""

import asyncio
from collections import deque

from keys.core.access import KeyPolicy

# How soon a slot that another process freed is noticed.
LOOK_AGAIN_S = 0.2
# Those who wait hold a connection and a body each; more than this in one process is no queue.
WAITING_MAX = 1000


class Waiting:
    """The queues of this process, by key."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[Place]] = {}
        self._waiting = 0

    def queued(self, policy: KeyPolicy) -> bool:
        """Whether anybody waits for a slot of this key."""
        return policy.apikey_id in self._queues

    def join(self, policy: KeyPolicy) -> "Place | None":
        """Return a place at the end of the key's queue, `None` if too many wait already."""
        if self._waiting >= WAITING_MAX:
            return None
        self._waiting += 1
        queue = self._queues.setdefault(policy.apikey_id, deque())
        place = Place(policy)
        queue.append(place)
        return place

    def leave(self, place: "Place") -> None:
        """Give up a place; the next in line has its turn."""
        queue = self._queues[place.policy.apikey_id]
        queue.remove(place)
        self._waiting -= 1
        if queue:
            queue[0].call()
        else:
            del self._queues[place.policy.apikey_id]

    def freed(self, scopes: str) -> None:
        """An exchange of these scopes has ended: whoever is first for one of them may ask."""
        if self._queues:
            ended = set(scopes.split())
            for queue in self._queues.values():
                if not ended.isdisjoint(queue[0].policy.scopes.split()):
                    queue[0].call()

    def first(self, place: "Place") -> bool:
        """Whether it is the turn of this place."""
        return self._queues[place.policy.apikey_id][0] is place


class Place:
    """A place in the queue of a key."""

    __slots__ = ("_called", "policy")

    def __init__(self, policy: KeyPolicy) -> None:
        self.policy = policy
        self._called = asyncio.Event()

    def call(self) -> None:
        """Wake whoever waits here."""
        self._called.set()

    async def wait(self, seconds_max: float) -> None:
        """Wait to be called, at most `seconds_max` or until it is time to look again."""
        try:
            async with asyncio.timeout(min(seconds_max, LOOK_AGAIN_S)):
                await self._called.wait()
        except TimeoutError:
            pass
        self._called.clear()
