"""Reads a copy of an answer and knows at every moment what it has used. Never touches the answer.

Usage of a stream = `message_start.usage` overlaid by the last `message_delta.usage`: its counts
are cumulative and replace; adding would bill twice, the maximum would be wrong for refusals.
Until a `message_delta` came, output is estimated from what was relayed (`proxy.core.estimate`),
times the ratio that the key's answers from this model usually have to such estimates.

What upstream spent beside the answer it tells apart, by iteration: the summary of a long
conversation, the advice of another model. Those counts are not in `usage` itself, so they are kept
beside it, by model.

A meter never raises into the relay: what it cannot read it stops reading, and its counts are
marked estimated. They are exact only when upstream stated both input and output.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from proxy.core.deltas import DeltaText
from proxy.core.sse import frames, parse
from usage.core.tokens import TokenUsage

# What ends an answer of itself, and the blocks that act on nothing: such answers may be kept.
STOP_REASONS = frozenset({"end_turn", "stop_sequence", "max_tokens"})
THINKING = frozenset({"thinking", "redacted_thinking"})
PLAIN_BLOCKS = THINKING | {"text"}
# Iterations whose counts are in the usage of the answer. Of a kind that is not known we take it
# that they are not: no token is free.
INSIDE = frozenset({"message", "fallback_message"})
# A whole answer that is not a stream is at most some hundred kilobytes of text; beyond this it is
# still relayed, but no longer kept for counting.
ANSWER_BYTES_MAX = 16 * 1024 * 1024
COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "cache_read_input_tokens",
    "web_search_requests",
)
# A model's name has 30.
WORD_LENGTH_MAX = 256
# Bytes in a token of an answer that could not be read: a little under the usual four, as JSON.
ANSWER_BYTES_PER_TOKEN = 3.8


Beside = tuple[tuple[str, TokenUsage], ...]


@dataclass(frozen=True, slots=True)
class Metered:
    """What the meter knows. `estimated` when a count is ours; `whole` when the answer ended well.

    `reported` is false while upstream has not said what the input was. `beside` is what was used
    and is not in `usage`, by the model that used it, "" for the one that answered.
    """

    usage: TokenUsage
    model: str
    error_type: str
    stop_reason: str
    estimated: bool
    reported: bool
    whole: bool
    message_id: str = ""
    speed: str = ""
    beside: Beside = ()
    # By iteration, so that a model which stood in is known; its name, "" if none did.
    itemized: bool = False
    stood_in: str = ""
    # Upstream thought, and neither showed it nor told how much: no text tells of it.
    hidden: bool = False

    @property
    def all_usage(self) -> TokenUsage:
        """The counts of everything, whichever model it was."""
        return _sum((self.usage, *(usage for _model, usage in self.beside)))


class StreamMeter:
    """Meters server-sent events, fed as whole events (`proxy.core.sse.Framer`).

    `plain` says that there was nothing but text and thinking so far, in events that are known.
    """

    __slots__ = (
        "_broken",
        "_final",
        "_hidden",
        "_input_stated",
        "_iterations",
        "_speed",
        "_thinking_from",
        "error_type",
        "message_id",
        "model",
        "plain",
        "stop_reason",
        "text",
        "usage",
        "whole",
    )

    def __init__(self) -> None:
        self._broken = False
        self._final = False
        self._input_stated = False
        self._iterations: Iterations | None = None
        self._speed = ""
        self._hidden = False
        self._thinking_from: float | None = None
        self.usage: TokenUsage | None = None
        self.message_id = ""
        self.model = ""
        self.error_type = ""
        self.stop_reason = ""
        self.text = DeltaText()
        self.plain = True
        self.whole = False

    def feed(self, events: bytes) -> None:
        """Take note of `events`. Never raises."""
        for frame in frames(events):
            try:
                self._note(frame)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                # Whatever upstream sent, the client shall have it; only this event's word is lost.
                self._broken = True

    def metered(self, output_ratio: float) -> Metered:
        """Return what is known now, estimating what upstream has not reported yet."""
        usage = self.usage or TokenUsage()
        exact = self._final and self._input_stated and not self._broken
        if not exact:
            guess = round(self.text.tokens * output_ratio)
            usage = replace(usage, output_tokens=max(usage.output_tokens, guess))
        return Metered(
            usage=usage,
            model=self.model,
            error_type=self.error_type,
            stop_reason=self.stop_reason,
            estimated=not exact,
            reported=self._input_stated,
            whole=self.whole,
            message_id=self.message_id,
            speed=self._speed,
            hidden=self._hidden or self._thinks_unseen(),
            **_itemized(self._iterations),
        )

    def _note(self, frame: bytes) -> None:
        # By far the most frames are deltas, so they are told apart by their first bytes.
        if frame.startswith(b"event: content_block_delta"):
            self.text.add(frame)
            return
        name, data = parse(frame)
        if name == b"message_start":
            message = orjson.loads(data)["message"]
            self.message_id = _word(message.get("id"))
            self.model = _word(message.get("model", ""))
            self._overlay(TokenUsage(), message.get("usage") or {})
            self._final = False  # What it says of output is a beginning.
        elif name == b"message_delta":
            event = orjson.loads(data)
            self.stop_reason = _word((event.get("delta") or {}).get("stop_reason") or "")
            if event.get("usage"):
                self._overlay(self.usage or TokenUsage(), event["usage"])
                self._final = _states(event["usage"], "output_tokens")
        elif name == b"message_stop":
            self.whole = True
        elif name == b"error":
            error = orjson.loads(data).get("error") or {}
            self.error_type = _word(error.get("type")) or "error"
        elif name == b"content_block_start":
            kind = orjson.loads(data)["content_block"]["type"]
            self.plain &= kind in PLAIN_BLOCKS
            self._thinking_from = self.text.tokens if kind in THINKING else None
        elif name == b"content_block_stop":
            self._hidden |= self._thinks_unseen()
            self._thinking_from = None
        elif name == b"content_block_delta":
            self.text.add(frame)
        else:
            self.plain &= name == b"ping"

    def _thinks_unseen(self) -> bool:
        return self._thinking_from is not None and self.text.tokens == self._thinking_from

    @property
    def keepable(self) -> bool:
        """Whether the answer may be kept: whole, ended of itself, and plain."""
        fine = self.whole and self.plain and not self._broken and not self.error_type
        return fine and self.stop_reason in STOP_REASONS

    def _overlay(self, usage: TokenUsage, reported: dict[str, Any]) -> None:
        self.usage = overlay(usage, reported)
        self._speed = _word(reported.get("speed")) or self._speed
        self._iterations = iterations(reported) or self._iterations
        self._input_stated = self._input_stated or _states(reported, "input_tokens")


class AnswerMeter:
    """Meters an answer that comes as one JSON object of `length` bytes, `None` if not told."""

    __slots__ = ("_chunks", "_length", "_size")

    def __init__(self, length: int | None) -> None:
        self._chunks: list[bytes] = []
        self._length = length
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """Keep `chunk`, up to `ANSWER_BYTES_MAX` in all."""
        self._size += len(chunk)
        if self._size <= ANSWER_BYTES_MAX:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def end(self) -> None:
        """Upstream has no more, and did not break off: an answer of untold length is whole now."""
        if self._length is None:
            self._length = self._size

    @property
    def whole(self) -> bool:
        """Whether as many bytes came as upstream said it would send."""
        return self._size == self._length

    @property
    def body(self) -> bytes:
        """Everything fed so far, or nothing if it was too much to keep."""
        return b"".join(self._chunks)

    def metered(self, output_ratio: float) -> Metered:
        """Return the usage the answer reports; estimated when it cannot be read."""
        try:
            message = orjson.loads(self.body)
            usage = overlay(TokenUsage(), message["usage"])
            itemized = _itemized(iterations(message["usage"]))
            stated = _states(message["usage"], "input_tokens", "output_tokens")
        except (ValueError, TypeError, KeyError, AttributeError):
            stated = False
        if not stated:
            tokens = round(self._size / ANSWER_BYTES_PER_TOKEN * output_ratio)
            guess = TokenUsage(output_tokens=tokens)
            return Metered(guess, "", "", "", estimated=True, reported=False, whole=False)
        return Metered(
            usage=usage,
            model=_word(message.get("model", "")),
            error_type="",
            stop_reason=_word(message.get("stop_reason") or ""),
            estimated=False,
            reported=True,
            whole=True,
            message_id=_word(message.get("id")),
            speed=_word(message["usage"].get("speed")),
            **itemized,
        )


@dataclass(frozen=True, slots=True)
class Iterations:
    """What the iterations of an answer tell that its usage does not."""

    beside: Beside
    stood_in: str


def iterations(reported: dict[str, Any]) -> Iterations | None:
    """Return what `reported` says by iteration, `None` when it does not.

    Raises as `overlay` does.
    """
    entries = reported.get("iterations")
    if not entries:
        return None
    beside: dict[str, TokenUsage] = {}
    stood_in = ""
    for entry in entries:
        kind, model = entry.get("type"), _word(entry.get("model"))
        if kind == "fallback_message":
            stood_in = model
        if kind not in INSIDE:
            used = overlay(TokenUsage(), entry)
            beside[model] = _sum((beside[model], used)) if model in beside else used
    return Iterations(tuple(beside.items()), stood_in)


def _itemized(found: Iterations | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {"itemized": True, "beside": found.beside, "stood_in": found.stood_in}


def _sum(usages: Iterable[TokenUsage]) -> TokenUsage:
    first, *others = usages
    for other in others:
        first = replace(
            first, **{name: getattr(first, name) + getattr(other, name) for name in COUNTS}
        )
    return first


def overlay(usage: TokenUsage, reported: dict[str, Any]) -> TokenUsage:
    """Return `usage` with every count that `reported` states replaced by it.

    Raises `ValueError`, `TypeError` or `AttributeError` for counts that are no whole numbers.
    """
    known: dict[str, Any] = {}
    for name in (
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    ):
        if reported.get(name) is not None:
            known[name] = _count(reported[name])
    split = reported.get("cache_creation") or {}
    if split.get("ephemeral_1h_input_tokens") is not None:
        known["cache_creation_1h_input_tokens"] = _count(split["ephemeral_1h_input_tokens"])
    tools = reported.get("server_tool_use") or {}
    if tools.get("web_search_requests") is not None:
        known["web_search_requests"] = _count(tools["web_search_requests"])
    if reported.get("inference_geo"):
        known["inference_geo"] = _word(reported["inference_geo"])[:32]
    return replace(usage, **known)


def _states(reported: dict[str, Any], *names: str) -> bool:
    return all(reported.get(name) is not None for name in names)


def _word(value: object) -> str:
    # It goes into the ledger, which keeps no NUL and would make a dead letter of the whole row.
    text = value[:WORD_LENGTH_MAX] if isinstance(value, str) else ""
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())


# Nothing upstream reports comes near; a larger number is nonsense, and must not reach a column.
COUNT_MAX = 10**12


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= COUNT_MAX:
        raise ValueError(f"{value!r} is no count")
    return value
