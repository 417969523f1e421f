"""`/metrics` as plain ASGI: who may read it, and what they read.

There is none until a token or networks are set: accounts' names and what is spent are not for
strangers. It answers under every host name, as a scraper asks for an address.
"""

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from claudcode.metrics import exposition, gauges, sharing
from proxy.application import Application as DataPlane
from proxy.call import Call
from usage.core.tally import Snapshot
from usage.counting import tally

logger = logging.getLogger(__name__)

# What stores say is remembered so long: two Prometheus servers cost one look.
STORES_AGE_S_MAX = 2.0

Lifespan = Callable[[Any, Any, Any], Awaitable[None]]


class Metrics:
    """The application at `/metrics`, and the telling of this worker's counts to the others."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._stores: dict[str, float] = {}
        self._looked_at = float("-inf")
        # Made at first use, inside the loop that uses it.
        self._lock: asyncio.Lock | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        call = Call(scope, receive, send)
        status = _refused(call)
        if status:
            challenge = [(b"www-authenticate", b"Bearer")] if status == 401 else []
            await _answer(send, status, b"", challenge)
        elif call.method not in ("GET", "HEAD"):
            await _answer(send, 405, b"", [(b"allow", b"GET, HEAD")])
        else:
            page, content_type = exposition.text(await self._all())
            body = b"" if call.method == "HEAD" else page
            await _answer(send, 200, body, [(b"content-type", content_type.encode())])

    def around(self, lifespan: Lifespan) -> Lifespan:
        """Return `lifespan` with our own work beside it."""

        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            telling: asyncio.Task[None] | None = None

            async def told() -> Any:
                nonlocal telling
                message = await receive()
                if message["type"] == "lifespan.startup" and _folder():
                    telling = asyncio.create_task(self._tell_forever())
                elif telling is not None:
                    telling.cancel()  # Before what it asks for is taken apart.
                return message

            await lifespan(scope, told, send)
            self._tell({})

        return wrapped

    async def _all(self) -> Snapshot:
        parts = await self._plane.parts()
        snapshot = _own(gauges.of_process(parts))
        folder = _folder()
        if folder is not None:
            try:
                snapshot = sharing.with_others(folder, snapshot)
            except (OSError, ValueError, KeyError, TypeError):
                logger.exception("the counts of other workers could not be read")
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if time.monotonic() - self._looked_at > STORES_AGE_S_MAX:
                self._stores = await gauges.of_stores(parts)
                self._looked_at = time.monotonic()
        snapshot.gauges.update(self._stores)
        return snapshot

    async def _tell_forever(self) -> None:
        while True:
            await asyncio.sleep(sharing.WRITE_EVERY_S)
            parts = await self._plane.parts()
            self._tell(gauges.of_process(parts))

    def _tell(self, held: dict[str, float]) -> None:
        folder = _folder()
        if folder is not None:
            with contextlib.suppress(OSError):  # The next second is another try.
                sharing.write(folder, _own(held))


def _own(held: dict[str, float]) -> Snapshot:
    snapshot = tally.snapshot(held)
    snapshot.counters[("worker_cpu_seconds",)] = gauges.cpu_seconds()
    return snapshot


def _folder() -> Path | None:
    return Path(settings.METRICS_FOLDER) if settings.METRICS_FOLDER else None


def _refused(call: Call) -> int:
    """Return 0 if the call may read, else the status to refuse it with."""
    tokens = [token.encode() for token in settings.METRICS_TOKENS]
    networks = _networks(settings.METRICS_NETWORKS)
    if not tokens and not networks:
        return 404
    address = call.address(_networks(settings.TRUSTED_PROXIES))
    if address is not None and any(address in network for network in networks):
        return 0
    scheme, _, offered = call.headers.get(b"authorization", b"").partition(b" ")
    right = any([hmac.compare_digest(offered.strip(), token) for token in tokens])
    if scheme.lower() == b"bearer" and right:
        return 0
    return 401 if tokens else 403


def _networks(cidrs: list[str]) -> tuple[Any, ...]:
    return tuple(ipaddress.ip_network(cidr) for cidr in cidrs)


async def _answer(send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", b"%d" % len(body))
    all_headers = [*headers, length, (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})
