"""Server-sent events: bytes in, whole events out, as bytes.

`feed()` takes whatever the socket gave us. Chunk boundaries mean nothing here, not even inside a
UTF-8 character or between CR and LF. What it returns are the same bytes in the same order, held
back only until their event is whole: so whatever the relay has sent ends at a boundary, where a
ping or an error may be put in, and a broken-off event never reaches the client.
"""

import re

# Only a fetched document comes near this. The rest of such an event passes as it comes.
FRAME_BYTES_MAX = 1024 * 1024

PING = b'event: ping\ndata: {"type": "ping"}\n\n'

# A blank line ends an event. Lines end with LF, CRLF or CR, also mixed (WHATWG HTML, 9.2.5).
_BLANK_LINE = re.compile(rb"\n\n|\n\r\n|\r\r|\n\r(?=[^\n])")
# It can be cut anywhere: so much of it may have come already.
_BLANK_LINE_BYTES = 3


class Framer:
    """Holds back the unfinished end of a stream of events.

    `framed` is false inside an event larger than `FRAME_BYTES_MAX`: what was sent then does not
    end at a boundary.
    """

    __slots__ = ("_rest", "_tail", "framed")

    def __init__(self) -> None:
        # Grows in place: an event may come in a million pieces.
        self._rest = bytearray()
        self._tail = b""
        self.framed = True

    @property
    def rest(self) -> bytes:
        """What was held back: the beginning of an event that has not ended."""
        return bytes(self._rest)

    def feed(self, chunk: bytes) -> bytes:
        """Return all whole events that are known now, as they came; and of a too large one,
        whatever came.
        """
        if not self.framed:
            return self._pass(chunk)
        if not self._rest and chunk.endswith(b"\n\n"):
            return chunk
        rest = self._rest
        known = rest[-_BLANK_LINE_BYTES:]
        end = _last_after(bytes(known) + chunk)
        whole = len(rest) - len(known) + end if end else 0
        rest += chunk
        if len(rest) - whole > FRAME_BYTES_MAX:
            self.framed, self._tail = False, bytes(rest[-_BLANK_LINE_BYTES:])
            whole = len(rest)
        events = bytes(rest[:whole])
        del rest[:whole]
        return events

    def _pass(self, chunk: bytes) -> bytes:
        data = self._tail + chunk
        end = _first_after(data)
        if not end:
            self._tail = data[-_BLANK_LINE_BYTES:]
            return chunk
        self.framed = True
        mine = end - len(self._tail)
        return chunk[:mine] + self.feed(chunk[mine:])


def frames(events: bytes) -> list[bytes]:
    """Cut whole events at their blank lines."""
    if b"\r" in events:
        events = events.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
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


def _last_after(data: bytes) -> int:
    if b"\r" not in data:
        found = data.rfind(b"\n\n")
        return 0 if found < 0 else found + 2
    end = 0
    for found_line in _BLANK_LINE.finditer(data):
        end = found_line.end()
    return end


def _first_after(data: bytes) -> int:
    found = _BLANK_LINE.search(data)
    return 0 if found is None else found.end()
