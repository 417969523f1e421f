"""Reads the few fields of a request that the gateway needs, and no more.

The body goes upstream byte for byte, so what is not read here is none of the gateway's business.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.errors import BadRequest
from proxy.core.selection import stable_prefix

MODEL_LENGTH_MAX = 256
# Parsed, 32 MB of empty lists take 800 MB and seconds. No model reads so many values: each costs a
# token. What follows is looked for in large bodies alone, so that others do not pay for it.
VALUES_MAX = 2_000_000
WEIGHED_BYTES_MIN = 4 * 1024 * 1024
# Models that one request names beside its own; nobody needs as many, and each is looked up.
OTHERS_MAX = 20
# In place of a list: upstream chooses by which models the first one is replaced.
OWN_FALLBACKS = "default"
# What decides about access and money. Twice in one body, upstream might obey the one we did not
# read, so such a body is refused.
DECISIVE = ("model", "max_tokens", "speed", "fallbacks", "tools")
# A letter or underscore written as an escape can hide a second `model`; no client writes such.
_HIDDEN_LETTER = re.compile(rb"\\u00(?:6[1-9a-fA-F]|7[0-9aA]|5[fF])")
# Every name of a body is looked at only up to so many bytes: it takes 0.1 s of everybody's time.
# Beyond, and up to VALUES_MAX, seconds.
SEARCHED_BYTES_MAX = 1024 * 1024
# Any of these can cost input tokens that the length of the body does not bound: pictures,
# documents, what upstream knows by a name. The last is how the types of server tools end.
_UNBOUNDED_INPUT = (
    b'"image"',
    b'"document"',
    b'"file"',
    b'"container"',
    b'"container_upload"',
    b'"mcp_servers"',
    b'"search_result"',
    b'"thread"',
)
_SERVER_TOOL = re.compile(rb'_20\d{6}"')
# What any of them can be written with, as escapes.
_HIDDEN_WORD = re.compile(rb"\\u00(?:3[0-9]|6[1-9a-fA-F]|7[0-9aA]|5[fF])")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A body and what it says. `fields` are large: let go of them before the answer streams.

    `plain` when the body is the very text we would write for `fields`, as the official SDKs write
    it. Then nothing was lost in reading: no name is there twice, no number has too many digits.
    """

    body: bytes
    fields: dict[str, Any]
    plain: bool


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """What the gateway knows of a request: the fields it read, and the size of the whole.

    `max_tokens` is the most that any model it names may write. `prefix` is a digest of what stays
    the same while the conversation grows, empty if nobody asks. `fast` asks for the speed that
    costs more. `fallbacks` are models that upstream asks when the first declines, `advisers` those
    whose advice it may seek; `own_fallbacks` leaves that choice to upstream.
    """

    model: str
    streamed: bool
    max_tokens: int
    body_bytes: int
    prefix: bytes = b""
    fast: bool = False
    fallbacks: tuple[str, ...] = ()
    advisers: tuple[str, ...] = ()
    own_fallbacks: bool = False


def read_messages(body: bytes) -> MessagesRequest:
    """Read a body of `POST /v1/messages`. Raises `BadRequest` with what is wrong."""
    return messages_request(parse_body(body))


def messages_request(parsed: Parsed, *, prefixed: bool = True) -> MessagesRequest:
    """Read what was parsed as a body of `POST /v1/messages`. Raises `BadRequest`."""
    fields = parsed.fields
    streamed = fields.get("stream", False)
    if not isinstance(streamed, bool) and streamed is not None:
        raise BadRequest("stream: must be true or false.")
    substitutes = _substitutes(fields)
    most = [entry["max_tokens"] for entry in substitutes if _is_count(entry.get("max_tokens"))]
    return MessagesRequest(
        model=_model(fields),
        streamed=bool(streamed),
        max_tokens=max(_max_tokens(fields), *most) if most else _max_tokens(fields),
        body_bytes=len(parsed.body),
        prefix=stable_prefix(fields) if prefixed else b"",
        fast=any(entry.get("speed") == "fast" for entry in (fields, *substitutes)),
        fallbacks=tuple(_model(entry) for entry in substitutes),
        advisers=_advisers(fields),
        own_fallbacks=fields.get("fallbacks") == OWN_FALLBACKS,
    )


def input_bounded(body: bytes) -> bool:
    """Return whether no input of the body can be larger than its bytes.

    Looks at all of it several times, so it is only asked for keys with a strict budget.
    """
    named = any(name in body for name in _UNBOUNDED_INPUT)
    tool = b"_20" in body and _SERVER_TOOL.search(body) is not None
    hidden = b"\\u00" in body and _HIDDEN_WORD.search(body) is not None
    return not (named or tool or hidden)


def read_count(body: bytes) -> str:
    """Read a body of `POST /v1/messages/count_tokens`; return its model. Raises `BadRequest`."""
    return _model(parse_body(body).fields)


def parse_body(body: bytes) -> Parsed:
    """Parse a body, which must be an object with `messages`. Raises `BadRequest`."""
    if len(body) > WEIGHED_BYTES_MIN and sum(map(body.count, (b",", b"[", b"{"))) > VALUES_MAX:
        raise BadRequest(f"The request body has more than {VALUES_MAX} values.")
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise BadRequest("The request body must be a JSON object.")
    # Writing it again and comparing costs less than the search for duplicates, which it spares.
    written = _written(fields)
    plain = written == body
    if not plain and _may_lack_something(body, fields, written):
        _refuse_duplicates(body)
    if "messages" not in fields:
        raise BadRequest("messages: Field required")
    if not isinstance(fields["messages"], list):
        raise BadRequest("messages: Input should be a valid list")
    return Parsed(body, fields, plain)


def _written(fields: dict[str, Any]) -> bytes | None:
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError:
        return None  # Too deep to be written, though not to be read.


def _may_lack_something(body: bytes, fields: dict[str, Any], written: bytes | None) -> bool:
    """Return whether `fields`, `written` again, can lack a decisive name that the body has.

    Whatever is there twice is lost in reading, and with it a text that ends in a quoted name. An
    escaped quote can look like one; then there are more of them, never fewer.
    """
    if written is None or (b"\\u00" in body and _HIDDEN_LETTER.search(body) is not None):
        return True
    # Finding fixed bytes is an order of magnitude faster than a pattern, and bodies are large.
    escaped = b"\\u0022" in body
    for name in DECISIVE:
        if name in fields:
            quoted = b'"%s"' % name.encode()
            found = body.count(quoted) + (body.count(b"\\u0022" + quoted[1:]) if escaped else 0)
            if found != written.count(quoted):
                return True
    return False


def _model(fields: dict[str, Any]) -> str:
    if "model" not in fields:
        raise BadRequest("model: Field required")
    model = fields["model"]
    if not isinstance(model, str):
        raise BadRequest("model: Input should be a valid string")
    if not 0 < len(model) <= MODEL_LENGTH_MAX:
        raise BadRequest(f"model: must have 1 to {MODEL_LENGTH_MAX} characters")
    return model


def _substitutes(fields: dict[str, Any]) -> list[dict[str, Any]]:
    given = fields.get("fallbacks")
    if not given or given == OWN_FALLBACKS:
        return []
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise BadRequest('fallbacks: Input should be a list of objects, or "default"')
    if len(given) > OTHERS_MAX:
        raise BadRequest(f"fallbacks: at most {OTHERS_MAX}")
    return given


def _advisers(fields: dict[str, Any]) -> tuple[str, ...]:
    # Of the tools there are, an adviser alone names a model; what comes later may do so too.
    tools = fields.get("tools")
    if not isinstance(tools, list):
        return ()
    found = [tool for tool in tools if isinstance(tool, dict) and "model" in tool]
    if len(found) > OTHERS_MAX:
        raise BadRequest(f"tools: at most {OTHERS_MAX} may name a model")
    return tuple(map(_model, found))


def _max_tokens(fields: dict[str, Any]) -> int:
    if "max_tokens" not in fields:
        raise BadRequest("max_tokens: Field required")
    max_tokens = fields["max_tokens"]
    if not _is_count(max_tokens):
        raise BadRequest("max_tokens: Input should be a valid integer")
    if max_tokens < 0:
        raise BadRequest("max_tokens: must not be negative")
    return int(max_tokens)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse_duplicates(body: bytes) -> None:
    if len(body) > SEARCHED_BYTES_MAX:
        raise BadRequest(
            "The request body has a name twice, or its letters as escapes, and is too large to look"
            " where. Write each name once, and letters as themselves."
        )
    # The names also occur deeper down, so look again, with a parser that shows every pair. Its last
    # call is for the outermost object.
    outermost: list[str] = []

    def remember(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        outermost[:] = [name for name, _value in pairs]
        return {}

    try:
        json.loads(body, object_pairs_hook=remember)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.") from None
    for name in DECISIVE:
        if outermost.count(name) > 1:
            raise BadRequest(f"{name}: given more than once")
