"""What may be asked of Tavily: the fields of its four calls, their bounds, and what a call costs.

A `ToolCall` is made by `tool_call` alone, so whatever holds one holds arguments within bounds.
Fields that are not known here pass as they are: Tavily adds some every few months, and answers for
them itself. Source of names and bounds: docs.tavily.com, "API reference", and tavily-python 0.8.5.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# Tavily's own bound on a query, and for instructions more than anybody writes.
QUERY_CHARS_MAX = 400
INSTRUCTIONS_CHARS_MAX = 2000
URL_CHARS_MAX = 2048
URLS_MAX = 20
RESULTS_MAX = 20
DOMAINS_MAX = 300
PATTERNS_MAX = 50
DEPTH_MAX = 5
BREADTH_MAX = 500
# Tavily's default. A crawl of as many pages costs 15 credits, of all that Tavily allows 900.
PAGES_DEFAULT = 50
PAGES_MAX = 500
UNKNOWN_FIELDS_MAX = 30

# Credits: a page of map is a tenth, one extracted a fifth; the deeper way costs twice as much.
PAGES_A_CREDIT = 10
EXTRACTS_A_CREDIT = 5


class Tool(enum.StrEnum):
    """A call of Tavily's; the value is its path."""

    SEARCH = "search"
    EXTRACT = "extract"
    CRAWL = "crawl"
    MAP = "map"


NAMES = frozenset(str(tool) for tool in Tool)


class BadArguments(ValueError):
    """The arguments cannot be sent; the message says which, in a sentence for the developer."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call within bounds. `body` is what Tavily gets; `credits_max` bounds what it can cost."""

    tool: Tool
    body: dict[str, Any]
    credits_max: int


def tool_call(tool: Tool, arguments: Mapping[str, Any]) -> ToolCall:
    """Return the call with these arguments; `None` is as good as left out.

    Raises `BadArguments`.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    given.pop("api_key", None)  # Older clients repeat their key here.
    checks = _CHECKS[tool]
    if len(given.keys() - checks.keys()) > UNKNOWN_FIELDS_MAX:
        raise BadArguments(f"{tool} has fewer fields than that.")
    for name, value in given.items():
        if name in checks:
            checks[name](name, value)
    for name in _REQUIRED[tool]:
        if not given.get(name):
            raise BadArguments(f"{tool} needs {name}.")
    if tool is Tool.EXTRACT and isinstance(given["urls"], str):
        given["urls"] = [given["urls"]]
    return ToolCall(tool, given, _credits_max(tool, given))


def credits_used(call: ToolCall, answer: Mapping[str, Any]) -> int:
    """Return what the call cost: as Tavily says, or worked out from its answer, rounded up."""
    usage = answer.get("usage")
    said = usage.get("credits") if isinstance(usage, dict) else None
    if isinstance(said, int | float) and not isinstance(said, bool) and 0 <= said < 1e6:
        return -int(-said // 1)
    results = answer.get("results")
    count = len(results) if isinstance(results, list) else 0
    if call.tool is Tool.SEARCH:
        return call.credits_max
    return _credits(call.tool, call.body, count)


def _credits_max(tool: Tool, body: Mapping[str, Any]) -> int:
    if tool is Tool.SEARCH:
        dear = body.get("search_depth") == "advanced" or bool(body.get("auto_parameters"))
        return 2 if dear else 1
    if tool is Tool.EXTRACT:
        return _credits(tool, body, len(body["urls"]))
    return _credits(tool, body, body.get("limit", PAGES_DEFAULT))


def _credits(tool: Tool, body: Mapping[str, Any], pages: int) -> int:
    extracts = -(-pages // EXTRACTS_A_CREDIT) * (
        2 if body.get("extract_depth") == "advanced" else 1
    )
    mapped = -(-pages // PAGES_A_CREDIT) * (2 if body.get("instructions") else 1)
    if tool is Tool.EXTRACT:
        return extracts
    return mapped if tool is Tool.MAP else mapped + extracts


# --- checks -------------------------------------------------------------------------------------

_Check = Callable[[str, Any], None]


def _text(chars_max: int) -> _Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or len(value) > chars_max:
            raise BadArguments(f"{name} must be text of at most {chars_max} characters.")

    return check


def _one_of(*allowed: Any) -> _Check:
    def check(name: str, value: Any) -> None:
        if not any(value is known or value == known for known in allowed):
            words = ", ".join(str(known) for known in allowed)
            raise BadArguments(f"{name} must be one of: {words}.")

    return check


def _number(least: int, most: int) -> _Check:
    def check(name: str, value: Any) -> None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value <= most:
            raise BadArguments(f"{name} must be a whole number from {least} to {most}.")

    return check


def _seconds(most: int) -> _Check:
    def check(name: str, value: Any) -> None:
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if not known or not 1 <= value <= most:
            raise BadArguments(f"{name} must be from 1 to {most} seconds.")

    return check


def _switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise BadArguments(f"{name} must be true or false.")


def _texts(count_max: int, chars_max: int = 300) -> _Check:
    def check(name: str, value: Any) -> None:
        listed = isinstance(value, list) and len(value) <= count_max
        if not listed or not all(isinstance(v, str) and len(v) <= chars_max for v in value):
            raise BadArguments(
                f"{name} must be a list of at most {count_max} texts of {chars_max} characters."
            )

    return check


def _url(name: str, value: Any) -> None:
    """Only Tavily ever fetches it; what cannot be a public web address is not worth a credit."""
    good = isinstance(value, str) and 0 < len(value) <= URL_CHARS_MAX and value.isprintable()
    try:
        parts = urlsplit(value if "://" in value else f"https://{value}") if good else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good or " " in value:
        raise BadArguments(
            f"{name} must be an http:// or https:// address of at most {URL_CHARS_MAX} characters."
        )


def _urls(name: str, value: Any) -> None:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not 0 < len(listed) <= URLS_MAX:
        raise BadArguments(f"{name} must be 1 to {URLS_MAX} addresses.")
    for one in listed:
        _url(name, one)


_SHARED: dict[str, _Check] = {
    "include_images": _switch,
    "include_favicon": _switch,
    "include_usage": _switch,
}
_EXTRACTING: dict[str, _Check] = {
    "extract_depth": _one_of("basic", "advanced"),
    "format": _one_of("markdown", "text"),
    "chunks_per_source": _number(1, 5),
}
_WALKING: dict[str, _Check] = {
    "url": _url,
    "max_depth": _number(1, DEPTH_MAX),
    "max_breadth": _number(1, BREADTH_MAX),
    "limit": _number(1, PAGES_MAX),
    "instructions": _text(INSTRUCTIONS_CHARS_MAX),
    "select_paths": _texts(PATTERNS_MAX),
    "select_domains": _texts(PATTERNS_MAX),
    "exclude_paths": _texts(PATTERNS_MAX),
    "exclude_domains": _texts(PATTERNS_MAX),
    "allow_external": _switch,
    "timeout": _seconds(150),
}
SEARCH_DEPTHS = ("basic", "advanced", "fast", "ultra-fast")
TOPICS = ("general", "news", "finance")
TIME_RANGES = ("day", "week", "month", "year")
_CHECKS: dict[Tool, dict[str, _Check]] = {
    Tool.SEARCH: _SHARED
    | {
        "query": _text(QUERY_CHARS_MAX),
        "search_depth": _one_of(*SEARCH_DEPTHS),
        "topic": _one_of(*TOPICS),
        "time_range": _one_of(*TIME_RANGES, "d", "w", "m", "y"),
        "start_date": _text(10),
        "end_date": _text(10),
        "days": _number(1, 3650),
        "max_results": _number(0, RESULTS_MAX),
        "chunks_per_source": _number(1, 3),
        "include_domains": _texts(DOMAINS_MAX),
        "exclude_domains": _texts(DOMAINS_MAX),
        "country": _text(60),
        "include_answer": _one_of(True, False, "basic", "advanced"),
        "include_raw_content": _one_of(True, False, "markdown", "text"),
        "include_image_descriptions": _switch,
        "auto_parameters": _switch,
        "exact_match": _switch,
        "timeout": _seconds(120),
    },
    Tool.EXTRACT: _SHARED
    | _EXTRACTING
    | {"urls": _urls, "query": _text(QUERY_CHARS_MAX), "timeout": _seconds(120)},
    Tool.CRAWL: _SHARED | _EXTRACTING | _WALKING,
    Tool.MAP: _SHARED | _WALKING,
}
_REQUIRED: dict[Tool, tuple[str, ...]] = {
    Tool.SEARCH: ("query",),
    Tool.EXTRACT: ("urls",),
    Tool.CRAWL: ("url",),
    Tool.MAP: ("url",),
}
