"""`/healthz` and `/readyz`, for load balancers: plain ASGI, so that no host name matters.

`/healthz` says that this process answers. `/readyz` says whether it can do its work: Postgres and
Valkey answer, the ledger is not too far behind, and its events leave room in Valkey. Both are open
to anyone, so no answer names an address, and a flood of probes costs one look a second.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import psycopg
import redis.asyncio
from django.conf import settings

from keys.limiter import shard_tag
from usage.ledger import MEMORY_SHARE_MAX

# A load balancer's own patience is often 3 s; it should get our answer, not its time-out.
LOOK_SECONDS_MAX = 2.0
# An answer is reused this long by the probes that follow.
ANSWER_AGE_S_MAX = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that the gateway depends on: `ok`, and in one sentence what was seen."""

    name: str
    ok: bool
    detail: str


class Readyz:
    """The application at `/readyz`: 200 if every part is ready, else 503, and JSON that says which.

    It looks at all parts at once, and remembers for a moment what it saw.
    """

    def __init__(self) -> None:
        self._parts: Sequence[Part] = ()
        self._looked_at = float("-inf")
        # Made at first use, inside the loop that uses it.
        self._lock: asyncio.Lock | None = None

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        parts = await self._recent_parts()
        ready = all(part.ok for part in parts)
        body = {"status": "ok" if ready else "unavailable", "parts": [asdict(p) for p in parts]}
        await _answer(send, 200 if ready else 503, body)

    async def _recent_parts(self) -> Sequence[Part]:
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if time.monotonic() - self._looked_at > ANSWER_AGE_S_MAX:
                self._parts = await asyncio.gather(
                    _look("postgres", _postgres), _look("valkey", _valkey), _look("drain", _drain)
                )
                self._looked_at = time.monotonic()
            return self._parts


readyz = Readyz()


async def healthz(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer 200: the process is alive."""
    await _answer(send, 200, {"status": "ok"})


async def probe(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer 200 without a body."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def drain_lag_s(now_ms: int, oldest_undrained_ids: Sequence[str]) -> float:
    """Return how far the ledger is behind: the age of the oldest event it has not yet."""
    ages = [now_ms - int(stream_id.partition("-")[0]) for stream_id in oldest_undrained_ids]
    return max([0, *ages]) / 1000


async def _look(name: str, look: Callable[[], Awaitable[Part]]) -> Part:
    try:
        return await asyncio.wait_for(look(), LOOK_SECONDS_MAX)
    except TimeoutError:
        return Part(name, False, f"No answer within {LOOK_SECONDS_MAX:g} s.")
    except (OSError, psycopg.Error, redis.RedisError):
        # What exactly is for the log: the text of such an error can hold addresses.
        logger.warning("not ready: %s", name, exc_info=True)
        return Part(name, False, "It cannot be reached or answers with an error.")


async def _postgres() -> Part:
    async with await psycopg.AsyncConnection.connect(settings.DATABASE_URL) as connection:
        await connection.execute("SELECT 1")
    return Part("postgres", True, "It answers.")


async def _valkey() -> Part:
    async with redis.asyncio.from_url(settings.VALKEY_URL) as client:
        memory = await client.info("memory")
        async with client.pipeline(transaction=False) as reads:
            for shard in range(settings.SHARDS):
                reads.memory_usage(f"{shard_tag(shard)}:events")
            events_bytes = sum(size or 0 for size in await reads.execute())
    share = events_bytes / memory["maxmemory"] if memory["maxmemory"] else 0.0
    detail = f"It answers; events of the ledger take {100 * share:.0f} % of its memory."
    return Part("valkey", share <= MEMORY_SHARE_MAX, detail)


async def _drain() -> Part:
    async with redis.asyncio.from_url(settings.VALKEY_URL, decode_responses=True) as client:
        tags = [shard_tag(shard) for shard in range(settings.SHARDS)]
        async with client.pipeline(transaction=False) as reads:
            for tag in tags:
                reads.get(f"{tag}:drained")
            positions = await reads.execute()
        async with client.pipeline(transaction=False) as reads:
            for tag, position in zip(tags, positions, strict=True):
                reads.xrange(f"{tag}:events", f"({position}" if position else "-", count=1)
            reads.time()
            *oldest, (seconds, microseconds) = await reads.execute()
    now_ms = seconds * 1000 + microseconds // 1000
    lag_s = drain_lag_s(now_ms, [events[0][0] for events in oldest if events])
    return Part("drain", lag_s <= settings.DRAIN_LAG_S_MAX, f"The ledger is {lag_s:.1f} s behind.")


async def _answer(send: Any, status: int, body: dict[str, Any]) -> None:
    content = orjson.dumps(body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
