"""The answers that the benchmark's upstream plays: recorded from the simulator, byte for byte.

The simulator itself costs as much as the gateway for each exchange, and would be what is measured.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from simulator.app import create_app
from simulator.options import Options

ANSWER_HEADER = "x-bench-answer"
# Six events of a stream carry no text: message_start, ping, two of the block, delta, stop.
FRAMING_EVENTS = 6
GAP_S = 0.004
# An answer that is read while somebody thinks: held open, it says a word now and then.
SLOW_GAP_S = 5.0
WHOLE_TOKENS = 150


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to play: its pieces are written `gap_s` apart; an unfinished one just stops."""

    pieces: tuple[bytes, ...]
    gap_s: float = 0.0


async def record() -> dict[bytes, Answer]:
    """Return every answer by the name that a request asks for it with."""
    whole_headers, whole = await _ask(WHOLE_TOKENS, streamed=False)
    answers = {"whole": Answer((_head(whole_headers) + whole,))}
    for events in (50, 500):
        headers, content = await _ask(events - FRAMING_EVENTS, streamed=True)
        head = _head([*headers, (b"transfer-encoding", b"chunked")])
        chunks = [_chunk(frame) for frame in _frames(content)]
        assert len(chunks) == events
        answers[f"burst-{events}"] = Answer((head + b"".join(chunks) + _chunk(b""),))
        answers[f"paced-{events}"] = Answer(
            (head + chunks[0], *chunks[1:-1], chunks[-1] + _chunk(b"")), GAP_S
        )
    answers["stalled"] = Answer((answers["paced-50"].pieces[0],))
    answers["slow"] = Answer(answers["paced-50"].pieces, SLOW_GAP_S)
    return {name.encode(): answer for name, answer in answers.items()}


async def _ask(tokens: int, *, streamed: bool) -> tuple[list[tuple[bytes, bytes]], bytes]:
    prompt = f"[[sim:tokens={tokens}]] How is the weather on the moon?"
    message = {"role": "user", "content": prompt}
    asked = {"model": "claude-haiku-4-5", "max_tokens": 4096, "stream": streamed}
    body = orjson.dumps(asked | {"messages": [message]})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    headers = [(b"x-api-key", b"bench"), (b"anthropic-version", b"2023-06-01")]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b""}
    await create_app(Options(seed=1))(scope | {"headers": headers}, receive, send)
    start, *pieces = sent
    assert start["status"] == 200
    return list(start["headers"]), b"".join(piece["body"] for piece in pieces)


def _head(headers: list[tuple[bytes, bytes]]) -> bytes:
    lines = [b"HTTP/1.1 200 OK", *(name + b": " + value for name, value in headers)]
    return b"\r\n".join([*lines, b"", b""])


def _frames(content: bytes) -> list[bytes]:
    return [frame + b"\n\n" for frame in content.split(b"\n\n") if frame]


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
