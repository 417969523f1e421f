"""What this month will have cost when it ends, if people go on as they have."""

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from usage.reading.scope import Scope


@dataclass(frozen=True, slots=True)
class Forecast:
    """Cost from the month's beginning to now, and at its end: likely, at least, at most.

    `days_known` full days lie behind it; with none there is no forecast but what was spent.
    """

    month: dt.date
    spent_nanousd: int
    likely_nanousd: int
    low_nanousd: int
    high_nanousd: int
    days_known: int


def forecast(scope: Scope, zone: ZoneInfo, *, now: dt.datetime | None = None) -> Forecast:
    """Return the forecast to the end of the zone's month.

    Each day to come is taken to cost what the same day of the week did on average in the four weeks
    before; low and high are a fifth and four fifths of what days cost.
    """
    raise NotImplementedError
