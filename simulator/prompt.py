"""What a prompt weighs: the segments of a request body with their tokens. Knows no HTTP.

Order is upstream's: tools, system, messages. `count_tokens` and `messages` both count through
`segments`, so they always agree.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from simulator.counting import count
from simulator.prompt_cache import Segment

Block = dict[str, Any]

# Every prompt carries a little frame, outside of any cacheable prefix.
FRAME_TOKENS = 4
MESSAGE_TOKENS = 3
TOOL_TOKENS = 8
# Upstream scales pictures down to about this.
IMAGE_TOKENS = 1600
# A page of PDF is about this many characters of base64, and about 1,500 tokens.
BASE64_CHARS_PER_TOKEN = 40


def segments(body: Block) -> list[Segment]:
    """Return the blocks of a checked body, in the order in which prefixes are cached."""
    found = [*_tools(body), *_system(body), *_messages(body)]
    automatic = _ttl(body)
    if automatic and found:
        last = found[-1]
        found[-1] = Segment(last.tokens, last.content, automatic)
    return found


def total(found: list[Segment]) -> int:
    """Return the input tokens of a prompt, cached or not."""
    return FRAME_TOKENS + sum(segment.tokens for segment in found)


def last_user_texts(body: Block) -> tuple[str, ...]:
    """Return the texts of the last user message: where marks are read from."""
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            content = message["content"]
            if isinstance(content, str):
                return (content,)
            return tuple(block["text"] for block in content if block["type"] == "text")
    return ()


def tool_loop(body: Block) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Return which round of calls and results this is, 0 outside of any; the texts of the message
    that began it; and the texts of the newest results.
    """
    users = [message for message in body["messages"] if message["role"] == "user"]
    rounds = [_results(message) for message in reversed(users)]
    number = next((at for at, found in enumerate(rounds) if found is None), len(rounds))
    if number in (0, len(rounds)):
        return 0, (), ()
    began = {"messages": users[: len(users) - number]}
    return number, last_user_texts(began), rounds[0] or ()


def _results(message: Block) -> tuple[str, ...] | None:
    """Return the texts of a message that is nothing but results of calls."""
    content = message["content"]
    if isinstance(content, str) or any(block["type"] != "tool_result" for block in content):
        return None
    blocks = [inner for block in content for inner in _blocks(block.get("content") or [])]
    return tuple(block["text"] for block in blocks if block["type"] == "text")


def _tools(body: Block) -> Iterator[Segment]:
    for tool in body.get("tools") or ():
        plain = _plain(tool)
        yield Segment(TOOL_TOKENS + _json_tokens(plain), ("tool", plain), _ttl(tool))


def _system(body: Block) -> Iterator[Segment]:
    for block in _blocks(body.get("system") or []):
        yield Segment(_tokens(block), ("system", _plain(block)), _ttl(block))


def _messages(body: Block) -> Iterator[Segment]:
    for message in body["messages"]:
        role = message["role"]
        extra = MESSAGE_TOKENS
        for block in _blocks(message["content"]):
            yield Segment(extra + _tokens(block), (role, _plain(block)), _ttl(block))
            extra = 0


def _blocks(content: str | list[Block]) -> list[Block]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _plain(block: Block) -> Block:
    if "cache_control" not in block:
        return block
    return {key: value for key, value in block.items() if key != "cache_control"}


def _ttl(block: Block) -> str:
    control = block.get("cache_control")
    return str(control.get("ttl") or "5m") if control else ""


def _tokens(block: Block) -> int:
    kind = block["type"]
    if kind == "text":
        return count(block["text"])
    if kind == "image":
        return IMAGE_TOKENS
    if kind == "document":
        return _document_tokens(block)
    if kind == "tool_result":
        content = block.get("content") or []
        return TOOL_TOKENS + sum(_tokens(inner) for inner in _blocks(content))
    return _json_tokens(_plain(block))


def _document_tokens(block: Block) -> int:
    source = block.get("source")
    if isinstance(source, dict) and source.get("type") == "base64":
        return IMAGE_TOKENS + len(str(source.get("data", ""))) // BASE64_CHARS_PER_TOKEN
    return _json_tokens(_plain(block))


def _json_tokens(value: object) -> int:
    return count(orjson.dumps(value).decode())
