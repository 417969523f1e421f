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
from django.conf import settings
from redis import RedisError

from claudcode.stores import each_host
from usage.ledger import MEMORY_SHARE_MAX, drain_lag, memory_share

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


async def _look(name: str, look: Callable[[], Awaitable[Part]]) -> Part:
    try:
        return await asyncio.wait_for(look(), LOOK_SECONDS_MAX)
    except TimeoutError:
        return Part(name, False, f"No answer within {LOOK_SECONDS_MAX:g} s.")
    except (OSError, psycopg.Error, RedisError):
        # What exactly is for the log: the text of such an error can hold addresses.
        logger.warning("not ready: %s", name, exc_info=True)
        return Part(name, False, "It cannot be reached or answers with an error.")


async def _postgres() -> Part:
    # All hosts at once: one that is cut off would take all the time there is.
    looks = {asyncio.ensure_future(_failure(each)) for each in each_host(settings.DATABASE_URL)}
    failures: list[Exception] = []
    try:
        for look in asyncio.as_completed(looks):
            if (failure := await look) is None:
                return Part("postgres", True, "It answers.")
            failures.append(failure)
    finally:
        for task in looks:
            task.cancel()
    raise failures[0]


async def _failure(address: str) -> Exception | None:
    try:
        async with await psycopg.AsyncConnection.connect(address) as connection:
            await connection.execute("SELECT 1")
    except (OSError, psycopg.Error) as error:
        return error
    return None


async def _valkey() -> Part:
    # In threads: what the looks do on each node of a cluster is written once, synchronously.
    share = await asyncio.to_thread(memory_share)
    detail = f"It answers; events of the ledger take {100 * share:.0f} % of its memory."
    return Part("valkey", share <= MEMORY_SHARE_MAX, detail)


async def _drain() -> Part:
    lag_s = await asyncio.to_thread(drain_lag)
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
