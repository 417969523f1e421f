"""Limits as values, and the arithmetic that the Valkey scripts repeat. Knows no store and no clock.

One mechanism serves all rolling limits: a window cut into buckets. A bucket leaves the window
when its *last* instant does, so a count is never too low, and late by at most one bucket (by less
than two where the window is not a whole number of buckets):

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

from keys.core.text import kept_json

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

    `scope` is `k<id>.<generation>` for a key or `t<id>.<generation>` for a team: the generation
    moves when a key changes teams, so windows left on another shard are never read again.
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


def shape(limit: Limit) -> list[str | int]:
    """Return what the store must know of a window: name, unit, bucket_ms, buckets, anchored_ms."""
    anchored_ms = limit.window_s * 1000 if limit.anchored else 0
    bucket_ms = limit.bucket_s * 1000
    return [limit.window_name, limit.unit, bucket_ms, buckets(limit), anchored_ms]


def encode_question(limits: tuple[Limit, ...], concurrencies: tuple[Concurrency, ...]) -> bytes:
    """Return the limits and scopes of a policy as the JSON that `keys/lua/admit.lua` reads."""
    return kept_json(
        {
            "limits": [[*shape(li), li.limit, int(li.strict), li.scope] for li in limits],
            "scopes": [[c.scope, -1 if c.limit is None else c.limit] for c in concurrencies],
        }
    )


def buckets(limit: Limit) -> int:
    """Return how many whole buckets make up the window."""
    return -(-limit.window_s // limit.bucket_s)


def bucket_s(window_s: int) -> int:
    """Return the seconds in one bucket of a window of `window_s` seconds."""
    return max(1, -(-window_s // BUCKETS_MAX))


class Reason(enum.StrEnum):
    """What stood in the way of a denied exchange."""

    REQUESTS = "requests"
    CONCURRENCY = "concurrency"
    TOKENS = "tokens"
    NANOUSD = "nanousd"
    COUNTS = "counts"


_REASONS = {
    Unit.REQUESTS: Reason.REQUESTS,
    Unit.TOKENS: Reason.TOKENS,
    Unit.NANOUSD: Reason.NANOUSD,
    Unit.COUNTS: Reason.COUNTS,
}

# A slot or a reservation frees up when some answer ends, which nobody can foretell. A second is
# short for an agent that waits and long enough not to be a busy loop.
WAIT_FOR_OTHERS_MS = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an exchange asks to have set aside: an estimate, and an upper bound for strict limits.

    `input_*` is the input part of the soft reservation: the charge if the holder dies in silence.
    """

    tokens: int
    tokens_strict: int
    nanousd: int
    nanousd_strict: int
    input_tokens: int
    input_nanousd: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One limit as it stands. `frees_at_ms` is when its oldest use leaves, `None` if unused.

    `opens_at_ms` is when a spent limit lets a request in again; only a peek tells, `None` else.
    """

    limit: Limit
    used: int
    held: int
    frees_at_ms: int | None
    opens_at_ms: int | None = None

    @property
    def remaining(self) -> int:
        """What nobody has used or spoken for, never below 0."""
        return max(0, self.limit.limit - self.used - self.held)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Let in. `in_flight` counts exchanges of each scope of the policy, this one included."""

    now_ms: int
    readings: tuple[Reading, ...]
    in_flight: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Denied:
    """Not let in, and no counter moved.

    `reading` is the limit that keeps the caller out longest, `None` for concurrency. `retry_at_ms`
    is the first instant at which the same request can pass if nobody else comes; `None` when it
    never can, because it wants more than the limit itself.
    """

    now_ms: int
    readings: tuple[Reading, ...]
    in_flight: tuple[int, ...]
    reason: Reason
    reading: Reading | None
    scope: str
    limit: int
    wanted: int
    retry_at_ms: int | None

    @property
    def retry_after_ms(self) -> int | None:
        """Milliseconds from now until `retry_at_ms`."""
        return None if self.retry_at_ms is None else max(0, self.retry_at_ms - self.now_ms)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One failed limit: its reading, its live buckets (index, amount) and what was asked of it."""

    reading: Reading
    buckets: tuple[tuple[int, int], ...]
    wanted: int


def deny(
    now_ms: int,
    readings: tuple[Reading, ...],
    in_flight: tuple[int, ...],
    obstacles: tuple[Obstacle, ...],
    full: tuple[Concurrency, ...],
) -> Denied:
    """Build the denial out of everything that failed: the longest wait speaks for all."""
    candidates = [_denied_by(now_ms, readings, in_flight, obstacle) for obstacle in obstacles]
    candidates += [
        Denied(
            now_ms=now_ms,
            readings=readings,
            in_flight=in_flight,
            reason=Reason.CONCURRENCY,
            reading=None,
            scope=concurrency.scope,
            limit=concurrency.limit or 0,
            wanted=1,
            retry_at_ms=now_ms + WAIT_FOR_OTHERS_MS if concurrency.limit else None,
        )
        for concurrency in full
    ]
    return max(candidates, key=_wait_order)


def _wait_order(denied: Denied) -> tuple[bool, int]:
    return (denied.retry_at_ms is None, denied.retry_at_ms or 0)


def _denied_by(
    now_ms: int,
    readings: tuple[Reading, ...],
    in_flight: tuple[int, ...],
    obstacle: Obstacle,
) -> Denied:
    limit = obstacle.reading.limit
    return Denied(
        now_ms=now_ms,
        readings=readings,
        in_flight=in_flight,
        reason=_REASONS[limit.unit],
        reading=obstacle.reading,
        scope=limit.scope,
        limit=limit.limit,
        wanted=obstacle.wanted,
        retry_at_ms=retry_at_ms(obstacle, now_ms),
    )


def retry_at_ms(obstacle: Obstacle, now_ms: int) -> int | None:
    """Return the earliest instant at which enough has rolled off, if nobody else comes.

    Reservations in flight are left out: when only they stand in the way it is a short wait.
    `None` when even an empty window would refuse.
    """
    reading = obstacle.reading
    room = _room(obstacle)
    if room < 0:
        return None
    used = reading.used
    if used <= room:
        return now_ms + WAIT_FOR_OTHERS_MS
    if reading.limit.anchored:
        return reading.frees_at_ms
    for index, amount in sorted(obstacle.buckets):
        used -= amount
        if used <= room:
            return leaves_at_ms(reading.limit, index)
    # The buckets sum to `used`, so an empty window was reached above; a torn reply ends here.
    return now_ms + reading.limit.window_s * 1000


def leaves_at_ms(limit: Limit, index: int) -> int:
    """Return the instant at which bucket `index` leaves the window of `limit`."""
    return (index + buckets(limit) + 1) * limit.bucket_s * 1000


def _room(obstacle: Obstacle) -> int:
    """The most that may be used for this request to pass, were nothing held."""
    limit = obstacle.reading.limit
    if limit.unit in (Unit.REQUESTS, Unit.COUNTS):
        return limit.limit - 1
    if limit.strict:
        return limit.limit - obstacle.wanted
    return limit.limit - 1
