"""HTTP by hand, for requests that no client library sends."""

import contextlib
import re
import socket
from collections import Counter
from collections.abc import Iterable, Iterator

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
PATIENCE_S = 10.0


def connect(port: int) -> socket.socket:
    """Return a connection to the gateway."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def head(method: str, path: str, *lines: str) -> bytes:
    """Return the head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: gateway", *lines, "", ""]).encode()


def send_until_refused(connection: socket.socket, piece: bytes, times: int) -> int:
    """Send `piece` again and again; return how often before the gateway closed the connection."""
    for sent in range(times):
        try:
            connection.sendall(piece)
        except ConnectionError:
            return sent
    return times


def answer_to(port: int, *pieces: bytes) -> bytes:
    """Send `pieces`, and return all that comes back until the gateway closes the connection."""
    with connect(port) as connection:
        for piece in pieces:
            send_until_refused(connection, piece, 1)
        return b"".join(_until_closed(connection))


def pipeline(port: int, requests: Iterable[bytes], at_once: int = 100) -> "Counter[int]":
    """Send `requests` down one connection, `at_once` before reading; count the statuses.

    Answers must not contain a status line in their bodies.
    """
    statuses: Counter[int] = Counter()
    waiting: list[bytes] = []
    with connect(port) as connection:
        for request in requests:
            waiting.append(request)
            if len(waiting) == at_once:
                statuses += _exchange(connection, waiting)
                waiting.clear()
        if waiting:
            statuses += _exchange(connection, waiting)
    return statuses


def _exchange(connection: socket.socket, requests: list[bytes]) -> "Counter[int]":
    connection.sendall(b"".join(requests))
    received = b""
    # The last answer's body may be on its way still; its status line is not.
    while len(found := _STATUS.findall(received)) < len(requests):
        chunk = connection.recv(1024 * 1024)
        assert chunk, f"closed after {len(found)} of {len(requests)} answers"
        received += chunk
    return Counter(int(status) for status in found)


def _until_closed(connection: socket.socket) -> Iterator[bytes]:
    # Closed over bytes that nobody wanted, a connection ends in a reset.
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(64 * 1024):
            yield chunk
