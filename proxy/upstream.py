"""Asks upstream: finds an open connection or has one opened, and bounds how many there are.
Knows nothing of keys, limits or the ledger.

An exchange holds one of `connections_max` slots from `send()` to `Answer.finish()`; who finds none
free waits in a line. Open connections beyond those in use are idle ones, kept for each address;
the oldest of all make room when the total would pass the bound.

Nothing is sent twice. A request that went into a kept connection which upstream was just closing
fails with `UpstreamUnreachable` and `sent`, since nobody knows whether it was read.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from proxy.connection import Answer, Connection, UpstreamBroken, UpstreamUnreachable
from proxy.core.headers import Headers
from proxy.core.request_head import BadRequestHead, request_head
from proxy.dialing import Dialer

__all__ = ["Answer", "Upstream", "UpstreamBroken", "UpstreamClient", "UpstreamUnreachable"]

# Addresses come and go with the accounts that operators enter; a client keeps this many in mind.
ROUTES_MAX = 1000


@dataclass(frozen=True, slots=True)
class Upstream:
    """An Anthropic-compatible account: its name in the ledger, its address, our credential."""

    name: str
    base_url: str
    credential: tuple[tuple[bytes, bytes], ...]


class UpstreamClient:
    """Sends requests upstream over kept-alive connections."""

    def __init__(
        self, *, connections_max: int, connect_seconds_max: float, read_seconds_max: float
    ) -> None:
        self._connect_seconds_max = connect_seconds_max
        self._read_seconds_max = read_seconds_max
        self._slots = _Slots(connections_max)
        self._routes: dict[str, _Route] = {}
        self._open: set[Connection] = set()
        self._closed = asyncio.Event()
        self._tls: ssl.SSLContext | None = None

    async def send(
        self,
        upstream: Upstream,
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        body: bytes,
    ) -> Answer:
        """Return upstream's answer as soon as its headers are there. The caller finishes it.

        Raises `UpstreamUnreachable`.
        """
        route = self._routes.get(upstream.base_url) or self._route(upstream.base_url)
        target = route.prefix + path.encode("latin-1")
        if query:
            target += b"?" + query
        try:
            head = request_head(method.encode(), target, route.authority, headers, len(body))
        except BadRequestHead as error:  # A credential or an address that an operator mistyped.
            raise UpstreamUnreachable(str(error), sent=False) from None
        if not self._slots.take():
            await self._wait_for_slot()
        try:
            connection = route.kept() or await self._connect(route)
        except BaseException:
            self._slots.give_back()
            raise
        answer = connection.begin(head, body, bodiless=method == "HEAD")
        try:
            await answer.begun()
        except BaseException:
            answer.finish()
            raise
        return answer

    async def close(self) -> None:
        """Close every connection."""
        for route in self._routes.values():
            route.dialer.close()
        for connection in self._open:
            connection.cut()
        while self._open:
            self._closed.clear()
            await self._closed.wait()

    def _route(self, base_url: str) -> "_Route":
        if len(self._routes) >= ROUTES_MAX:
            for forgotten in self._routes.values():
                forgotten.cut_idle(len(forgotten.idle))
            self._routes.clear()
        try:
            route = self._routes[base_url] = _Route(base_url)
        except (ValueError, OSError) as error:
            raise UpstreamUnreachable(f"{base_url}: {error}", sent=False) from None
        return route

    async def _wait_for_slot(self) -> None:
        try:
            async with asyncio.timeout(self._connect_seconds_max):
                await self._slots.wait()
        except (TimeoutError, _LineTooLong) as error:
            reason = f"all {self._slots.most} connections are in use"
            late = isinstance(error, TimeoutError)
            raise UpstreamUnreachable(reason, sent=False, timed_out=late) from None

    async def _connect(self, route: "_Route") -> Connection:
        self._make_room()
        try:
            async with asyncio.timeout(self._connect_seconds_max):
                return await self._open_connection(route)
        except TimeoutError:
            waited = f"no connection within {self._connect_seconds_max:g} s"
            raise UpstreamUnreachable(waited, sent=False, timed_out=True) from None
        except (OSError, UnicodeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UpstreamUnreachable(reason, sent=False) from None

    async def _open_connection(self, route: "_Route") -> Connection:
        def connection() -> Connection:
            return Connection(
                read_seconds_max=self._read_seconds_max,
                ended=partial(self._ended, route),
                lost=partial(self._lost, route),
            )

        dialled = await route.dialer.dial()
        try:
            _transport, opened = await asyncio.get_running_loop().create_connection(
                connection,
                sock=dialled,
                ssl=self._tls_context() if route.tls else None,
                server_hostname=route.dialer.host if route.tls else None,
            )
        except BaseException:
            dialled.close()
            raise
        self._open.add(opened)
        return opened

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            # Checks the certificate and its name, against SSL_CERT_FILE where that is set.
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _make_room(self) -> None:
        kept = [route for route in self._routes.values() if route.idle]
        while (
            kept and self._slots.taken + sum(len(route.idle) for route in kept) > self._slots.most
        ):
            min(kept, key=_Route.oldest).cut_idle(1)
            kept = [route for route in kept if route.idle]

    def _ended(self, route: "_Route", connection: Connection) -> None:
        if connection.usable:
            route.idle[connection] = None
        self._slots.give_back()

    def _lost(self, route: "_Route", connection: Connection) -> None:
        route.idle.pop(connection, None)
        self._open.discard(connection)
        self._closed.set()


class _Route:
    """How to reach one base URL, and the idle connections to it, the longest idle first."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http:// or https:// address")
        self.tls = parts.scheme == "https"
        self.authority = parts.netloc.rpartition("@")[2].encode("idna")
        self.prefix = parts.path.rstrip("/").encode("latin-1")
        port = parts.port or (443 if self.tls else 80)
        self.dialer = Dialer(parts.hostname, port, tls=self.tls)
        self.idle: dict[Connection, None] = {}

    def kept(self) -> Connection | None:
        """Take the connection that was used last: the surest to be open still."""
        while self.idle:
            connection, _ = self.idle.popitem()
            if connection.usable:
                return connection
        return None

    def oldest(self) -> float:
        """Return since when the longest idle connection is idle."""
        return next(iter(self.idle)).idle_since

    def cut_idle(self, count: int) -> None:
        """Close the `count` longest idle connections."""
        for connection in list(self.idle)[:count]:
            del self.idle[connection]
            connection.cut()


class _LineTooLong(Exception):
    """As many wait for a slot as there are slots."""


class _Slots:
    """A bounded number of slots, given in the order in which they were asked for."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._line: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a slot if that is possible at once."""
        if self.taken < self.most and not self._line:
            self.taken += 1
            return True
        return False

    async def wait(self) -> None:
        """Take a slot when it is our turn. Raises `_LineTooLong`."""
        if len(self._line) >= self.most:
            raise _LineTooLong
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # It came just before we were told to give up.
                self.give_back()
            elif turn in self._line:
                self._line.remove(turn)
            raise

    def give_back(self) -> None:
        """Free a slot: the first in line has it now."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():  # One that is gave up, and has not had the time to leave.
                turn.set_result(None)
                return
        self.taken -= 1
