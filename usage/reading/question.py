"""What can be asked of the roll-ups: spans, steps, groups, measures, filters, and their bounds."""

import datetime as dt
import enum
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from usage.models import AMOUNTS

# Every measure is a sum, so parts add up to the whole.
MEASURES = (
    "requests",
    "errors",
    "hung_up",
    "abandoned",
    "estimated",
    "cache_hits",
    "cache_misses",
    *AMOUNTS,
)
# More bars than a screen has columns.
STEPS_MAX = 1_500
# Colours that can be told apart; what is beyond is added up as "other".
GROUPS_MAX = 8
SPAN_MAX = dt.timedelta(days=3 * 366)


class Step(enum.StrEnum):
    """How long a bar of a chart is; days, weeks (from Monday) and months are those of the zone."""

    QUARTER = "15m"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Group(enum.StrEnum):
    """What use can be told apart by. Keys and teams are ids, written out; the others are names."""

    KEY = "key"
    TEAM = "team"
    MODEL = "model"
    UPSTREAM = "upstream"
    CLIENT = "client"
    ERROR = "error_type"


class Unanswerable(ValueError):
    """The roll-ups cannot say that; the message tells a person what to ask instead."""


@dataclass(frozen=True, slots=True)
class Span:
    """[start, end): what settled in it. Both ends count to the quarter of an hour they are in.

    Raises `Unanswerable` when it is empty, has no zone or is longer than `SPAN_MAX`.
    """

    start: dt.datetime
    end: dt.datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise Unanswerable("Start and end need a time zone.")
        # Instants of one zone are compared by their clocks, which go back once a year.
        object.__setattr__(self, "start", self.start.astimezone(dt.UTC))
        object.__setattr__(self, "end", self.end.astimezone(dt.UTC))
        if not self.start < self.end:
            raise Unanswerable("The start must be before the end.")
        if self.end - self.start > SPAN_MAX:
            raise Unanswerable(f"At most {SPAN_MAX.days} days can be added up at once.")

    @property
    def before(self) -> "Span":
        """The period before, of the same length."""
        return Span(self.start - (self.end - self.start), self.start)


def zone_named(name: str) -> ZoneInfo:
    """Return the time zone called `name`, such as Asia/Kolkata. Raises `Unanswerable`."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise Unanswerable(f"There is no time zone called {name[:50]!r}.") from None
