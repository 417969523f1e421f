"""JSON that is kept."""

from typing import Any

import orjson


def kept_json(value: Any) -> bytes:
    """Return the JSON of `value` in the room that it needs.

    orjson leaves its working room, 8 KB at least, behind every text: nothing for one that is sent
    and forgotten, but most of the memory of ten thousand that are kept.
    """
    return bytes(memoryview(orjson.dumps(value)))
