"""Identical requests in flight in one process share one upstream call.

The first one leads: it relays as if it were alone, and its flight keeps a copy of what it relays,
for whoever asks the same meanwhile (followers, who read it from the beginning) and for the
response cache. A flight that grows beyond `FLIGHT_BYTES_MAX` takes no more followers and forgets
what the last of them has read; so memory is bounded by that much a flight, and by
`bytes_max` for all flights together.
"""

import asyncio
import time
from collections.abc import Callable

from proxy.core.errors import GatewayError
from proxy.core.headers import Headers
from proxy.upstream import UpstreamBroken

# As much as an entry of the response cache can hold.
FLIGHT_BYTES_MAX = 1024 * 1024
# A leader whose client has not read for so long is not waited for by newcomers.
STALLED_S = 0.5


class LeaderFailed(Exception):
    """The leader got no answer to share; `error` is what it got instead, if anything."""

    def __init__(self, error: GatewayError | None) -> None:
        super().__init__(str(error))
        self.error = error


class Flights:
    """The flights of this process by name. `bytes_max` bounds what they keep altogether."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes_kept = 0
        self._by_name: dict[str, Flight] = {}

    def join(self, name: str) -> "Follower | None":
        """Return a follower of the flight of that name, `None` if there is none to join."""
        flight = self._by_name.get(name)
        if flight is None or flight.cut or flight.stalled:
            return None
        return Follower(flight)

    def lead(self, name: str, request_id: str) -> "Flight":
        """Return a new flight under that name, led by the call with that request id."""
        flight = self._by_name[name] = Flight(self, name, request_id)
        return flight

    def land(self, flight: "Flight") -> None:
        """Let nobody join the flight any more."""
        if self._by_name.get(flight.name) is flight:
            del self._by_name[flight.name]


class Flight:
    """One upstream answer as its leader gets it.

    `cut` says that its beginning is no longer here, so nobody can join and nothing can be stored;
    `stored` that it is on its way into the response cache and lands when it is there.
    `on_deserted` is called when the last follower leaves. `writing_since` is set while the leader
    writes to its own client.
    """

    __slots__ = (
        "_changed",
        "_flights",
        "_followers",
        "_forgotten",
        "_pieces",
        "_size",
        "broken",
        "cut",
        "ended",
        "failure",
        "headers",
        "length",
        "name",
        "on_deserted",
        "request_id",
        "status",
        "stored",
        "writing_since",
    )

    def __init__(self, flights: Flights, name: str, request_id: str) -> None:
        self._flights = flights
        self.name = name
        self.request_id = request_id
        self.status = 0
        self.writing_since = 0.0
        self.headers: Headers = []
        self.length: int | None = None
        self.cut = False
        self.ended = False
        self.broken = False
        self.stored = False
        self.failure: GatewayError | None = None
        self.on_deserted: Callable[[], None] | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._forgotten = 0
        self._followers: set[Follower] = set()
        self._changed: asyncio.Event | None = None

    @property
    def followed(self) -> bool:
        """Whether anybody follows."""
        return bool(self._followers)

    @property
    def stalled(self) -> bool:
        """Whether the leader waits for a client that does not read."""
        return bool(self.writing_since) and time.monotonic() - self.writing_since > STALLED_S

    @property
    def body(self) -> bytes:
        """Everything so far. Nothing once the flight is cut."""
        return b"" if self.cut else b"".join(self._pieces)

    def begin(self, status: int, headers: Headers, length: int | None) -> None:
        """Upstream answered."""
        self.status, self.headers, self.length = status, headers, length
        self._tell()

    def feed(self, piece: bytes) -> None:
        """Keep what came next."""
        if self.cut and not self._followers:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        self._flights.bytes_kept += len(piece)
        full = self._flights.bytes_kept > self._flights.bytes_max
        if self.cut or full or self._size > FLIGHT_BYTES_MAX:
            self.cut = True
            self._forget()
        self._tell()

    def end(self, *, broken: bool) -> None:
        """No more comes: the answer is whole, or upstream broke it off."""
        if not self.ended:
            self.ended, self.broken = True, broken
            self._tell()

    def fail(self, error: GatewayError | None) -> None:
        """The leader is gone. Harmless if the answer had ended."""
        self.failure = error
        self.end(broken=True)

    def land(self) -> None:
        """Let nobody join any more; what was kept goes when the last follower has left."""
        self._flights.land(self)
        self.on_deserted = None
        self.cut = True
        self._forget()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.Event()
        await self._changed.wait()

    def _forget(self) -> None:
        """Drop what every follower has read, and followers that are too far behind."""
        for follower in list(self._followers):
            if self._size - follower.size > FLIGHT_BYTES_MAX:
                follower.behind = True
                self._followers.discard(follower)
        everything = self._forgotten + len(self._pieces)
        read = min((follower.position for follower in self._followers), default=everything)
        gone = self._pieces[: read - self._forgotten]
        if gone:
            self._flights.bytes_kept -= sum(map(len, gone))
            del self._pieces[: len(gone)]
            self._forgotten = read


class Follower:
    """A reader of somebody else's flight, with the face of `proxy.upstream.Answer`."""

    __slots__ = ("_flight", "behind", "position", "size")

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self.position = 0
        self.size = 0
        self.behind = False
        flight._followers.add(self)

    async def begun(self) -> None:
        """Wait until the answer has begun. Raises `LeaderFailed`."""
        flight = self._flight
        while not flight.status:
            if flight.ended:
                raise LeaderFailed(flight.failure)
            await flight._change()

    @property
    def request_id(self) -> str:
        """The request id of the leader's call."""
        return self._flight.request_id

    @property
    def status(self) -> int:
        """Upstream's status."""
        return self._flight.status

    @property
    def headers(self) -> Headers:
        """Upstream's headers."""
        return self._flight.headers

    @property
    def length(self) -> int | None:
        """Bytes of the body as told beforehand, `None` if they were not."""
        return self._flight.length

    def header(self, name: bytes) -> bytes:
        """Return the value of a header, empty if it is not there."""
        return next((value for found, value in self.headers if found == name), b"")

    async def piece(self) -> bytes:
        """Return what came next, empty at the end. Raises `UpstreamBroken`."""
        flight = self._flight
        while True:
            if self.behind:
                raise UpstreamBroken("this client read too slowly to share the answer")
            kept = flight._pieces
            start = self.position - flight._forgotten
            if start < len(kept):
                piece = kept[start] if start + 1 == len(kept) else b"".join(kept[start:])
                self.position += len(kept) - start
                self.size += len(piece)
                if flight.cut:
                    flight._forget()
                return piece
            if flight.ended:
                if flight.broken:
                    raise UpstreamBroken("the upstream broke off")
                return b""
            await flight._change()

    def finish(self) -> None:
        """Leave the flight."""
        flight = self._flight
        flight._followers.discard(self)
        if flight.cut:
            flight._forget()
        if not flight._followers and flight.on_deserted is not None:
            flight.on_deserted()
