"""The whole answer to a request, decided before its first byte is sent. Knows no HTTP, no pace.

An answer is a row of parts (content blocks) made of pieces (tokens), so that output tokens are
counted by construction and `max_tokens` is a cut in the row. Parts come in upstream's order:
thinking, searches, text, tool calls.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import orjson

from simulator.counting import count, pieces
from simulator.filler import INTRODUCTION, Filler
from simulator.marks import Script, without
from simulator.request import MessageRequest
from simulator.schema_example import example
from simulator.usage import Usage

THINKING_TOKENS = 24
# Characters of the prompt that an answer repeats.
QUOTE_CHARS = 120
# Tokens of a tool call beside its name and input.
CALL_TOKENS = 4

_INTRODUCTION = tuple(pieces(INTRODUCTION))


@dataclass(frozen=True, slots=True)
class Part:
    """One content block: as it opens, the pieces that fill it, and as it is when complete.

    `kind` and `field` name the delta and its text. `opening_tokens` are those of the opening.
    """

    opening: dict[str, Any]
    complete: dict[str, Any]
    kind: str = ""
    field: str = ""
    pieces: Sequence[str] = ()
    opening_tokens: int = 0
    hidden_tokens: int = 0
    signature: str = ""

    @property
    def tokens(self) -> int:
        """Output tokens of the block."""
        return self.opening_tokens + self.hidden_tokens + len(self.pieces)


@dataclass(frozen=True, slots=True)
class Answer:
    """A message as it will have been when all of it is sent."""

    message_id: str
    model_id: str
    parts: Sequence[Part]
    usage: Usage
    stop_reason: str
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None

    @property
    def output_tokens(self) -> int:
        """Tokens of all parts: never more than `max_tokens`."""
        return sum(part.tokens for part in self.parts)

    @property
    def thinking_tokens(self) -> int:
        """Those of them that are thinking."""
        return sum(part.tokens for part in self.parts if part.signature)


class Composer:
    """Makes answers. `forced_text` takes the place of the text (echoes)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._filler = Filler(seed)

    def compose(
        self,
        request: MessageRequest,
        script: Script,
        usage: Usage,
        message_id: str,
        forced_text: str | None = None,
    ) -> Answer:
        """Return the answer that `script` asks for, within `max_tokens`."""
        if script.refusal:
            return _refusal(request, usage, message_id)
        start = crc32(request.text.encode("utf-8", "surrogatepass"), self._seed)
        parts: list[Part] = []
        left = request.max_tokens
        for part in self._thinking(request, script, start, left):
            parts.append(part)
            left -= part.tokens
        parts += _searches(usage.web_searches, message_id)
        tool = _chosen_tool(request, script)
        text = self._text(request, script, start, forced_text, calling=tool)
        text, sequence = _stopped(text, request.body.get("stop_sequences") or ())
        shown = text[:left]
        if shown:
            parts.append(_text_part(shown))
        left -= len(shown)
        if len(shown) < len(text) or (sequence is None and left <= 0 and tool):
            stop_reason = "max_tokens"
        elif sequence is not None:
            stop_reason = "stop_sequence"
        elif tool:
            calls, whole = _calls(tool, script, message_id, left)
            parts += calls
            stop_reason = "tool_use" if whole else "max_tokens"
        else:
            stop_reason = "end_turn"
        if stop_reason != "stop_sequence":
            sequence = None
        return Answer(message_id, request.model.model_id, parts, usage, stop_reason, sequence)

    def _thinking(
        self, request: MessageRequest, script: Script, start: int, left: int
    ) -> list[Part]:
        thinking = request.thinking
        tokens = script.thinking_tokens
        if tokens is None and thinking.get("type") == "enabled":
            tokens = min(THINKING_TOKENS, thinking["budget_tokens"])
        if not tokens:
            return []
        words = self._filler.take(min(tokens, left), start // 2)
        signature = base64.b64encode(b"simulator:%d" % start).decode()
        if thinking.get("display") == "omitted":
            return [_thinking_part((), signature, hidden_tokens=len(words))]
        return [_thinking_part(words, signature)]

    def _text(
        self,
        request: MessageRequest,
        script: Script,
        start: int,
        forced_text: str | None,
        *,
        calling: dict[str, Any] | None,
    ) -> Sequence[str]:
        said = forced_text if forced_text is not None else script.say
        if said is not None:
            return pieces(said)
        if request.schema is not None:
            return pieces(orjson.dumps(example(request.schema)).decode())
        if calling is not None and script.tokens is None:
            return pieces(f"The simulator calls {calling['name']}.")
        if script.tokens is not None and script.tokens <= len(_INTRODUCTION):
            return _INTRODUCTION[: script.tokens]
        opening = [*_INTRODUCTION, *_quotation(request.text)]
        if script.tokens is None:
            return opening
        if script.tokens <= len(opening):
            return opening[: script.tokens]
        return [*opening, *self._filler.take(script.tokens - len(opening), start)]


def _quotation(text: str) -> Sequence[str]:
    quote = without(text)
    if not quote:
        return ()
    if len(quote) > QUOTE_CHARS:
        quote = quote[:QUOTE_CHARS] + "…"
    return pieces(f' You wrote: "{quote}"')


def _stopped(text: Sequence[str], sequences: Sequence[str]) -> tuple[Sequence[str], str | None]:
    if not sequences:
        return text, None
    whole = "".join(text)
    hits = [(whole.find(one), one) for one in sequences if one in whole]
    if not hits:
        return text, None
    position, sequence = min(hits)
    return pieces(whole[:position]), sequence


def _chosen_tool(request: MessageRequest, script: Script) -> dict[str, Any] | None:
    choice = request.tool_choice
    tools = {str(tool["name"]): tool for tool in request.tools}
    wanted = script.tool or choice.get("name") or ""
    forced = choice["type"] in ("any", "tool") if "type" in choice else False
    if not tools or choice.get("type") == "none" or not (forced or script.tool is not None):
        return None
    return tools.get(wanted) or next(iter(tools.values()))


def _calls(
    tool: dict[str, Any], script: Script, message_id: str, left: int
) -> tuple[list[Part], bool]:
    written = script.tool_input or orjson.dumps(example(tool["input_schema"])).decode()
    words = pieces(written)
    opening_tokens = CALL_TOKENS + count(str(tool["name"]))
    calls: list[Part] = []
    for number in range(script.tool_count):
        if left <= opening_tokens:
            return calls, False
        shown = words[: left - opening_tokens]
        call_id = f"{message_id.replace('msg_', 'toolu_')}{number:02d}"
        calls.append(_call_part(call_id, str(tool["name"]), shown, opening_tokens))
        left -= calls[-1].tokens
        if len(shown) < len(words):
            return calls, False
    return calls, True


def _call_part(call_id: str, name: str, words: Sequence[str], opening_tokens: int) -> Part:
    try:
        given = orjson.loads("".join(words))
    except orjson.JSONDecodeError:
        given = {}  # Cut by max_tokens; a stream shows as much as there is.
    opening = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    complete = opening | {"input": given}
    return Part(opening, complete, "input_json_delta", "partial_json", words, opening_tokens)


def _text_part(words: Sequence[str]) -> Part:
    complete = {"type": "text", "text": "".join(words)}
    return Part({"type": "text", "text": ""}, complete, "text_delta", "text", words)


def _thinking_part(words: Sequence[str], signature: str, hidden_tokens: int = 0) -> Part:
    return Part(
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking", "thinking": "".join(words).lstrip(), "signature": signature},
        "thinking_delta",
        "thinking",
        [words[0].lstrip(), *words[1:]] if words else (),
        hidden_tokens=hidden_tokens,
        signature=signature,
    )


def _searches(number: int, message_id: str) -> list[Part]:
    parts = []
    for one in range(number):
        call_id = f"{message_id.replace('msg_', 'srvtoolu_')}{one:02d}"
        called = {"type": "server_tool_use", "id": call_id, "name": "web_search"}
        called["input"] = {"query": "simulated"}  # type: ignore[assignment]
        result = {"type": "web_search_tool_result", "tool_use_id": call_id, "content": []}
        parts += [Part(called, called), Part(result, result)]
    return parts


def _refusal(request: MessageRequest, usage: Usage, message_id: str) -> Answer:
    details = {
        "type": "refusal",
        "category": "general_harms",
        "explanation": "The simulator was asked to refuse.",
    }
    return Answer(message_id, request.model.model_id, (), usage, "refusal", stop_details=details)
