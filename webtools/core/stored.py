"""An answer of a web tool as the cache keeps it, and its name there. Pure."""

import hashlib
import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from webtools.core.calls import Tool, ToolCall

# Moves when what is stored changes its meaning, so that no old entry is read as a new one.
RECIPE = "web-1"
STORED_BYTES_MAX = 1024 * 1024
# The web changes: a search about the news sooner than a page.
TTL_S = {Tool.SEARCH: 600, Tool.EXTRACT: 3600, Tool.CRAWL: 3600, Tool.MAP: 3600}


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer, the request that it was made for, and what that was charged."""

    filled_by: str
    credits: int
    cost_nanousd: int
    answer: dict[str, Any]


def digest(call: ToolCall) -> str:
    """Return the name of a call: equal for equal arguments, in whatever order."""
    body = orjson.dumps([RECIPE, call.tool, call.body], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()


def encode(stored: Stored) -> bytes | None:
    """Return the entry to keep, `None` for one that is too large."""
    plain = orjson.dumps(stored)
    return zlib.compress(plain, 1) if len(plain) <= STORED_BYTES_MAX else None


def decode(entry: bytes) -> Stored | None:
    """Return what an entry holds, `None` if it cannot be read."""
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(entry, STORED_BYTES_MAX)
        return Stored(**orjson.loads(plain))
    except (zlib.error, orjson.JSONDecodeError, TypeError):
        return None
