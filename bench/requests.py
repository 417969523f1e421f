"""The requests of the load: what an official SDK sends, of a chosen size.

No two bodies of a run are alike, so that nothing between client and upstream can answer one from
another; unless that is what is measured.
"""

import random
from collections.abc import Callable, Iterator
from itertools import count, cycle, repeat

import orjson

from bench import http1
from bench.recorded import ANSWER_HEADER

# Asks for the parts of one request, to be written one after the other.
NextRequest = Callable[[], tuple[bytes, ...]]

# As the Python SDK sends them, less the ones that name a machine.
SDK_HEADERS = {
    "host": "127.0.0.1",
    "accept": "application/json",
    "accept-encoding": "identity",
    "content-type": "application/json",
    "user-agent": "Anthropic/Python 0.79.0",
    "anthropic-version": "2023-06-01",
    "x-stainless-lang": "python",
    "x-stainless-package-version": "0.79.0",
    "x-stainless-retry-count": "0",
    "x-stainless-timeout": "600",
}
MODEL = "claude-haiku-4-5"
_SERIAL = "000000000000"
# Of a process: several sources, and several processes, never send the same.
_serials = count(random.randrange(10**11))
# One message of an agent's transcript: a tool result with the escapes that code has.
_PASSAGE = (
    'def total(rows):\n\t"""Return the sum."""\n\treturn sum(row["amount"] for row in rows)\n'
)
_PASSAGE_REPEATS = 20


def body(size_bytes: int, *, streamed: bool) -> bytes:
    """Return a Messages body of exactly `size_bytes`, its serial number still all zeros."""
    messages = [{"role": "user", "content": f"{_SERIAL} "}]
    asked = {"model": MODEL, "max_tokens": 1024, "stream": streamed, "messages": messages}
    for role in cycle(("assistant", "user")):
        message = {"role": role, "content": _PASSAGE * _PASSAGE_REPEATS}
        if len(orjson.dumps(asked)) + len(orjson.dumps(message)) + 1 > size_bytes:
            break
        messages.append(message)
    messages[0]["content"] += "x" * (size_bytes - len(orjson.dumps(asked)))
    return orjson.dumps(asked)


def requests(
    secrets: list[str], size_bytes: int, answer: str, *, alike: bool = False
) -> NextRequest:
    """Return a source of requests with the keys `secrets` in turn, to be answered by `answer`.

    They are the first of their kind, or all `alike`.
    """
    content = body(size_bytes, streamed=answer != "whole")
    before, after = content.split(_SERIAL.encode(), 1)
    heads = cycle([_head(secret, answer, len(content)) for secret in secrets])
    serials: Iterator[int] = repeat(next(_serials)) if alike else _serials

    def next_request() -> tuple[bytes, ...]:
        return next(heads) + before + b"%012d" % next(serials), after

    return next_request


def _head(secret: str, answer: str, length: int) -> bytes:
    headers = SDK_HEADERS | {"x-api-key": secret, ANSWER_HEADER: answer}
    return http1.head("/v1/messages", headers, length)
