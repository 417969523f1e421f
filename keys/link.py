"""One connection to Valkey that carries the script calls of a whole process, in order.

redis-py connects, authenticates and parses; what is left out is its pool: a call there checks a
connection out and in, starts two time-outs and packs its arguments in Python, which came to a
third of the CPU time of an exchange. Here all calls of one turn of the event loop leave in one
write, replies are handed out in the order of the calls, and one watchdog times all of them.

Not for blocking commands, subscriptions or transactions: they would hold up everybody else.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import Connection
from redis.exceptions import NoScriptError, RedisError, ResponseError

# How often the oldest call's age is looked at: late by at most this.
WATCH_S = 0.1


class LinkDown(Exception):
    """The call was not sent: there is no connection."""


class ReplyLost(Exception):
    """The call was sent and the connection broke, or stayed silent, before its reply came."""


@dataclass(slots=True)
class _Waiting:
    reply: "asyncio.Future[Any]"
    since: float


class Link:
    """Calls scripts by name. Connects at the first call, and again at the first after a break."""

    def __init__(self, valkey: "Redis", sources: Mapping[str, str], *, seconds_max: float) -> None:
        """Connect as `valkey` does; `sources` are scripts by name, `seconds_max` bounds a call."""
        self._pool = valkey.connection_pool
        self._sources = sources
        self._seconds_max = seconds_max
        self._digests: dict[str, bytes] = {}
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._outbox: list[bytes] = []
        self._wake = asyncio.Event()
        self._waiting: deque[_Waiting] = deque()
        self._tasks: list[asyncio.Task[None]] = []

    async def call(self, name: str, key: str, arguments: list[Any]) -> Any:
        """Return the reply of the script `name` on `key`.

        Raises `LinkDown`, `ReplyLost`, or redis-py's `ResponseError` for an error of the script.
        """
        await self._connect()
        try:
            return await self._send(b"EVALSHA", self._digests[name], 1, key, *arguments)
        except NoScriptError:
            # Somebody flushed the scripts; EVAL brings this one back.
            return await self._send(b"EVAL", self._sources[name], 1, key, *arguments)

    def post(self, *command: Any) -> "asyncio.Future[Any]":
        """Send a command in the same write as whatever else this turn of the event loop sends.

        Whether somebody awaits the reply is no matter. Raises `LinkDown`; connects nothing.
        """
        reply = self._send(*command)
        reply.add_done_callback(_look)
        return reply

    async def close(self) -> None:
        """Close the connection; calls under way raise `ReplyLost`."""
        await self._break("the link was closed")

    async def _connect(self) -> None:
        if self._connection is not None:
            return
        async with self._connecting:
            if self._connection is not None:
                return
            # Without a time-out of its own at each read and write: the watchdog has one for all.
            options = self._pool.connection_kwargs | {"protocol": 2, "socket_timeout": None}
            connection = self._pool.connection_class(**options)
            try:
                async with asyncio.timeout(self._seconds_max):
                    await connection.connect()
                    for name, source in self._sources.items():
                        await connection.send_command("SCRIPT", "LOAD", source)
                        self._digests[name] = await connection.read_response()
            except (RedisError, OSError, TimeoutError) as error:
                await connection.disconnect(nowait=True)
                raise LinkDown(str(error)) from error
            self._connection = connection
            self._outbox, self._waiting = [], deque()
            work = (self._write(connection), self._read(connection), self._watch())
            self._tasks = [asyncio.create_task(task) for task in work]

    def _send(self, *command: Any) -> "asyncio.Future[Any]":
        if self._connection is None:
            raise LinkDown("the connection broke")
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._outbox.append(hiredis.pack_command(command))
        self._waiting.append(_Waiting(reply, time.monotonic()))
        self._wake.set()
        return reply

    async def _write(self, connection: Connection) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                outbox, self._outbox = self._outbox, []
                await connection.send_packed_command(outbox, check_health=False)
        except (RedisError, OSError) as error:
            await self._break(str(error))

    async def _read(self, connection: Connection) -> None:
        try:
            while True:
                try:
                    reply = await connection.read_response(timeout=math.inf)
                    self._hand_out(reply, None)
                except ResponseError as error:
                    self._hand_out(None, error)
        except (RedisError, OSError, EOFError) as error:
            await self._break(str(error))

    def _hand_out(self, reply: Any, error: ResponseError | None) -> None:
        waiting = self._waiting.popleft().reply
        if waiting.done():
            return  # Its caller was cancelled.
        if error is None:
            waiting.set_result(reply)
        else:
            waiting.set_exception(error)

    async def _watch(self) -> None:
        suspect: _Waiting | None = None
        while True:
            await asyncio.sleep(WATCH_S)
            oldest = self._waiting[0] if self._waiting else None
            late = oldest and time.monotonic() - oldest.since > self._seconds_max
            # Late twice: a busy process may have had no time to read a reply that is there, and
            # between two looks the reader had its turn.
            if late and oldest is suspect:
                await self._break(f"no reply in {self._seconds_max:g} seconds")
                return
            suspect = oldest if late else None

    async def _break(self, why: str) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            if not call.reply.done():
                call.reply.set_exception(ReplyLost(why))
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        await connection.disconnect(nowait=True)


def _look(reply: "asyncio.Future[Any]") -> None:
    # A failure that nobody looked at would be logged as a fault.
    if not reply.cancelled():
        reply.exception()
