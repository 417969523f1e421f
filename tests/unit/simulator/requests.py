"""Valid requests for the unit tests of the simulator."""

from simulator.catalogue import Catalogue
from simulator.request import NEWEST_VERSION, check

TOOL = {
    "name": "weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def a_body(text="Hello", **fields):
    return {
        "model": "claude-sonnet-4-6",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": text}],
    } | fields


def checked(body, version=NEWEST_VERSION, betas="", counting=False):
    return check(body, version=version, betas=betas, catalogue=Catalogue(), counting=counting)
