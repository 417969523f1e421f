"""Just enough HTTP/1.1 for a load: requests as bytes, and where an answer ends. Pure.

It is built to be cheap, since it runs on the core that everything but the gateway shares.
"""

_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


def head(path: str, headers: dict[str, str], length: int) -> bytes:
    """Return the head of a POST with a body of `length` bytes."""
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {length}", "", ""]).encode()


class AnswerReader:
    """Finds the end of one answer. `status` is there once the head is; `seen` keeps its start.

    The end of a chunked answer is told by its last bytes: no event and no JSON text can hold
    them, since both escape carriage returns.
    """

    __slots__ = ("_chunked", "_left", "_tail", "seen", "status")

    def __init__(self) -> None:
        self.status = 0
        self.seen = b""
        self._chunked = False
        self._left = 0
        self._tail = b""

    def feed(self, data: bytes) -> bool:
        """Take what the socket gave; return whether the answer is whole."""
        if not self.status:
            self.seen += data
            data = self._read_head()
            if not self.status:
                return False
        if self._chunked:
            self._tail = (self._tail + data[-len(_LAST_CHUNK) :])[-len(_LAST_CHUNK) :]
            return self._tail == _LAST_CHUNK
        self._left -= len(data)
        return self._left <= 0

    def _read_head(self) -> bytes:
        end = self.seen.find(_HEAD_END)
        if end < 0:
            return b""
        lines = self.seen[:end].lower().split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
        self._chunked = fields.get(b"transfer-encoding") == b"chunked"
        self._left = int(fields.get(b"content-length", b"0"))
        self.status = int(lines[0].split(b" ")[1])
        return self.seen[end + len(_HEAD_END) :]
