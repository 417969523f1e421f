"""Server-sent events: bytes in, whole events out, as bytes.

`feed()` takes whatever the socket gave us. Chunk boundaries mean nothing here, not even inside a
UTF-8 character or between CR and LF. What it returns are the same bytes in the same order, held
back only until their event is whole: so whatever the relay has sent ends at a boundary, where a
ping or an error may be put in, and a broken-off event never reaches the client.
"""

# Only a fetched document comes near this. The rest of such an event passes as it comes.
FRAME_BYTES_MAX = 1024 * 1024

PING = b'event: ping\ndata: {"type": "ping"}\n\n'


_MARKS = (b"\n\n", b"\r\n\r\n")
# A mark can be cut anywhere: so much of it may have come already.
_MARK_BYTES = max(map(len, _MARKS)) - 1


class Framer:
    """Holds back the unfinished end of a stream of events.

    `framed` is false inside an event larger than `FRAME_BYTES_MAX`: what was sent then does not
    end at a boundary.
    """

    __slots__ = ("_rest", "_tail", "framed")

    def __init__(self) -> None:
        self._rest = b""
        self._tail = b""
        self.framed = True

    @property
    def rest(self) -> bytes:
        """What was held back: the beginning of an event that has not ended."""
        return self._rest

    def feed(self, chunk: bytes) -> bytes:
        """Return all whole events that are known now, as they came; and of a too large one,
        whatever came.
        """
        if not self.framed:
            return self._pass(chunk)
        if not self._rest and chunk.endswith(b"\n\n"):
            return chunk
        data = self._rest + chunk
        end = max(_after(data, mark) for mark in _MARKS)
        self._rest = data[end:]
        if len(self._rest) > FRAME_BYTES_MAX:
            self.framed, self._rest, self._tail = False, b"", data[-_MARK_BYTES:]
            return data
        return data[:end]

    def _pass(self, chunk: bytes) -> bytes:
        data = self._tail + chunk
        end = _first_after(data)
        if not end:
            self._tail = data[-_MARK_BYTES:]
            return chunk
        self.framed = True
        mine = end - len(self._tail)
        return chunk[:mine] + self.feed(chunk[mine:])


def frames(events: bytes) -> list[bytes]:
    """Cut whole events at their blank lines."""
    if b"\r" in events:
        # JSON escapes its carriage returns, so a bare one can only be part of a line's end.
        events = events.replace(b"\r", b"")
    return [frame for frame in events.split(b"\n\n") if frame]


def parse(frame: bytes) -> tuple[bytes, bytes]:
    """Return the name and the data of a frame; `message` and empty where it has none."""
    name, data = b"message", []
    for line in frame.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value
        elif field == b"data":
            data.append(value)
    return name, b"\n".join(data)


def _after(data: bytes, mark: bytes) -> int:
    found = data.rfind(mark)
    return 0 if found < 0 else found + len(mark)


def _first_after(data: bytes) -> int:
    return min((data.find(mark) + len(mark) for mark in _MARKS if mark in data), default=0)
