"""The stored form of an answer: a version, what is to know about the answer, and its bytes, packed.

What cannot be read is no entry: it may come from a newer gateway, or be damaged. Packing is zlib's
fastest level, which needs nothing that Python lacks; docs/response-cache.md has the figures.
"""

import zlib
from dataclasses import asdict, dataclass

import orjson

# Changed whenever an older gateway could misread what a newer one wrote, or the reverse.
FORMAT = b"1"
# Of what Valkey has to keep and to send in one piece.
ENTRY_BYTES_MAX = 1024 * 1024
# Of the answer unpacked: 25,000 tokens are 1 MiB of events. Nothing larger is ever unpacked.
ANSWER_BYTES_MAX = 4 * 1024 * 1024
_LEVEL = 1
# A format, then the length of what is to know, then that, then the answer.
_LENGTH_BYTES = 2
_ABOUT = len(FORMAT) + _LENGTH_BYTES

TTL_S_MAX = 24 * 3600
# From so many prompt tokens on an entry lives so many times as long: what saves more stays longer.
TTL_FACTORS = ((64_000, 16), (16_000, 8), (4_000, 4), (1_000, 2))


@dataclass(frozen=True, slots=True)
class Entry:
    """A kept answer: events if `streamed`, else a message as JSON.

    `filled_by` is the request id of the exchange that brought it, `charged_tokens` and
    `cost_nanousd` what that was charged.
    """

    body: bytes
    streamed: bool
    content_type: str
    filled_by: str
    stored_at_ms: int
    ttl_s: int
    charged_tokens: int
    cost_nanousd: int
    model_answered: str


def encode(entry: Entry) -> bytes | None:
    """Return the stored form, `None` if it or the answer would be too large."""
    if len(entry.body) > ANSWER_BYTES_MAX:
        return None
    fields = asdict(entry)
    packed = zlib.compress(fields.pop("body"), _LEVEL)
    about = orjson.dumps(fields)
    stored = FORMAT + len(about).to_bytes(_LENGTH_BYTES, "big") + about + packed
    return stored if len(stored) <= ENTRY_BYTES_MAX else None


def decode(stored: bytes) -> Entry | None:
    """Return the entry, `None` if these bytes are none, or none of this format."""
    if not stored.startswith(FORMAT) or len(stored) > ENTRY_BYTES_MAX:
        return None
    start = _ABOUT + int.from_bytes(stored[len(FORMAT) : _ABOUT], "big")
    try:
        fields = orjson.loads(stored[_ABOUT:start])
        return Entry(body=_unpacked(stored[start:]), **fields)
    except (ValueError, TypeError, zlib.error):
        return None


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    body = unpacking.decompress(packed, ANSWER_BYTES_MAX)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("cut off, too large, or followed by something else")
    return body


def ttl_s(base_s: int, prompt_tokens: int) -> int:
    """Return how long an answer is kept: the model's base, longer for longer prompts."""
    factor = next((factor for least, factor in TTL_FACTORS if prompt_tokens >= least), 1)
    return min(base_s * factor, max(base_s, TTL_S_MAX))
