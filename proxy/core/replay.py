"""Which answers may be kept, and how a kept one is given again, as events or as a message.

Either form is made from either. An answer is kept only if that loses nothing: it ended of itself,
and holds nothing but text and thinking, the shapes of which are known. Tool calls are never kept:
they act on a world that has moved on.

    message_start        the message, still empty, and what went in
    content_block_start  a block, still empty            \\
    content_block_delta  a piece of it, any number        } once for each block, in order
    content_block_stop                                   /
    message_delta        why it ended and what it used, in totals; may come again
    message_stop

`ping` may come anywhere; it is not kept. Counts in `message_delta` replace those before.
"""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from proxy.core.meter import STOP_REASONS

# Which deltas a block of a type is told in, and into which of its fields each goes.
_DELTAS = {
    "text": {"text_delta": "text", "citations_delta": "citations"},
    "thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
    "redacted_thinking": {},
}
# What a delta of a type carries.
_CARRIED = {
    "text_delta": "text",
    "citations_delta": "citation",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
}
# What of a message is known only at its end, and where its last event but one says it.
_IN_DELTA = ("stop_reason", "stop_sequence", "stop_details", "container")
_BESIDE_DELTA = ("context_management",)
# What of the usage is told again at the end; the rest stays as the beginning said it.
_TOLD_AT_END = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
)
# What the beginning cannot know yet.
_ONLY_AT_END = ("output_tokens_details", "server_tool_use", "iterations")
# A few words, as upstream sends them. A text that would be more than so many comes in larger ones.
PIECE_CHARACTERS = 24
PIECES_MAX = 400
# A piece goes on to the end of its word, but what is that long is no word.
WORD_CHARACTERS_MAX = 40

# An event as upstream writes them. In JSON every line break is escaped.
_EVENT = re.compile(rb"event: ?(\w+)\ndata: ?(.*)\n\n")

Json = dict[str, Any]


class _Unfit(ValueError):
    """This answer cannot be given again faithfully."""


# What reading an answer of another shape raises.
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


def storable(body: bytes, streamed: bool) -> bool:
    """Return whether the body of a 200 is a whole answer that can be given again in both forms."""
    try:
        _message(body, streamed)
    except _UNREADABLE:
        return False
    return True


def replayed(body: bytes, *, streamed: bool, as_events: bool) -> bytes | None:
    """Return a kept answer in the form that is asked for, `None` if it has none of that form.

    A stream is kept for what its meter saw go by, so its last look comes when it changes form.
    """
    if streamed and not as_events and not storable(body, streamed):
        return None
    try:
        return as_stream(body, streamed) if as_events else as_message(body, streamed)
    except _UNREADABLE:
        return None


def as_message(body: bytes, streamed: bool) -> bytes:
    """Return a storable answer as one JSON object; the same bytes if it was one."""
    return orjson.dumps(_assembled(body)) if streamed else body


def as_stream(body: bytes, streamed: bool) -> bytes:
    """Return a storable answer as events; the same bytes, less pings, if it was streamed."""
    if not streamed:
        return b"".join(_frame(event) for event in _events(orjson.loads(body)))
    first, *others = body.split(b"event: ping\n")
    return first + b"".join(other.partition(b"\n\n")[2] for other in others) if others else body


def _message(body: bytes, streamed: bool) -> Json:
    message: Json = _assembled(body) if streamed else orjson.loads(body)
    _check(message["type"] == "message" and message["role"] == "assistant")
    _check(message["stop_reason"] in STOP_REASONS and "error" not in message)
    _check(_is_count(message["usage"]["output_tokens"]))
    _check(isinstance(message["content"], list))
    for block in message["content"]:
        _check_block(block)
    return message


def _check_block(block: Json) -> None:
    fields = _DELTAS[block["type"]].values()
    for name in fields:
        if name == "citations":
            _check(all(isinstance(one, dict) for one in block.get(name) or []))
        elif name in block or name == block["type"]:
            _check(isinstance(block[name], str))


# --- events to message --------------------------------------------------------------------------


def _assembled(body: bytes) -> Json:
    """Put a stream together. Raises `_Unfit` and others for whatever is not as drawn above."""
    events = iter(_read(body))
    message: Json = _expect(next(events, {}), "message_start")["message"]
    _check(message["content"] == [] and isinstance(message["usage"], dict))
    event = next(events, {})
    while event.get("type") == "content_block_start":
        _check(event["index"] == len(message["content"]))
        message["content"].append(_block(event, events))
        event = next(events, {})
    while event.get("type") == "message_delta":
        _overlay(message, event)
        event = next(events, {})
    _expect(event, "message_stop")
    _check(next(events, None) is None)
    return message


def _read(body: bytes) -> list[Json]:
    """Parse all events but pings, in one go: there can be many thousands."""
    body = body.replace(b"\r", b"")
    pairs = _EVENT.findall(body)
    _check(body.endswith(b"\n\n") and body.count(b"\n\n") == len(pairs))
    told = [(name, data) for name, data in pairs if name != b"ping"]
    events: list[Json] = orjson.loads(b"[%b]" % b",".join(data for _name, data in told))
    _check([event["type"].encode() for event in events] == [name for name, _data in told])
    return events


def _block(start: Json, events: Iterable[Json]) -> Json:
    block: Json = start["content_block"]
    told_in = _DELTAS[block["type"]]
    pieces: dict[str, list[Any]] = {}
    for event in events:
        _check(event["index"] == start["index"])
        if event["type"] == "content_block_stop":
            break
        delta = _expect(event, "content_block_delta")["delta"]
        carried = delta[_CARRIED[delta["type"]]]
        pieces.setdefault(told_in[delta["type"]], []).append(carried)
    for name, parts in pieces.items():
        before = block.get(name)
        block[name] = [*(before or []), *parts] if name == "citations" else _joined(before, parts)
    return block


def _joined(before: str | None, parts: list[str]) -> str:
    return (before or "") + "".join(parts)


def _overlay(message: Json, event: Json) -> None:
    message.update(event["delta"])
    beside = {name: event[name] for name in event if name not in ("type", "delta", "usage")}
    message.update(beside)
    message["usage"].update(
        (name, count) for name, count in event["usage"].items() if count is not None
    )


# --- message to events --------------------------------------------------------------------------


def _events(message: Json) -> Iterable[Json]:
    usage = message["usage"]
    yield {"type": "message_start", "message": _begun(message)}
    for index, block in enumerate(message["content"]):
        empty, deltas = _cut(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {name: message[name] for name in _IN_DELTA if name in message},
        "usage": {name: usage[name] for name in _TOLD_AT_END if usage.get(name) is not None},
    } | {name: message[name] for name in _BESIDE_DELTA if name in message}
    yield {"type": "message_stop"}


def _begun(message: Json) -> Json:
    """Return the message as it was before there was any of it."""
    usage = message["usage"]
    known = {n: v for n, v in usage.items() if v is None or n not in _ONLY_AT_END}
    return (
        message
        | {name: None for name in _IN_DELTA if name in message}
        | {"content": [], "usage": known | {"output_tokens": min(1, usage["output_tokens"])}}
    )


def _cut(block: Json) -> tuple[Json, list[Json]]:
    """Return the block still empty, and the deltas that fill it."""
    empty, deltas = block.copy(), []
    for kind, name in _DELTAS[block["type"]].items():
        value = block.get(name)
        if value:
            empty[name] = type(value)()
            parts = [value] if kind == "signature_delta" else _pieces(value)
            deltas += [{"type": kind, _CARRIED[kind]: part} for part in parts]
    return empty, deltas


def _pieces(value: str | list[Json]) -> list[Any]:
    if isinstance(value, list):
        return value
    least = PIECE_CHARACTERS
    while len(value) > least * PIECES_MAX:
        least *= 2
    pattern = rf".{{{least}}}\S{{0,{WORD_CHARACTERS_MAX}}}|.+"
    return re.findall(pattern, value, re.DOTALL)


def _frame(event: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))


# --- what is expected of an answer --------------------------------------------------------------


def _check(holds: bool) -> None:
    if not holds:
        raise _Unfit


def _expect(event: Json, kind: str) -> Json:
    _check(event.get("type") == kind)
    return event


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
