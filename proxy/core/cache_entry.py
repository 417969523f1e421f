"""The stored form of an answer: a version, what is to know about the answer, and its bytes, packed.

What cannot be read is no entry: it may come from a newer gateway, or be damaged. Packing is zlib's
fastest level, which needs nothing that Python lacks; docs/response-cache.md has the figures. Tiny
answers are only put into its wrapping, which tells damage.
"""

import zlib
from dataclasses import dataclass, fields
from typing import Any

import orjson

# Changed whenever an older gateway could misread what a newer one wrote, or the reverse.
FORMAT = b"1"
# Of what Valkey has to keep and to send in one piece.
ENTRY_BYTES_MAX = 1024 * 1024
# Unpacked: 25,000 tokens are 1 MiB of events. Nothing larger is ever unpacked.
UNPACKED_BYTES_MAX = 4 * 1024 * 1024
_LEVEL = 1
# Setting up a window of 32 KB takes longer than to pack a short answer with it; and one of some
# lines is packed for a few hundred bytes, so that is left.
_SMALL_BYTES = 16 * 1024
_TINY_BYTES = 2 * 1024

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
    filled_by: str
    stored_at_ms: int
    ttl_s: int
    charged_tokens: int
    cost_nanousd: int
    model_answered: str


_ABOUT = tuple(field.name for field in fields(Entry) if field.name != "body")


def encode(entry: Entry) -> bytes | None:
    """Return the stored form, `None` if the answer is too large for one."""
    about = {name: getattr(entry, name) for name in _ABOUT}
    # JSON escapes line breaks, so the first one ends what is to know.
    whole = orjson.dumps(about) + b"\n" + entry.body
    if len(whole) > UNPACKED_BYTES_MAX:
        return None
    packer = _packer(len(whole))
    stored = FORMAT + packer.compress(whole) + packer.flush()
    return stored if len(stored) <= ENTRY_BYTES_MAX else None


def _packer(size_bytes: int) -> Any:
    if size_bytes <= _TINY_BYTES:
        return zlib.compressobj(0, zlib.DEFLATED, 9, 1)
    window, memory = (12, 5) if size_bytes <= _SMALL_BYTES else (15, 8)
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, window, memory)


def decode(stored: bytes) -> Entry | None:
    """Return the entry, `None` if these bytes are none, or none of this format."""
    if not stored.startswith(FORMAT) or len(stored) > ENTRY_BYTES_MAX:
        return None
    try:
        about, _, body = _unpacked(stored[len(FORMAT) :]).partition(b"\n")
        return Entry(body=body, **orjson.loads(about))
    except (ValueError, TypeError, zlib.error):
        return None


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    whole = unpacking.decompress(packed, UNPACKED_BYTES_MAX)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("cut off, too large, or followed by something else")
    return whole


def ttl_s(base_s: int, prompt_tokens: int) -> int:
    """Return how long an answer is kept: the model's base, longer for longer prompts."""
    factor = next((factor for least, factor in TTL_FACTORS if prompt_tokens >= least), 1)
    return min(base_s * factor, max(base_s, TTL_S_MAX))
