"""Makes one answer of several: the rounds between Claude and the web tools, merged as they stream.

Every round is a stream of upstream's events. What the client gets is one such stream:

    message_start        the first round's; those of later rounds are left out
    content_block_*      of every round, numbered on; less the calls of our tools, which the client
                         never asked for. Text that goes on in the next round stays one block, with
                         a paragraph between: many clients read the first block alone
    ping                 as it comes
    message_delta        once, at the end: why the last round ended, and what all of them used
    message_stop         once

A round whose last word is `tool_use` is followed by another, which gets this one's content back as
it was, thinking and its signatures included, and the results of the calls.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.sse import frames, parse

# What one round may say: far more than any model writes, and a bound for what we keep of it.
ROUND_BYTES_MAX = 4 * 1024 * 1024
# Counts that add up over rounds. Others are told as the last round said them.
_ADDED = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)
# Between what Claude says in one round and in the next.
PARAGRAPH = "\n\n"
# Where the pieces of a block go. A call's input comes as the text of a JSON object.
_CARRIED = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
}

Json = dict[str, Any]


class BadRound(ValueError):
    """Upstream's events are not an answer: nothing can follow."""


@dataclass(frozen=True, slots=True)
class Use:
    """A call that Claude asks for. `arguments` is what it wrote, `None` if that is no object."""

    id: str
    name: str
    arguments: Json | None


@dataclass(frozen=True, slots=True)
class Result:
    """What a call brought, in words for Claude."""

    use: Use
    text: str
    failed: bool = False


@dataclass(slots=True)
class _Block:
    content: Json
    pieces: list[str]
    citations: list[Any]
    index: int | None  # In the client's stream; `None` for what it does not see.

    def whole(self) -> Json:
        """Return the block as upstream would want it back."""
        kind, told = self.content["type"], "".join(self.pieces)
        if kind == "tool_use":
            return self.content | {"input": self.use().arguments or {}}
        if self.citations:
            return self.content | {"citations": self.citations, "text": told}
        if kind in ("text", "thinking"):
            return self.content | {kind: (self.content.get(kind) or "") + told}
        return self.content

    def use(self) -> Use:
        """Return the call that this block is."""
        written = "".join(self.pieces)
        arguments = _object(written) if written else self.content.get("input") or {}
        return Use(self.content["id"], self.content["name"], arguments)


class Rounds:
    """The answer so far. Feed it every round's events; it returns what the client is to get.

    `begun` says that the client has the beginning of a message; `error` is what came instead of an
    end, by type and message.
    """

    def __init__(self, ours: Iterable[str]) -> None:
        self._ours = frozenset(ours)
        self._message: Json = {}
        self._blocks: list[_Block] = []
        self._seen: list[_Block] = []
        self._given = 0
        # The block of text that the client still has open, and whether there is any text in it.
        self._open: int | None = None
        self._spoken = False
        self._used: Json = {}
        self._size = 0
        self._last: Json = {}
        self._round_usage: Json = {}
        self._ended = False
        self.number = 0
        self.begun = False
        self.error: tuple[str, str] | None = None

    def next_round(self) -> None:
        """Begin a round; the one before is over."""
        self._seen += [block for block in self._blocks if block.index is not None]
        _add(self._used, self._round_usage)
        self._blocks, self._size, self._last, self._round_usage = [], 0, {}, {}
        self._ended = False
        self.number += 1

    def feed(self, events: bytes) -> bytes:
        """Take whole events of the present round; return the client's. Raises `BadRound`."""
        self._size += len(events)
        if self._size > ROUND_BYTES_MAX:
            raise BadRound("the round is too long")
        try:
            return b"".join(self._event(frame) for frame in frames(events))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise BadRound(f"the round makes no sense: {type(error).__name__}") from error

    @property
    def ended(self) -> bool:
        """Whether the present round came to its end."""
        return self._ended

    @property
    def uses(self) -> list[Use]:
        """The calls that the present round ended with; none if it is the last."""
        if not self._ended or self._last.get("delta", {}).get("stop_reason") != "tool_use":
            return []
        return [block.use() for block in self._blocks if block.index is None]

    @property
    def content(self) -> list[Json]:
        """What Claude said in the present round, whole, to be given back to it."""
        return [block.whole() for block in self._blocks]

    def finish(self, about: Json) -> bytes:
        """Return the end of the client's stream; `about` goes into the field `claudcode`."""
        return self._close() + _frame(self._final(about)) + _frame({"type": "message_stop"})

    def message(self, about: Json) -> Json:
        """Return the whole answer as one message, for a client that asked for no stream."""
        final = self._final(about)
        shown = [*self._seen, *(block for block in self._blocks if block.index is not None)]
        beside = {name: v for name, v in final.items() if name not in ("type", "delta", "usage")}
        usage = self._message.get("usage", {}) | final["usage"]
        whole: Json = self._message | final["delta"] | beside
        return whole | {"content": _joined(shown), "usage": usage}

    def _final(self, about: Json) -> Json:
        last = self._last or {"type": "message_delta", "delta": {}}
        total = self._used.copy()
        _add(total, self._round_usage)
        usage = (last.get("usage") or {}) | {n: total[n] for n in _ADDED if n in total}
        return last | {"usage": usage, "claudcode": about}

    # --- events ---------------------------------------------------------------------------------

    def _event(self, frame: bytes) -> bytes:
        name, data = parse(frame)
        if name == b"ping":
            return frame + b"\n\n"
        event: Json = orjson.loads(data)
        kind = event["type"]
        if kind == "content_block_start":
            return self._start(event)
        if kind == "content_block_delta":
            return self._delta(event)
        if kind == "content_block_stop":
            return self._stop(event)
        if kind == "message_start":
            return self._begin(event)
        if kind == "message_delta":
            self._overlay(event)
            return b""
        if kind == "message_stop":
            self._ended = True
            return b""
        if kind == "error":
            self.error = str(event["error"]["type"]), str(event["error"]["message"])
        return frame + b"\n\n"

    def _begin(self, event: Json) -> bytes:
        self._round_usage = dict(event["message"].get("usage") or {})
        if self.begun:
            return b""
        self.begun, self._message = True, event["message"]
        return _frame(event)

    def _start(self, event: Json) -> bytes:
        content = event["content_block"]
        if event["index"] != len(self._blocks):
            raise BadRound("blocks out of order")
        if content["type"] == "tool_use" and content["name"] in self._ours:
            self._blocks.append(_Block(dict(content), [], [], None))
            return b""
        first = all(block.index is None for block in self._blocks)
        if first and content["type"] == "text" and self._open is not None:
            return self._go_on(dict(content), self._open)
        closed = self._close()
        self._blocks.append(_Block(dict(content), [], [], self._given))
        self._given += 1
        self._spoken = bool(content.get("text"))
        return closed + self._moved(event)

    def _go_on(self, content: Json, index: int) -> bytes:
        """Let a block of text continue the one that the client has open."""
        self._blocks.append(_Block(content, [], [], index))
        self._open = None
        text = (PARAGRAPH if self._spoken else "") + (content.get("text") or "")
        self._spoken = self._spoken or bool(text)
        delta = {"type": "text_delta", "text": text}
        event = {"type": "content_block_delta", "index": index, "delta": delta}
        return _frame(event) if text else b""

    def _stop(self, event: Json) -> bytes:
        block = self._blocks[event["index"]]
        if block.content["type"] != "text":
            return self._moved(event)
        self._open = block.index  # Until it is known whether the next round goes on with it.
        return b""

    def _close(self) -> bytes:
        index, self._open = self._open, None
        return b"" if index is None else _frame({"type": "content_block_stop", "index": index})

    def _delta(self, event: Json) -> bytes:
        block, delta = self._blocks[event["index"]], event["delta"]
        kind = delta["type"]
        if kind == "input_json_delta":
            block.pieces.append(delta["partial_json"])
        elif kind == "signature_delta":
            block.content["signature"] = (block.content.get("signature") or "") + delta["signature"]
        elif kind in _CARRIED:
            block.pieces.append(delta[_CARRIED[kind]])
            self._spoken = self._spoken or bool(delta[_CARRIED[kind]])
        elif kind == "citations_delta":
            block.citations.append(delta["citation"])
        return self._moved(event)

    def _moved(self, event: Json) -> bytes:
        index = self._blocks[event["index"]].index
        return b"" if index is None else _frame(event | {"index": index})

    def _overlay(self, event: Json) -> None:
        told = {n: v for n, v in (event.get("usage") or {}).items() if v is not None}
        self._round_usage |= told
        delta = self._last.get("delta", {}) | (event.get("delta") or {})
        usage = (self._last.get("usage") or {}) | told
        self._last = self._last | event | {"delta": delta, "usage": usage}


def next_body(
    body: bytes, content: Sequence[Json], results: Sequence[Result], *, last: bool
) -> bytes:
    """Return the request of the next round: this one's, what Claude said, what its calls brought.

    In the `last` one it may call no more.
    """
    fields: Json = orjson.loads(body)
    answers = [
        {"type": "tool_result", "tool_use_id": result.use.id, "content": result.text}
        | ({"is_error": True} if result.failed else {})
        for result in results
    ]
    fields["messages"] = [
        *fields["messages"],
        {"role": "assistant", "content": list(content)},
        {"role": "user", "content": answers},
    ]
    if last:
        fields["tool_choice"] = {"type": "none"}
    return orjson.dumps(fields)


def first_body(fields: Json, tools: Sequence[Json]) -> bytes:
    """Return the request with our tools in it, to be answered as a stream."""
    return orjson.dumps(fields | {"tools": list(tools), "stream": True})


def _joined(blocks: Iterable[_Block]) -> list[Json]:
    """Return the blocks as the client's stream numbers them."""
    found: dict[int, Json] = {}
    for block in blocks:
        assert block.index is not None
        whole = block.whole()
        before = found.get(block.index)
        if before is not None:
            cited = [*(before.get("citations") or []), *(whole.get("citations") or [])]
            text = before["text"] + (PARAGRAPH if before["text"] else "") + whole["text"]
            whole = before | {"text": text} | ({"citations": cited} if cited else {})
        found[block.index] = whole
    return list(found.values())


def _add(total: Json, usage: Json) -> None:
    for name in _ADDED:
        if isinstance(usage.get(name), int):
            total[name] = total.get(name, 0) + usage[name]


def _object(text: str) -> Json | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _frame(event: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
