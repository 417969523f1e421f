"""An answer as a value: a row of content blocks made of pieces. Knows no HTTP, no pace, no script.

Output tokens are counted by construction: a piece is a token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from simulator.counting import count
from simulator.usage import Usage

# Tokens of a tool call beside its name and input.
CALL_TOKENS = 4


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


def text_part(words: Sequence[str]) -> Part:
    """Return a block of text."""
    complete = {"type": "text", "text": "".join(words)}
    return Part({"type": "text", "text": ""}, complete, "text_delta", "text", words)


def thinking_part(words: Sequence[str], signature: str, *, omitted: bool) -> Part:
    """Return a block of thinking; `omitted` hides the words and still counts them."""
    shown = () if omitted else words
    return Part(
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking", "thinking": "".join(shown), "signature": signature},
        "thinking_delta",
        "thinking",
        shown,
        hidden_tokens=len(words) - len(shown),
        signature=signature,
    )


def opening_tokens(tool_name: str) -> int:
    """Return the tokens of a tool call before its input."""
    return CALL_TOKENS + count(tool_name)


def call_part(call_id: str, name: str, words: Sequence[str]) -> Part:
    """Return a tool call whose input is the JSON in `words`; cut short, it is `{}` in a message."""
    try:
        given = orjson.loads("".join(words))
    except orjson.JSONDecodeError:
        given = {}
    opening = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    complete = opening | {"input": given}
    kind, field = "input_json_delta", "partial_json"
    return Part(opening, complete, kind, field, words, opening_tokens(name))


def search_parts(call_id: str) -> list[Part]:
    """Return a web search that upstream ran by itself, and its result."""
    called = {
        "type": "server_tool_use",
        "id": call_id,
        "name": "web_search",
        "input": {"query": "simulated"},
    }
    result = {"type": "web_search_tool_result", "tool_use_id": call_id, "content": []}
    return [Part(called, called), Part(result, result)]
