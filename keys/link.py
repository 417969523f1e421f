"""One connection to Valkey that carries the script calls of a whole process, in order.

redis-py connects and authenticates; then the link takes the transport over. What is left out is its
pool and its streams: a call there checks a connection out and in, starts two time-outs and packs
its arguments in Python, which came to a third of the CPU time of an exchange. Here a call is one
write and its reply wakes the caller, with no task of ours between them (uvloop makes one write of
all that one turn of the event loop writes). Replies are handed out in the order of the calls, and
one watchdog times all of them.

Not for blocking commands, subscriptions or transactions: they would hold up everybody else.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import hiredis
from redis._parsers.base import BaseParser
from redis.asyncio.connection import Connection
from redis.exceptions import InvalidResponse, NoScriptError, ReadOnlyError, RedisError

logger = logging.getLogger(__name__)

# How often the oldest call's age is looked at: late by at most this.
WATCH_S = 0.1


class LinkDown(Exception):
    """The call was not sent: there is no connection."""


class ReplyLost(Exception):
    """The call was sent and the connection broke, or stayed silent, before its reply came."""


# How often it is logged that replicas are missing.
SHORT_LOGGED_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Replication:
    """How many replicas must have what a call wrote before it is answered, and for how long that
    is waited for; then the call is answered all the same.
    """

    replicas: int
    ms_max: int


class Server(Protocol):
    """How to connect to one server: a pool of redis-py's, or its node of a cluster."""

    connection_class: type[Any]
    connection_kwargs: Any


# A call that waits for its reply, and since when.
_Waiting = tuple["asyncio.Future[Any]", float]
_NOTHING = object()


class _Replies(asyncio.Protocol):
    """Reads replies off a transport and hands them out."""

    def __init__(self, hand_out: Callable[[Any], None], lost: Callable[[str], None]) -> None:
        self._hand_out, self._lost = hand_out, lost
        # A transport that was given up may still tell of bytes and of its end.
        self.given_up = False
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=BaseParser.parse_error,
            notEnoughData=_NOTHING,
        )

    def data_received(self, data: bytes) -> None:
        if self.given_up:
            return
        try:
            self._reader.feed(data)
            while not self.given_up and (reply := self._reader.gets()) is not _NOTHING:
                self._hand_out(reply)
        except InvalidResponse as error:
            self._lost(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.given_up:
            self._lost(str(error or "the store closed the connection"))


class Link:
    """Calls scripts by name. Connects at the first call, and again at the first after a break."""

    def __init__(
        self,
        server: Server,
        sources: Mapping[str, str],
        *,
        seconds_max: float,
        replication: Replication | None = None,
    ) -> None:
        """Connect to `server`; `sources` are scripts by name, `seconds_max` bounds a call."""
        self._server = server
        self._sources = sources
        self._seconds_max = seconds_max
        self._digests: dict[str, bytes] = {}
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._transport: asyncio.Transport | None = None
        self._replies: _Replies | None = None
        self._waiting: deque[_Waiting] = deque()
        self._watching: asyncio.Task[None] | None = None
        self._replication = replication
        # The WAIT that the calls of this turn will share, and whether an earlier one is under way.
        self._next_wait: asyncio.Future[None] | None = None
        self._wait_sent = False
        self._short_logged_at = float("-inf")
        self.short = 0  # How many WAITs found fewer replicas than asked for.

    async def call(
        self, name: str, key: str, arguments: list[Any], *, replicated: bool = False
    ) -> Any:
        """Return the reply of the script `name` on `key`; if `replicated`, when replicas have it.

        Raises `LinkDown`, `ReplyLost`, or redis-py's `ResponseError` for an error of the script.
        """
        if self._transport is None:
            await self._connect()
        send = self._send_replicated if replicated and self._replication else self._send
        try:
            try:
                return await send(b"EVALSHA", self._digests[name], 1, key, *arguments)
            except NoScriptError:
                # Somebody flushed the scripts; EVAL brings this one back.
                return await send(b"EVAL", self._sources[name], 1, key, *arguments)
        except ReadOnlyError as error:
            # What was a primary is a replica now: nothing was done.
            self._break("the server has become a replica")
            raise LinkDown(str(error)) from error

    def place(self, _key: str) -> str:
        """Return a name of where `key` is: what has one name fails together."""
        return ""

    def post(self, *command: Any) -> "asyncio.Future[Any]":
        """Send a command in the same write as whatever else this turn of the event loop sends.

        Whether somebody awaits the reply is no matter. Raises `LinkDown`; connects nothing.
        """
        reply = self._send(*command)
        reply.add_done_callback(_look)
        return reply

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._transport is not None

    async def close(self) -> None:
        """Close the connection; calls under way raise `ReplyLost`."""
        self._break("the link was closed")

    async def _connect(self) -> None:
        async with self._connecting:
            if self._transport is not None:
                return
            # Without a time-out of its own at each read and write: the watchdog has one for all.
            options = self._server.connection_kwargs | {"protocol": 2, "socket_timeout": None}
            connection = self._server.connection_class(**options)
            try:
                async with asyncio.timeout(self._seconds_max):
                    await connection.connect()
                    for name, source in self._sources.items():
                        await connection.send_command("SCRIPT", "LOAD", source)
                        self._digests[name] = await connection.read_response()
            except (RedisError, OSError, TimeoutError) as error:
                await connection.disconnect(nowait=True)
                raise LinkDown(str(error)) from error
            writer = connection._writer
            assert writer is not None
            # No reply is under way now, so nothing is in the stream that is left behind.
            self._replies = _Replies(self._hand_out, self._break)
            writer.transport.set_protocol(self._replies)
            self._connection, self._transport = connection, writer.transport
            self._waiting = deque()
            self._watching = asyncio.create_task(self._watch())

    def _send(self, *command: Any) -> "asyncio.Future[Any]":
        if self._transport is None or self._transport.is_closing():
            raise LinkDown("the connection broke")
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._transport.write(hiredis.pack_command(command))
        self._waiting.append((reply, time.monotonic()))
        return reply

    # --- Waiting for replicas -------------------------------------------------------------------

    async def _send_replicated(self, *command: Any) -> Any:
        reply, waited = self._send(*command), self._share_wait()
        answer = await reply
        await asyncio.shield(waited)
        return answer

    def _share_wait(self) -> "asyncio.Future[None]":
        if self._next_wait is None:
            self._next_wait = asyncio.get_running_loop().create_future()
            if not self._wait_sent:
                # Behind all that this turn of the event loop sends.
                asyncio.get_running_loop().call_soon(self._send_wait)
        return self._next_wait

    def _send_wait(self) -> None:
        waited, self._next_wait = self._next_wait, None
        if waited is None or self._replication is None:
            return
        try:
            reply = self._send(b"WAIT", self._replication.replicas, self._replication.ms_max)
        except LinkDown:
            self._end_wait(waited, 0)
            return
        self._wait_sent = True
        reply.add_done_callback(lambda reply: self._waited(waited, reply))

    def _waited(self, waited: "asyncio.Future[None]", reply: "asyncio.Future[Any]") -> None:
        self._wait_sent = False
        failed = reply.cancelled() or reply.exception() is not None
        self._end_wait(waited, 0 if failed else reply.result())
        self._send_wait()  # For those who came meanwhile.

    def _end_wait(self, waited: "asyncio.Future[None]", replicas: int) -> None:
        if self._replication is not None and replicas < self._replication.replicas:
            self.short += 1
            now = time.monotonic()
            if now - self._short_logged_at > SHORT_LOGGED_EVERY_S:
                self._short_logged_at = now
                asked = self._replication.replicas
                logger.warning("%d of %d replicas had a write in time", replicas, asked)
        if not waited.done():
            waited.set_result(None)

    def _hand_out(self, reply: Any) -> None:
        waiting, _since = self._waiting.popleft()
        if waiting.done():
            return  # Its caller was cancelled.
        if isinstance(reply, RedisError):
            waiting.set_exception(reply)
        else:
            waiting.set_result(reply)

    async def _watch(self) -> None:
        suspect: _Waiting | None = None
        while True:
            await asyncio.sleep(WATCH_S)
            oldest = self._waiting[0] if self._waiting else None
            late = oldest and time.monotonic() - oldest[1] > self._seconds_max
            # Late twice: a busy process may have had no time to read a reply that is there, and
            # between two looks the reader had its turn.
            if late and oldest is suspect:
                self._break(f"no reply in {self._seconds_max:g} seconds")
                return
            suspect = oldest if late else None

    def _break(self, why: str) -> None:
        connection, self._connection = self._connection, None
        transport, self._transport = self._transport, None
        if transport is None or connection is None:
            return
        if self._replies is not None:
            self._replies.given_up = True
        waiting, self._waiting = self._waiting, deque()
        for reply, _since in waiting:
            if not reply.done():
                reply.set_exception(ReplyLost(why))
        if self._watching is not None and self._watching is not asyncio.current_task():
            self._watching.cancel()
        transport.abort()
        connection._close()  # So that it does not complain of being left open.


def _look(reply: "asyncio.Future[Any]") -> None:
    # A failure that nobody looked at would be logged as a fault.
    if not reply.cancelled():
        reply.exception()
