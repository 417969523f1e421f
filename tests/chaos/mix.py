"""The kinds of requests that a crowd of developers sends, and how often. Pure but for the dice."""

import json
import random
from dataclasses import dataclass
from typing import Any

# Two that differ in price and in how long a prompt must be to be cached.
MODELS = ("claude-haiku-4-5", "claude-sonnet-4-6")
# Long enough for both models' prompt caches; the same text each time, so that it is read again.
CACHED_PROMPT = "You answer in short sentences and never guess. " * 700
PROSE = "The quick brown fox jumps over the lazy dog while the band plays on. "


@dataclass(frozen=True, slots=True)
class Question:
    """A request to send, and after how many seconds its client hangs up (`None`: never)."""

    kind: str
    body: bytes
    leave_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: its share, its marks for the simulator, and when its client leaves."""

    name: str
    share: float
    marks: str
    streamed: bool = True
    leaves_s: tuple[float, float] | None = None
    body_bytes: int = 0
    cached: bool = False


# What is in flight at any moment: each takes seconds.
SLOW = (
    Kind("paced", 50, "[[sim:tokens={tokens}]][[sim:rate={rate}]]"),
    Kind("late", 10, "[[sim:tokens=30]][[sim:rate=20]][[sim:first-byte-ms={wait_ms}]]"),
    Kind("thinking", 5, "[[sim:thinking=40]][[sim:tokens=40]][[sim:rate={rate}]]"),
    Kind("long", 12, "[[sim:tokens=250]][[sim:rate=16]]"),
    Kind("left", 12, "[[sim:tokens=200]][[sim:rate={rate}]]", leaves_s=(0.0, 4.0)),
    Kind(
        "left before an answer",
        4,
        "[[sim:tokens=50]][[sim:slow seconds=3]]",
        leaves_s=(0.05, 2.0),
    ),
    Kind("whole", 5, "[[sim:tokens=60]][[sim:rate=30]]", streamed=False),
    Kind(
        "whole, left",
        2,
        "[[sim:tokens=90]][[sim:rate=30]]",
        streamed=False,
        leaves_s=(0.1, 2.5),
    ),
)
# What comes and goes at once. Overload, and cuts before a byte, are what accounts do (stage.py).
QUICK = (
    Kind("burst", 40, "[[sim:tokens={tokens}]]"),
    Kind("whole at once", 20, "[[sim:tokens={tokens}]]", streamed=False),
    Kind("cached", 8, "[[sim:tokens=20]]", cached=True),
    Kind("large", 4, "[[sim:tokens=20]]", body_bytes=200_000),
    Kind("refused 400", 4, "[[sim:status=400]]"),
    Kind("error event", 6, "[[sim:tokens=60]][[sim:error after=20]]"),
    Kind("cut", 6, "[[sim:tokens=60]][[sim:cut after={after}]]"),
)
FILLING = (
    Kind("filling", 1, "[[sim:tokens=8]]", streamed=False),
    Kind("filling", 1, "[[sim:tokens=8]]"),
)


def question(kinds: tuple[Kind, ...], dice: random.Random) -> Question:
    """Return a request of one of the kinds."""
    (kind,) = dice.choices(kinds, [kind.share for kind in kinds])
    marks = kind.marks.format(
        tokens=dice.randint(10, 160),
        rate=dice.randint(20, 50),
        wait_ms=dice.randint(500, 5000),
        after=dice.randint(1, 40),
    )
    padding = PROSE * max(1, kind.body_bytes // len(PROSE), dice.randint(0, 20))
    body: dict[str, Any] = {
        "model": dice.choice(MODELS),
        "max_tokens": 2000,
        "stream": kind.streamed,
        # A number, so that no question is ever asked twice.
        "messages": [{"role": "user", "content": f"{padding} {marks} {dice.getrandbits(64)}"}],
    }
    if kind.cached:
        cached = {"type": "text", "text": CACHED_PROMPT, "cache_control": {"type": "ephemeral"}}
        body["system"] = [cached]
    leave_after_s = dice.uniform(*kind.leaves_s) if kind.leaves_s else None
    return Question(kind.name, json.dumps(body).encode(), leave_after_s)
