"""`python -m bench.upstream`: an upstream that answers at once, with what `recorded.py` recorded.

A request names its answer in a header. It costs a fraction of what it helps to measure.
"""

import asyncio
import gc

import uvloop

from bench.recorded import ANSWER_HEADER, Answer, record

_ASKED = b"\r\n" + ANSWER_HEADER.encode() + b": "
_LENGTH = b"\r\ncontent-length: "


class Upstream(asyncio.Protocol):
    """One connection: a request is read to its end, then its answer is played."""

    def __init__(self, answers: dict[bytes, Answer]) -> None:
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._head = b""
        self._left = 0
        self._reading_body = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._reading_body:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            data, self._head = self._head[end + 4 :], self._head[:end]
            self._left = int(_field(self._head.lower(), _LENGTH) or 0)
            self._reading_body = True
        self._left -= len(data)
        if self._left <= 0:
            name = _field(self._head.lower(), _ASKED)
            self._head, self._reading_body = b"", False
            self._play(self._answers[name], 0)

    def _play(self, answer: Answer, piece: int) -> None:
        self._transport.write(answer.pieces[piece])
        if piece + 1 < len(answer.pieces):
            self._timer = self._loop.call_later(answer.gap_s, self._play, answer, piece + 1)


def _field(head: bytes, mark: bytes) -> bytes:
    found = head.find(mark)
    if found < 0:
        return b""
    end = head.find(b"\r\n", found + 2)
    return head[found + len(mark) : end if end > 0 else None].strip()


async def main() -> None:
    """Serve on a free port until killed, and say which."""
    answers = await record()
    gc.freeze()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(answers), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
