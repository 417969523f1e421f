"""The tools of the MCP server: names, words for models to choose by, and JSON schemas. Pure.

The bounds are those of `webtools.core.calls`, which checks them again; a test holds the two equal.
"""

from typing import Any

from webtools.core.calls import (
    BREADTH_MAX,
    DEPTH_MAX,
    DOMAINS_MAX,
    INSTRUCTIONS_CHARS_MAX,
    PAGES_MAX,
    PATTERNS_MAX,
    QUERY_CHARS_MAX,
    RESULTS_MAX,
    SEARCH_DEPTHS,
    TIME_RANGES,
    TOPICS,
    URL_CHARS_MAX,
    URLS_MAX,
    Tool,
)

# Fewer than Tavily's own default: a page has some thousand characters, and costs.
PAGES_DEFAULT = 20
RESULTS_DEFAULT = 5
USAGE_DAYS_DEFAULT = 30
USAGE_DAYS_MAX = 90

Schema = dict[str, Any]


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | {"required": list(required)} if required else schema


def _text(description: str, chars_max: int) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": chars_max, "description": description}


def _choice(description: str, words: tuple[str, ...], default: str | None = None) -> Schema:
    schema: Schema = {"type": "string", "enum": list(words), "description": description}
    return schema | {"default": default} if default else schema


def _number(description: str, least: int, most: int, default: int) -> Schema:
    return {
        "type": "integer",
        "minimum": least,
        "maximum": most,
        "default": default,
        "description": description,
    }


def _texts(description: str, count_max: int, chars_max: int = 300) -> Schema:
    item = {"type": "string", "maxLength": chars_max}
    return {"type": "array", "items": item, "maxItems": count_max, "description": description}


_DEPTH = _choice("advanced reads more, such as tables; it costs double.", ("basic", "advanced"))
_FORMAT = _choice("How pages are given.", ("markdown", "text"), "markdown")
_URL = _text("An http:// or https:// address. Only Tavily fetches it.", URL_CHARS_MAX)

INPUTS: dict[str, Schema] = {
    Tool.SEARCH: _object(
        {
            "query": _text("What to look for, in a few words.", QUERY_CHARS_MAX),
            "topic": _choice("The kind of source.", TOPICS, "general"),
            "search_depth": _choice(
                "advanced finds more fitting excerpts; it costs double.", SEARCH_DEPTHS, "basic"
            ),
            "max_results": _number("How many results.", 1, RESULTS_MAX, RESULTS_DEFAULT),
            "time_range": _choice("Only what is newer than this.", TIME_RANGES),
            "include_domains": _texts("Only from these domains.", DOMAINS_MAX),
            "exclude_domains": _texts("Nothing from these domains.", DOMAINS_MAX),
        },
        "query",
    ),
    Tool.EXTRACT: _object(
        {
            "urls": {
                "type": "array",
                "items": _URL,
                "minItems": 1,
                "maxItems": URLS_MAX,
                "description": "The pages to read.",
            },
            "format": _FORMAT,
            "extract_depth": _DEPTH,
        },
        "urls",
    ),
    Tool.CRAWL: _object(
        {
            "url": _URL,
            "max_depth": _number("How many links away from it.", 1, DEPTH_MAX, 1),
            "max_breadth": _number("How many links of each page.", 1, BREADTH_MAX, 20),
            "limit": _number("How many pages at most.", 1, PAGES_MAX, PAGES_DEFAULT),
            "instructions": _text(
                "In words, which pages are wanted; it costs double.", INSTRUCTIONS_CHARS_MAX
            ),
            "select_paths": _texts("Only paths that match these expressions.", PATTERNS_MAX),
            "format": _FORMAT,
            "extract_depth": _DEPTH,
        },
        "url",
    ),
    Tool.MAP: _object(
        {
            "url": _URL,
            "max_depth": _number("How many links away from it.", 1, DEPTH_MAX, 1),
            "max_breadth": _number("How many links of each page.", 1, BREADTH_MAX, 20),
            "limit": _number("How many addresses at most.", 1, PAGES_MAX, 50),
            "instructions": _text(
                "In words, which pages are wanted; it costs double.", INSTRUCTIONS_CHARS_MAX
            ),
            "select_paths": _texts("Only paths that match these expressions.", PATTERNS_MAX),
        },
        "url",
    ),
    "key_status": _object({}),
    "usage": _object(
        {"days": _number("How many days back.", 1, USAGE_DAYS_MAX, USAGE_DAYS_DEFAULT)}
    ),
    "list_models": _object({}),
}

_PAGE: Schema = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "url": {"type": "string"},
        "content": {"type": "string"},
        "raw_content": {"type": "string"},
        "score": {"type": "number"},
    },
}


def _found(item: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "base_url": {"type": "string"},
            "answer": {"type": "string"},
            "results": {"type": "array", "items": item},
            "failed_results": {"type": "array", "items": {"type": "object"}},
            "images": {"type": "array", "items": {"type": "string"}},
            "truncated": {"type": "boolean", "description": "Whether something was left off."},
            "credits": {"type": "integer", "description": "What Tavily charged for it."},
            "cached": {"type": "boolean", "description": "Whether it is a kept answer."},
        },
        "required": ["results", "truncated", "credits", "cached"],
    }


def _listed(name: str, **fields: str) -> Schema:
    item = {
        "type": "object",
        "properties": {field: {"type": kind} for field, kind in fields.items()},
        "required": list(fields),
    }
    return {"type": "array", "items": item, "description": name}


OUTPUTS: dict[str, Schema] = {
    Tool.SEARCH: _found(_PAGE),
    Tool.EXTRACT: _found(_PAGE),
    Tool.CRAWL: _found(_PAGE),
    Tool.MAP: _found({"type": "string"}),
    "key_status": {
        "type": "object",
        "properties": {
            "key": {"type": "string"},
            "status": {"type": "string"},
            "web_tools": {
                "type": "object",
                "properties": {"enabled": {"type": "boolean"}, "set_up": {"type": "boolean"}},
                "required": ["enabled", "set_up"],
            },
        },
        "required": ["key", "status", "web_tools"],
    },
    "usage": {
        "type": "object",
        "properties": {
            "days": {"type": "integer"},
            "requests": {"type": "integer"},
            "charged_tokens": {"type": "integer"},
            "cost_usd": {"type": "number"},
            "by_model": _listed(
                "The dearest first.",
                model="string",
                requests="integer",
                charged_tokens="integer",
                cost_usd="number",
            ),
        },
        "required": ["days", "requests", "charged_tokens", "cost_usd", "by_model"],
    },
    "list_models": {
        "type": "object",
        "properties": {
            "models": _listed(
                "In the order of lists.",
                id="string",
                display_name="string",
                max_input_tokens="integer",
                max_tokens="integer",
            )
        },
        "required": ["models"],
    },
}

TITLES: dict[str, str] = {
    Tool.SEARCH: "Search the web",
    Tool.EXTRACT: "Read web pages",
    Tool.CRAWL: "Crawl a site",
    Tool.MAP: "Map a site",
    "key_status": "Key status",
    "usage": "Usage",
    "list_models": "Models",
}

DESCRIPTIONS: dict[str, str] = {
    Tool.SEARCH: "Search the web. Returns titles, addresses and the excerpts that fit the query.",
    Tool.EXTRACT: "Read the text of up to 20 web pages whose addresses are known.",
    Tool.CRAWL: "Follow the links of a site from one address on and read the pages. Takes up to"
    " two minutes; use map first when only addresses are wanted.",
    Tool.MAP: "List the addresses of a site from one address on, without reading the pages.",
    "key_status": "How this API key stands: its limits, what is left of its budgets, its models.",
    "usage": "What this API key used and what it cost, by model, over the last days.",
    "list_models": "The Claude models that this API key may use.",
}
