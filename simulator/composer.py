"""Decides a whole answer before its first byte is sent. Knows no HTTP, no pace, no clock.

Parts come in upstream's order: thinking, searches, text, tool calls; `max_tokens` is a cut in that
row. The same request under the same seed gets the same words.
"""

import base64
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import orjson

from simulator.answer import (
    Answer,
    Part,
    call_part,
    opening_tokens,
    search_parts,
    text_part,
    thinking_part,
)
from simulator.counting import pieces
from simulator.filler import INTRODUCTION, Filler
from simulator.marks import Script, without
from simulator.request import MessageRequest
from simulator.schema_example import example
from simulator.usage import Usage

THINKING_TOKENS = 24
# Characters of the prompt that an answer repeats.
QUOTE_CHARS = 120
# And of what tools returned.
RESULT_CHARS = 400

_INTRODUCTION = tuple(pieces(INTRODUCTION))


class Composer:
    """Makes answers."""

    def __init__(self, seed: int) -> None:
        self._seed = seed & 0xFFFFFFFF
        self._filler = Filler(seed)

    def compose(
        self,
        request: MessageRequest,
        script: Script,
        usage: Usage,
        message_id: str,
        echo: str | None = None,
    ) -> Answer:
        """Return the answer that `script` asks for; an `echo` takes the place of its text."""
        if script.refusal:
            return _refusal(request, usage, message_id)
        start = crc32(request.text.encode(), self._seed)
        parts = self._thinking(request, script, start)
        left = request.max_tokens - sum(part.tokens for part in parts)
        parts += _searches(usage.web_searches, message_id)

        tool = _chosen_tool(request, script)
        text = self._text(request, script, start, tool) if echo is None else pieces(echo)
        text, sequence = _stopped(text, request.body.get("stop_sequences") or ())
        if text[:left]:
            parts.append(text_part(text[:left]))
        left -= len(text)

        stop_reason = "end_turn"
        if left < 0:
            stop_reason, sequence = "max_tokens", None
        elif sequence is not None:
            stop_reason = "stop_sequence"
        elif tool is not None:
            calls, whole = _calls(tool, script, message_id, left)
            parts += calls
            stop_reason = "tool_use" if whole else "max_tokens"
        return Answer(message_id, request.model.model_id, parts, usage, stop_reason, sequence)

    def _thinking(self, request: MessageRequest, script: Script, start: int) -> list[Part]:
        thinking = request.thinking
        tokens = script.thinking_tokens
        if tokens is None and thinking.get("type") == "enabled":
            tokens = THINKING_TOKENS
        if not tokens:
            return []
        words = self._filler.take(min(tokens, request.max_tokens), start // 2)
        signature = base64.b64encode(b"simulator:%d" % start).decode()
        return [thinking_part(words, signature, omitted=thinking.get("display") == "omitted")]

    def _text(
        self, request: MessageRequest, script: Script, start: int, tool: dict[str, Any] | None
    ) -> Sequence[str]:
        if script.say is not None:
            return pieces(script.say)
        if request.schema is not None:
            return pieces(orjson.dumps(example(request.schema)).decode())
        if script.tokens is None and tool is not None:
            return pieces(f"The simulator calls {tool['name']}.")
        opening = [*_INTRODUCTION, *_quotation(request.texts), *_results(request.results)]
        if script.tokens is None:
            return opening
        # One more than fits tells `max_tokens` from an answer that happens to end there.
        tokens = min(script.tokens, request.max_tokens + 1)
        return [*opening[:tokens], *self._filler.take(max(0, tokens - len(opening)), start)]


def _quotation(texts: Sequence[str]) -> Sequence[str]:
    # Agents put their reminders into blocks before the one that a person typed.
    quote = without(texts[-1]) if texts else ""
    if len(quote) > QUOTE_CHARS:
        quote = quote[:QUOTE_CHARS] + "…"
    return pieces(f' You wrote: "{quote}"') if quote else ()


def _results(results: Sequence[str]) -> Sequence[str]:
    return pieces(f' The tools said: "{" ".join(results)[:RESULT_CHARS]}"') if results else ()


def _stopped(text: Sequence[str], sequences: Sequence[str]) -> tuple[Sequence[str], str | None]:
    whole = "".join(text) if sequences else ""
    hits = [(whole.find(one), one) for one in sequences if one in whole]
    if not hits:
        return text, None
    position, sequence = min(hits)
    return pieces(whole[:position]), sequence


def _chosen_tool(request: MessageRequest, script: Script) -> dict[str, Any] | None:
    choice = request.tool_choice
    forced = choice.get("type") in ("any", "tool")
    if choice.get("type") == "none" or not (forced or script.tool is not None):
        return None
    tools = {str(tool["name"]): tool for tool in request.tools}
    wanted = script.tool or str(choice.get("name"))
    return tools.get(wanted) or next(iter(tools.values()), None)


def _calls(
    tool: dict[str, Any], script: Script, message_id: str, left: int
) -> tuple[list[Part], bool]:
    name = str(tool["name"])
    words = pieces(script.tool_input or orjson.dumps(example(tool["input_schema"])).decode())
    calls: list[Part] = []
    for number in range(script.tool_count):
        room = left - opening_tokens(name)
        if room < 1:
            return calls, False
        call_id = f"{message_id.replace('msg_', 'toolu_')}{number:02d}"
        calls.append(call_part(call_id, name, words[:room]))
        left -= calls[-1].tokens
        if room < len(words):
            return calls, False
    return calls, True


def _searches(number: int, message_id: str) -> list[Part]:
    call_id = message_id.replace("msg_", "srvtoolu_")
    return [part for one in range(number) for part in search_parts(f"{call_id}{one:02d}")]


def _refusal(request: MessageRequest, usage: Usage, message_id: str) -> Answer:
    details = {
        "type": "refusal",
        "category": "general_harms",
        "explanation": "The simulator was asked to refuse.",
    }
    return Answer(message_id, request.model.model_id, (), usage, "refusal", stop_details=details)
