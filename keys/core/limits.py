"""Limits as values, and the arithmetic that the Valkey scripts repeat. Knows no store and no clock.

One mechanism serves all rolling limits: a window cut into buckets. A bucket leaves the window
when its *last* instant does, so a count is never too low, and late by at most one bucket:

    now = 125 s, window 60 s, bucket 1 s: live are the buckets 65 … 125, that is 61 of them.

An `anchored` window starts at its first use, ends `window_s` later all at once, and the next
use starts the next one.

Rules of admission, for every limit of every scope at once:

    soft      used + held < limit                 let in while anything is left
    strict    used + held + wanted <= limit       never exceeded
    requests  used + 1 <= limit                   each admission is used at once

`None` is no limit (and so no `Limit` value), 0 is nothing, n is n.
"""

import enum
from dataclasses import dataclass

# Bounds the memory of a window and the cost of a denial's walk; a 5-hour window gets minutes.
BUCKETS_MAX = 300
# Lua's numbers are doubles: whole up to 2**53. As nano-dollars that is nine million dollars.
AMOUNT_MAX = 2**53 - 1


class Unit(enum.StrEnum):
    """What a limit counts. The values are part of the names of Valkey keys."""

    REQUESTS = "req"
    TOKENS = "tok"
    NANOUSD = "usd"
    COUNTS = "cnt"  # calls of count_tokens, which have their own generous limit


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `limit` of `unit` in any window of `window_s` seconds, over all of `scope`.

    `scope` is `k<id>.<generation>` for a key or `t<id>.<generation>` for a team: the generation moves
    when a key changes teams, so windows left on another shard are never read again.
    `reset_at_ms` is when an operator last emptied the window, 0 if never.
    """

    scope: str
    unit: Unit
    window_s: int
    limit: int
    strict: bool = False
    anchored: bool = False
    reset_at_ms: int = 0

    @property
    def bucket_s(self) -> int:
        """Seconds in one bucket: at least 1, and never more than `BUCKETS_MAX` buckets."""
        return bucket_s(self.window_s)

    @property
    def window_name(self) -> str:
        """The name of the window in the store, without the shard: `k12.0:tok:18000`."""
        anchored = ":a" if self.anchored else ""
        return f"{self.scope}:{self.unit}:{self.window_s}{anchored}"


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `limit` exchanges in flight over all of `scope`; `None` only counts them."""

    scope: str
    limit: int | None


def bucket_s(window_s: int) -> int:
    """Return the seconds in one bucket of a window of `window_s` seconds."""
    return max(1, -(-window_s // BUCKETS_MAX))
