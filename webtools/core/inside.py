"""The web tools as Claude gets them inside Messages: names, schemas, bounds of its calls. Pure."""

from typing import Any

from webtools.core.calls import BadArguments, Tool
from webtools.core.catalogue import DESCRIPTIONS, INPUTS
from webtools.core.rounds import Use

# Some 10,000 tokens: a few pages, and a tenth of what the models take.
RESULT_CHARS_MAX = 40_000
# What Claude decides on somebody's money: a crawl of as many pages costs 6 credits.
PAGES_MAX = 20

MODEL_TOOLS = {f"web_{tool}": tool for tool in Tool}
TOOLS: list[dict[str, Any]] = [
    {"name": name, "description": DESCRIPTIONS[tool], "input_schema": INPUTS[tool]}
    for name, tool in MODEL_TOOLS.items()
]
_BOUNDED = (Tool.CRAWL, Tool.MAP)


def arguments_of(use: Use) -> tuple[Tool, dict[str, Any]]:
    """Return the tool and the arguments of a call. Raises `BadArguments`."""
    if use.arguments is None:
        raise BadArguments("The input of the call is not a JSON object.")
    tool, arguments = MODEL_TOOLS[use.name], dict(use.arguments)
    limit = arguments.get("limit")
    if tool in _BOUNDED and (not isinstance(limit, int) or limit > PAGES_MAX):
        arguments["limit"] = PAGES_MAX
    return tool, arguments
