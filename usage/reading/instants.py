"""Where steps begin in a zone, and which grains of the roll-ups add up to a span.

Roll-ups keep quarters of an hour of UTC, so that days are right in every zone: all of them are some
quarters away from UTC, India by 22 and Nepal by 23. Coarser grains are read where whole ones of UTC
lie inside; only quarters and hours at the edges need finer ones.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from usage.reading.question import STEPS_MAX, Span, Step, Unanswerable

QUARTER = dt.timedelta(minutes=15)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
# How long a row of a grain is; months differ.
LENGTHS = {"q": QUARTER, "h": HOUR, "d": DAY}


@dataclass(frozen=True, slots=True)
class Piece:
    """The rows of one grain in [start, end)."""

    grain: str
    start: dt.datetime
    end: dt.datetime


def floor(at: dt.datetime, grain: str) -> dt.datetime:
    """Return the beginning of the quarter, hour, day or month of UTC that `at` is in."""
    utc = at.astimezone(dt.UTC)
    if grain == "q":
        return utc.replace(minute=utc.minute // 15 * 15, second=0, microsecond=0)
    hour = utc.replace(minute=0, second=0, microsecond=0)
    if grain == "h":
        return hour
    return hour.replace(hour=0) if grain == "d" else hour.replace(hour=0, day=1)


def _ceiling(at: dt.datetime, grain: str) -> dt.datetime:
    begun = floor(at, grain)
    if begun == at:
        return begun
    if grain == "m":
        return floor(begun + 32 * DAY, "m")
    return begun + LENGTHS[grain]


def pieces(span: Span, grains: str) -> list[Piece]:
    """Return what covers the span exactly once, coarse where it can be; ends count to quarters."""
    return _pieces(floor(span.start, "q"), _ceiling(span.end, "q"), grains)


def _pieces(start: dt.datetime, end: dt.datetime, grains: str) -> list[Piece]:
    if start >= end:
        return []
    grain, finer = grains[0], grains[1:]
    if not finer:
        return [Piece(grain, start, end)]
    first, last = _ceiling(start, grain), floor(end, grain)
    if first >= last:
        return _pieces(start, end, finer)
    middle = Piece(grain, first, last)
    return [*_pieces(start, first, finer), middle, *_pieces(last, end, finer)]


def grains_for(starts: Sequence[dt.datetime], grains: str) -> str:
    """Return those of `grains` that no step begins in the middle of, but for the first."""
    inner = starts[1:]
    return "".join(g for g in grains if g == "q" or all(floor(at, g) == at for at in inner))


def step_starts(span: Span, step: Step, zone: ZoneInfo) -> list[dt.datetime]:
    """Return where the steps of the span begin, the first with the one that `start` is in.

    Raises `Unanswerable` when there are more than `STEPS_MAX`.
    """
    starts = [_begin(span.start.astimezone(zone), step, zone)]
    while (after := _next(starts[-1], step, zone)) < span.end:
        starts.append(after)
        if len(starts) > STEPS_MAX:
            raise Unanswerable(f"More than {STEPS_MAX:,} steps: ask for longer ones.")
    return starts


def _begin(at: dt.datetime, step: Step, zone: ZoneInfo) -> dt.datetime:
    if step is Step.QUARTER:
        return floor(at, "q").astimezone(zone)
    if step is Step.HOUR:
        # By the clock on the wall, whose hours need not be those of UTC.
        past = dt.timedelta(minutes=at.minute, seconds=at.second, microseconds=at.microsecond)
        return (at.astimezone(dt.UTC) - past).astimezone(zone)
    date = at.date()
    if step is Step.WEEK:
        date -= dt.timedelta(days=date.weekday())
    return midnight(date.replace(day=1) if step is Step.MONTH else date, zone)


def _next(start: dt.datetime, step: Step, zone: ZoneInfo) -> dt.datetime:
    if step in (Step.QUARTER, Step.HOUR):
        later = start.astimezone(dt.UTC) + (QUARTER if step is Step.QUARTER else HOUR)
        return later.astimezone(zone)
    if step is Step.MONTH:
        return midnight((start.date().replace(day=1) + dt.timedelta(days=32)).replace(day=1), zone)
    return midnight(start.date() + dt.timedelta(days=7 if step is Step.WEEK else 1), zone)


def midnight(date: dt.date, zone: ZoneInfo) -> dt.datetime:
    """Return when the day begins in the zone; where no clock shows midnight, when it would."""
    local = dt.datetime(date.year, date.month, date.day, tzinfo=zone)
    return local.astimezone(dt.UTC).astimezone(zone)
