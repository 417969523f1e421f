"""What this month will have cost when it ends, if people go on as they have."""

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.utils import timezone

from usage.reading.instants import DAY, midnight
from usage.reading.question import Step
from usage.reading.scope import Scope
from usage.reading.series import series

_COST = "cost_nanousd"
_WEEKS = 4


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
    now = (now or timezone.now()).astimezone(zone)
    today = now.date()
    month = today.replace(day=1)
    ends = (month + dt.timedelta(days=32)).replace(day=1)
    since = min(month, today - dt.timedelta(days=7 * _WEEKS))
    told = series(scope, midnight(since, zone), now + DAY, Step.DAY, zone, measures=(_COST,))
    costs = {at.date(): c for at, c in zip(told.starts, told.lines[0].values[_COST], strict=True)}
    spent = sum(cost for day, cost in costs.items() if month <= day <= today)
    past = _known(costs, today)
    if not past:
        return Forecast(month, spent, spent, spent, spent, 0)
    # Of today, as much is to come as is left of it.
    tomorrow = midnight(today + DAY, zone)
    left = (tomorrow.astimezone(dt.UTC) - now.astimezone(dt.UTC)) / DAY
    to_come = {today + dt.timedelta(days=n): 1.0 for n in range(1, (ends - today).days)}
    to_come[today] = left
    likely = round(sum(share * _usual(past, day) for day, share in to_come.items()))
    ordered, days = sorted(past.values()), sum(to_come.values())
    low, high = (round(days * ordered[len(ordered) * fifths // 5]) for fifths in (1, 4))
    return Forecast(
        month=month,
        spent_nanousd=spent,
        likely_nanousd=spent + likely,
        low_nanousd=spent + min(low, likely),
        high_nanousd=spent + max(high, likely),
        days_known=len(past),
    )


def _known(costs: dict[dt.date, int], today: dt.date) -> dict[dt.date, int]:
    """Return the full days of the last four weeks, from the first on which anything was used."""
    since = today - dt.timedelta(days=7 * _WEEKS)
    recent = {day: cost for day, cost in costs.items() if since <= day < today}
    first = min((day for day, cost in recent.items() if cost), default=None)
    return {day: cost for day, cost in recent.items() if first is not None and day >= first}


def _usual(past: dict[dt.date, int], day: dt.date) -> float:
    """Return what this day of the week costs, or, while that is not known, any day."""
    same = [cost for at, cost in past.items() if at.weekday() == day.weekday()]
    known = same or list(past.values())
    return sum(known) / len(known)
