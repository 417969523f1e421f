"""An upstream that answers with the bytes it was given: for answers no real one would send.

Reads a request, plays its script, closes the connection. Knows no gateway.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
WRITE_BYTES = 64 * 1024


class ScriptedUpstream:
    """Serves one connection at a time. Set `script` before the request it answers.

    A script is bytes to send and seconds to pause; an empty one closes without a word.
    `sent_bytes` is how much of the last script the gateway's side has taken.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.script: Sequence[bytes | float] = ()
        self.sent_bytes = 0

    def __enter__(self) -> "ScriptedUpstream":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more; may be called again."""
        if self._thread.is_alive():
            # Closing alone would leave the thread in accept().
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                _read_request(connection)
                self._play(connection)

    def _play(self, connection: socket.socket) -> None:
        self.sent_bytes = 0
        for step in self.script:
            if isinstance(step, float):
                time.sleep(step)
                continue
            for start in range(0, len(step), WRITE_BYTES):
                written = step[start : start + WRITE_BYTES]
                connection.sendall(written)
                self.sent_bytes += len(written)


def sized(body: bytes) -> bytes:
    """Return a body with its length."""
    return b"content-length: %d\r\n\r\n%b" % (len(body), body)


def chunked(*chunks: bytes) -> bytes:
    """Return a body in chunks, with its end."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"transfer-encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def _read_request(connection: socket.socket) -> None:
    with connection.makefile("rb") as stream:
        length = 0
        while line := stream.readline().strip():
            name, _, value = line.lower().partition(b":")
            if name == b"content-length":
                length = int(value)
        stream.read(length)
