"""Many clients at once, in a thread of their own: each asks, listens and notes what it saw.

Knows the gateways' addresses and nothing else of the installation. A client never repeats a
request: each has a marker of its own, sent as its user agent.
"""

import asyncio
import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.chaos.journal import Request
from tests.chaos.mix import FILLING, QUICK, SLOW, Kind, question

QUICK_CLIENTS = 8
FILLING_CLIENTS = 6
# Between two requests of a client that was answered at once; so a second sees some tens of them.
THINKING_S = (0.1, 0.6)
FILLING_S = (0.0, 0.02)
# After a refusal or a broken connection.
TROUBLED_S = (0.1, 0.4)
LAST_ANSWERS_S = 60.0


@dataclass(frozen=True, slots=True)
class Developer:
    """A key and the secret that opens it."""

    apikey_id: int
    secret: str


@dataclass(slots=True)
class Crowd:
    """Clients of all `urls`. `journal`, if it is kept, has a request from the moment it is sent."""

    urls: Sequence[str]
    developers: Sequence[Developer]
    streams: int
    seed: int
    patience_s: float
    name: str = "chaos"
    quick_clients: int = QUICK_CLIENTS
    keeps_journal: bool = True
    slow_kinds: tuple[Kind, ...] = SLOW
    journal: list[Request] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    answered: Counter[str] = field(default_factory=Counter)
    filling: bool = False
    _stopping: bool = False
    _thread: threading.Thread | None = None
    _failure: BaseException | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._thread = threading.Thread(target=self._run, name="crowd", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask nothing more, and wait until what was asked has ended."""
        self._stopping = True
        assert self._thread is not None
        self._thread.join(LAST_ANSWERS_S + self.patience_s)
        assert not self._thread.is_alive(), f"{len(self.open)} clients still wait for an answer"
        if self._failure is not None:
            raise self._failure

    def open_at(self, gateway: int) -> int:
        """Return how many requests a gateway has open."""
        return sum(1 for marker in list(self.open) if marker.rsplit("/", 1)[1] == str(gateway))

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:  # Raised again where the crowd is stopped.
            self._failure = error

    async def _all(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=self.patience_s)
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            for number in range(self.streams):
                group.create_task(self._client(session, number, self.slow_kinds, (0.0, 0.05)))
            for number in range(self.streams, self.streams + self.quick_clients):
                group.create_task(self._client(session, number, QUICK, THINKING_S))
            for number in range(1000, 1000 + FILLING_CLIENTS):
                group.create_task(
                    self._client(session, number, FILLING, FILLING_S, lambda: self.filling)
                )

    async def _client(
        self,
        session: aiohttp.ClientSession,
        number: int,
        kinds: tuple[Kind, ...],
        pause_s: tuple[float, float],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        dice = random.Random(f"{self.seed} {number}")
        developer = self.developers[number % len(self.developers)]
        await asyncio.sleep(dice.uniform(0, 2))  # So that they do not march in step.
        count = 0
        while not self._stopping:
            if not wanted():
                await asyncio.sleep(0.05)
                continue
            count += 1
            gateway = dice.randrange(len(self.urls))
            marker = f"{self.name}/{number}/{count}/{gateway}"
            asked = question(kinds, dice)
            request = Request(marker, asked.kind, gateway, developer.apikey_id, time.time())
            self.open.add(marker)
            try:
                await self._ask(session, developer, request, asked.body, asked.leave_after_s)
            finally:
                request.ended_at = time.time()
                self.answered[request.seen] += 1
                self.open.discard(marker)
            troubled = request.status not in (0, 200) or (request.trouble and not request.status)
            await asyncio.sleep(dice.uniform(*(TROUBLED_S if troubled else pause_s)))

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        developer: Developer,
        request: Request,
        body: bytes,
        leave_after_s: float | None,
    ) -> None:
        if self.keeps_journal:
            self.journal.append(request)
        answer = Answer(request)
        try:
            async with asyncio.timeout(leave_after_s):
                async with session.post(
                    f"{self.urls[request.gateway]}/v1/messages",
                    data=body,
                    headers={
                        "x-api-key": developer.secret,
                        "user-agent": request.marker,
                        "content-type": "application/json",
                        "anthropic-version": "2023-06-01",
                    },
                ) as response:
                    answer.begin(response)
                    async for chunk in response.content.iter_any():
                        answer.feed(chunk)
        except TimeoutError:
            # Of ours, the clients' own patience included.
            request.left = leave_after_s is not None
            request.trouble = "" if request.left else "no answer in time"
        except aiohttp.ClientConnectorError:
            # Nobody listens: certain not to have been received.
            request.trouble = "refused"
        except aiohttp.ClientError as error:
            request.trouble = type(error).__name__
        answer.end()


class Answer:
    """Reads one answer into its request."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._data = bytearray()
        self._streamed = False

    def begin(self, response: aiohttp.ClientResponse) -> None:
        """Note what the headers say."""
        self._request.status = response.status
        self._request.exchange_id = response.headers.get("request-id", "").removeprefix("req_")
        self._streamed = response.content_type == "text/event-stream"

    def feed(self, chunk: bytes) -> None:
        """Keep a piece of the body."""
        self._data += chunk

    def end(self) -> None:
        """Note what the body says, however much of it came."""
        if self._request.status != 200:
            if self._request.status:
                self._request.trouble = bytes(self._data[:300]).decode(errors="replace")
        elif self._streamed:
            self._read_stream()
        else:
            with contextlib.suppress(ValueError):
                self._request.usage = json.loads(self._data)["usage"]
                self._request.whole = True

    def _read_stream(self) -> None:
        usage = None
        for frame in bytes(self._data).split(b"\n\n")[:-1]:
            name, _, data = frame.partition(b"\ndata: ")
            if name == b"event: message_start":
                usage = json.loads(data)["message"]["usage"]
            elif name == b"event: message_delta":
                usage = (usage or {}) | json.loads(data)["usage"]
            elif name == b"event: message_stop":
                self._request.whole = True
            elif name == b"event: error":
                self._request.trouble = json.loads(data)["error"]["type"]
        self._request.usage = usage
