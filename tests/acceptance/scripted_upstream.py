"""An upstream that answers with the bytes it was given: for answers no real one would send.

Reads a request, writes its script, closes the connection. Knows no gateway.
"""

import socket
import threading
from types import TracebackType

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


class ScriptedUpstream:
    """Serves one connection at a time. Set `script` before the request it answers.

    With no script it closes the connection without a word.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.script = b""

    def __enter__(self) -> "ScriptedUpstream":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closing alone would leave the thread in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            with connection:
                _read_request(connection)
                connection.sendall(self.script)


def _read_request(connection: socket.socket) -> None:
    with connection.makefile("rb") as stream:
        length = 0
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.lower().partition(b":")
            if name == b"content-length":
                length = int(value)
        stream.read(length)


def chunked(*chunks: bytes) -> bytes:
    """Return a body in chunks, with its end."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"transfer-encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def sized(body: bytes) -> bytes:
    """Return a body with its length."""
    return b"content-length: %d\r\n\r\n%b" % (len(body), body)
