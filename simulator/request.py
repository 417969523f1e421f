"""A request to the Messages API: checked with Anthropic's wording, then a value. Knows no HTTP.

Checks what clients meet in practice, not the whole schema: content blocks of unknown types and,
when an `anthropic-beta` is named, unknown fields are let through, since those lists are open.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from simulator.catalogue import Catalogue, Model
from simulator.errors import Refused
from simulator.prompt import last_user_texts, tool_loop
from simulator.prompt_cache import TTLS_S

Body = dict[str, Any]

NEWEST_VERSION = "2026-10-21"
VERSIONS = ("2023-06-01", NEWEST_VERSION)
# Gone with NEWEST_VERSION, even at their defaults.
SAMPLING = ("temperature", "top_p", "top_k")
BREAKPOINTS_MAX = 4
MESSAGES_MAX = 100_000
THINKING_TOKENS_MIN = 1024
ROLES = ("user", "assistant", "system")
FIELDS = frozenset(
    (
        *("model", "max_tokens", "messages", "cache_control", "container", "context_management"),
        *("diagnostics", "inference_geo", "mcp_servers", "metadata", "output_config"),
        *("output_format", "service_tier", "speed", "stop_sequences", "stream", "system"),
        *("temperature", "thinking", "tool_choice", "tools", "top_k", "top_p"),
    )
)
EMPTY = "all messages must have non-empty content except for the optional final assistant message"
BUDGET_TOO_LARGE = (
    "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation "
    "at https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
    "#max-tokens-and-context-window-sizes"
)


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """A checked request. `max_tokens` is 0 when tokens are only counted.

    In a later `round` of tool calls `began` has the texts that began them, `results` the newest
    results.
    """

    body: Body
    model: Model
    max_tokens: int
    stream: bool
    texts: tuple[str, ...]
    round: int = 0
    began: tuple[str, ...] = ()
    results: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All text of the last user message."""
        return "\n".join(self.texts)

    @property
    def tools(self) -> list[Body]:
        """Tools that the client runs itself; upstream's own have no schema."""
        return [tool for tool in self.body.get("tools") or () if "input_schema" in tool]

    @property
    def tool_choice(self) -> Body:
        """What the client asked for: `auto` if nothing."""
        return self.body.get("tool_choice") or {"type": "auto"}

    @property
    def thinking(self) -> Body:
        """The client's `thinking`, or one that is disabled."""
        return self.body.get("thinking") or {"type": "disabled"}

    @property
    def schema(self) -> Body | None:
        """The JSON schema that the answer must have, if any."""
        output = self.body.get("output_config") or {}
        wanted = output.get("format") or self.body.get("output_format") or {}
        return wanted.get("schema") if wanted.get("type") == "json_schema" else None


def check_version(version: str) -> None:
    """Refuse a missing or unknown `anthropic-version`."""
    if not version:
        raise Refused(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise Refused(400, f'anthropic-version: "{version}" is not a valid version')


def decode(raw: bytes) -> Body:
    """Return the JSON object in `raw`."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused(400, "Input should be a valid dictionary or object to extract fields from")
    return body


def check(
    body: Body, *, version: str, betas: str, catalogue: Catalogue, counting: bool
) -> MessageRequest:
    """Return the request that `body` makes, or refuse it. `counting` needs no `max_tokens`."""
    _check_fields(body, version, betas)
    model = _model(body, catalogue)
    max_tokens = 0 if counting else _max_tokens(body, model)
    _check_messages(_required(body, "messages"), version)
    _check_system(body.get("system"))
    _check_options(body)
    _check_tools(body)
    _check_thinking(body.get("thinking"), max_tokens)
    _check_breakpoints(body)
    stream = body.get("stream") is True
    return MessageRequest(body, model, max_tokens, stream, last_user_texts(body), *tool_loop(body))


def _check_fields(body: Body, version: str, betas: str) -> None:
    if version == NEWEST_VERSION:
        for name in SAMPLING:
            if name in body:
                raise Refused(400, f"{name}: Extra inputs are not permitted")
    unknown = body.keys() - FIELDS
    if unknown and not betas:
        raise Refused(400, f"{min(unknown)}: Extra inputs are not permitted")


def _required(body: Mapping[str, Any], name: str, path: str = "") -> Any:
    if name not in body:
        raise Refused(400, f"{path}{name}: Field required")
    return body[name]


def _model(body: Body, catalogue: Catalogue) -> Model:
    name = _required(body, "model")
    if not isinstance(name, str):
        raise Refused(400, "model: Input should be a valid string")
    model = catalogue.find(name)
    if model is None:
        raise Refused(404, f"model: {name}")
    return model


def _max_tokens(body: Body, model: Model) -> int:
    wanted = _required(body, "max_tokens")
    if type(wanted) is not int:
        raise Refused(400, "max_tokens: Input should be a valid integer")
    if wanted < 1:
        raise Refused(400, "max_tokens: Input should be greater than or equal to 1")
    if wanted > model.output_tokens_max:
        raise Refused(
            400,
            f"max_tokens: {wanted} > {model.output_tokens_max}, which is the maximum allowed "
            f"number of output tokens for {model.model_id}",
        )
    return wanted


def _check_messages(messages: object, version: str) -> None:
    if not isinstance(messages, list):
        raise Refused(400, "messages: Input should be a valid list")
    if not messages:
        raise Refused(400, "messages: at least one message is required")
    if len(messages) > MESSAGES_MAX:
        raise Refused(400, f"messages: List should have at most {MESSAGES_MAX} items")
    for number, message in enumerate(messages):
        _check_message(message, number, number == len(messages) - 1, version)
    if messages[0]["role"] == "assistant":
        raise Refused(400, 'messages: first message must use the "user" role')


def _check_message(message: object, number: int, last: bool, version: str) -> None:
    path = f"messages.{number}"
    if not isinstance(message, dict):
        raise Refused(400, f"{path}: Input should be a valid dictionary or object")
    role = _required(message, "role", f"{path}.")
    if role not in ROLES:
        raise Refused(
            400, f'messages: Unexpected role "{role}". Allowed roles are "user" or "assistant"'
        )
    content = _required(message, "content", f"{path}.")
    if not content and not (last and role == "assistant"):
        raise Refused(400, f"{path}: {EMPTY}")
    _check_blocks(content, f"{path}.content", "messages")
    if version == NEWEST_VERSION and isinstance(content, list):
        _check_newest_blocks(content, f"{path}.content", role)


def _check_blocks(content: object, path: str, owner: str) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise Refused(400, f"{path}: Input should be a valid list")
    for number, block in enumerate(content):
        place = f"{path}.{number}"
        if not isinstance(block, dict):
            raise Refused(400, f"{place}: Input should be a valid dictionary or object")
        kind = _required(block, "type", f"{place}.")
        if not isinstance(kind, str):
            raise Refused(400, f"{place}.type: Input should be a valid string")
        if kind == "text":
            _check_text(block, place, owner)
        elif kind == "tool_result" and block.get("content"):
            _check_blocks(block["content"], f"{place}.tool_result.content", owner)


def _check_text(block: Body, path: str, owner: str) -> None:
    text = _required(block, "text", f"{path}.text.")
    if not isinstance(text, str):
        raise Refused(400, f"{path}.text.text: Input should be a valid string")
    if not text:
        raise Refused(400, f"{owner}: text content blocks must be non-empty")


def _check_newest_blocks(content: list[Body], path: str, role: str) -> None:
    for number, block in enumerate(content):
        if role == "assistant" and block["type"] == "document":
            raise Refused(
                400, f"{path}.{number}: document blocks are not permitted in assistant messages"
            )
        if role == "user" and block["type"] == "text" and block.get("citations"):
            raise Refused(400, f"{path}.{number}.text.citations: Extra inputs are not permitted")


def _check_system(system: object) -> None:
    if system is not None:
        _check_blocks(system, "system", "system")


def _check_options(body: Body) -> None:
    if not isinstance(body.get("stream", False), bool | None):
        raise Refused(400, "stream: Input should be a valid boolean")
    temperature = body.get("temperature")
    if temperature is not None and not (
        isinstance(temperature, int | float) and 0 <= temperature <= 1
    ):
        raise Refused(400, "temperature: range: 0..1")
    sequences = body.get("stop_sequences") or []
    if not isinstance(sequences, list) or not all(isinstance(one, str) for one in sequences):
        raise Refused(400, "stop_sequences: Input should be a valid list")
    if not all(one.strip() for one in sequences):
        raise Refused(400, "stop_sequences: each stop sequence must contain non-whitespace")
    for name in ("metadata", "output_config", "output_format", "tool_choice", "thinking"):
        if not isinstance(body.get(name), dict | None):
            raise Refused(400, f"{name}: Input should be a valid dictionary or object")
    if not isinstance((body.get("output_config") or {}).get("format"), dict | None):
        raise Refused(400, "output_config.format: Input should be a valid dictionary or object")


def _check_tools(body: Body) -> None:
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Refused(400, "tools: Input should be a valid list")
    for number, tool in enumerate(tools):
        if tool.get("type") in (None, "custom"):
            _required(tool, "name", f"tools.{number}.custom.")
            schema = _required(tool, "input_schema", f"tools.{number}.custom.")
            if not isinstance(schema, dict):
                raise Refused(
                    400, f"tools.{number}.custom.input_schema: Input should be a valid dictionary"
                )
    names = [str(tool["name"]) for tool in tools if "name" in tool]
    if len(set(names)) < len(names):
        raise Refused(400, "tools: Tool names must be unique.")
    choice = body.get("tool_choice") or {}
    if choice.get("type") == "tool" and choice.get("name") not in names:
        raise Refused(400, f"Tool '{choice.get('name')}' not found in provided tools")


def _check_thinking(thinking: Body | None, max_tokens: int) -> None:
    if not thinking or thinking.get("type") != "enabled":
        return
    budget = _required(thinking, "budget_tokens", "thinking.enabled.")
    if type(budget) is not int or budget < THINKING_TOKENS_MIN:
        raise Refused(
            400,
            "thinking.enabled.budget_tokens: Input should be greater than or equal to "
            f"{THINKING_TOKENS_MIN}",
        )
    if max_tokens and budget >= max_tokens:
        raise Refused(400, BUDGET_TOO_LARGE)


def _check_breakpoints(body: Body) -> None:
    blocks = [*(body.get("tools") or ()), *_dicts(body.get("system"))]
    for message in body["messages"]:
        blocks.extend(_dicts(message["content"]))
    controls = [block["cache_control"] for block in [body, *blocks] if block.get("cache_control")]
    for control in controls:
        if not isinstance(control, dict) or control.get("type") != "ephemeral":
            raise Refused(400, "cache_control.type: Input should be 'ephemeral'")
        if control.get("ttl", "5m") not in tuple(TTLS_S):
            raise Refused(400, "cache_control.ephemeral.ttl: Input should be '5m' or '1h'")
    if len(controls) > BREAKPOINTS_MAX:
        raise Refused(
            400,
            f"A maximum of {BREAKPOINTS_MAX} blocks with cache_control may be provided. "
            f"Found {len(controls)}.",
        )


def _dicts(content: object) -> list[Body]:
    return content if isinstance(content, list) else []
