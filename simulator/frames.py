"""An answer as bytes: one JSON message, or the frames of its event stream. Knows no pace.

A frame is one server-sent event, with the output tokens generated once it is sent.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from simulator.answer import Answer, Part
from simulator.errors import MESSAGES

Frame = tuple[bytes, int]

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def message_json(answer: Answer) -> bytes:
    """Return the answer as one message."""
    usage = answer.usage.at_end(answer.output_tokens, answer.thinking_tokens)
    message = _message(answer, [part.complete for part in answer.parts], usage)
    message["stop_reason"] = answer.stop_reason
    message["stop_sequence"] = answer.stop_sequence
    if answer.stop_details:
        message["stop_details"] = answer.stop_details
    return orjson.dumps(message)


def frames(answer: Answer, *, tokens_per_event: int, message_deltas: int) -> Iterator[Frame]:
    """Yield the event stream of the answer, lazily: long answers are never whole in memory."""
    # As upstream, which has generated a token by then and may take it back in a refusal.
    start = _message(answer, [], answer.usage.at_start(1))
    yield _event("message_start", {"message": start}), 0
    yield PING, 0
    tokens = 0
    for index, part in enumerate(answer.parts):
        yield from _block(index, part, tokens, tokens_per_event)
        tokens += part.tokens
    for number in range(1, message_deltas):
        yield _message_delta(answer, tokens * number // message_deltas, last=False), tokens
    yield _message_delta(answer, tokens, last=True), tokens
    yield STOP, tokens


def error_frame(kind: str, message: str) -> bytes:
    """Return the event that ends a stream which failed."""
    error = {"type": kind, "message": message or MESSAGES.get(kind, "Error")}
    return _event("error", {"error": error})


def _block(index: int, part: Part, tokens: int, tokens_per_event: int) -> Iterator[Frame]:
    tokens += part.opening_tokens
    yield _event("content_block_start", {"index": index, "content_block": part.opening}), tokens
    head = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":{"type":"%b","%b":' % (index, part.kind.encode(), part.field.encode())
    )
    dumps = orjson.dumps
    words = part.pieces
    if tokens_per_event == 1:
        for word in words:
            tokens += 1
            yield head + dumps(word) + b"}}\n\n", tokens
    else:
        for first in range(0, len(words), tokens_per_event):
            group = words[first : first + tokens_per_event]
            tokens += len(group)
            yield head + dumps("".join(group)) + b"}}\n\n", tokens
    if part.signature:
        tokens += part.hidden_tokens
        delta = {"type": "signature_delta", "signature": part.signature}
        yield _event("content_block_delta", {"index": index, "delta": delta}), tokens
    yield _event("content_block_stop", {"index": index}), tokens


def _message_delta(answer: Answer, tokens: int, *, last: bool) -> bytes:
    delta: dict[str, Any] = {"stop_reason": None, "stop_sequence": None}
    if last:
        delta = {"stop_reason": answer.stop_reason, "stop_sequence": answer.stop_sequence}
        if answer.stop_details:
            delta["stop_details"] = answer.stop_details
    usage = answer.usage.in_delta(tokens, min(tokens, answer.thinking_tokens))
    return _event("message_delta", {"delta": delta, "usage": usage})


def _message(answer: Answer, content: list[Any], usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": answer.message_id,
        "type": "message",
        "role": "assistant",
        "model": answer.model_id,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _event(name: str, fields: dict[str, Any]) -> bytes:
    data = orjson.dumps({"type": name, **fields})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
