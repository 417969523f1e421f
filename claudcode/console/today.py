"""The home's figures: today against yesterday, the last 24 hours by model, the busiest keys.

Everybody's hours are summed up by model, which is little. The busiest keys are not: with a million
keys the roll-up has hundreds of thousands of rows a day. So who may be among them is looked up by a
task, kept in the cache, and only what came since is ranked for a page. A page ranks it all where
nothing was kept lately. What a lead of teams may see is little, and is never kept.
"""

import datetime as dt
import logging
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from redis import RedisError

from usage import reports
from usage.reports import DAY, HOUR, Totals

KEPT = "console:busiest:1"
# A task renews it every five minutes; where none runs, a page does in the end.
OLD_S = 3_600
# The hours before this one that still move: the drain is seconds behind, not hours.
MOVING = HOUR
# Of each part of the day so many are looked at: whoever is among the busiest of the day is among
# the busiest of one of its parts.
CANDIDATES = 200

Hours = dict[tuple[dt.datetime, str], Totals]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums by hour and model since yesterday's midnight, and today's busiest keys."""

    hours: Hours
    busiest: list[tuple[int, Totals]]

    def so_far(self, now: dt.datetime) -> tuple[Totals, Totals]:
        """Return what was used today, and by this time yesterday.

        Of yesterday's hour that has its counterpart running now, as much counts as has passed of
        it.
        """
        today, hour = reports.midnight(now), reports.hour_of(now)
        whole = self._sum(today - DAY, hour - DAY)
        begun = self._sum(hour - DAY, hour - DAY + HOUR)
        return self._sum(today, now), whole.plus(begun.times((now - hour) / HOUR))

    def costs_by_model(self, since: dt.datetime) -> dict[str, dict[dt.datetime, int]]:
        """Return what each model cost in each hour since then, the dearest first."""
        costs: dict[str, dict[dt.datetime, int]] = {}
        for (hour, model), each in self.hours.items():
            if hour >= since:
                costs.setdefault(model, {})[hour] = each.cost_nanousd
        return dict(sorted(costs.items(), key=lambda item: -sum(item[1].values())))

    def _sum(self, since: dt.datetime, before: dt.datetime) -> Totals:
        return reports.sum_of(each for (at, _), each in self.hours.items() if since <= at < before)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """The busiest keys of the day that began `since`, of its hours before `until`."""

    since: dt.datetime
    until: dt.datetime
    apikey_ids: list[int]


def figures(now: dt.datetime, most: int, **held_by: Any) -> Figures:
    """Return the figures, with the `most` busiest keys."""
    today = reports.midnight(now)
    hours = reports.by_hour_and_model(today - DAY, now, **held_by)
    earlier = _Ranked(today, today, []) if held_by else _read(today) or keep(now)
    return Figures(hours, _busiest(earlier, now, most, held_by))


def keep(now: dt.datetime) -> _Ranked:
    """Look up who may be among the busiest of the day, and keep it for the pages to come."""
    today = reports.midnight(now)
    until = max(today, reports.hour_of(now) - MOVING)
    found = reports.costliest(today, until, CANDIDATES) if today < until else []
    ranked = _Ranked(today, until, [pk for pk, _ in found])
    # Plain values: another release reads them too.
    kept = {"since": today, "until": until, "apikey_ids": ranked.apikey_ids}
    try:
        cache.set(KEPT, kept, timeout=OLD_S)
    except RedisError:
        logger.warning("Valkey does not keep the busiest keys: each page looks them up")
    return ranked


def _busiest(
    earlier: _Ranked, now: dt.datetime, most: int, held_by: dict[str, Any]
) -> list[tuple[int, Totals]]:
    lately = reports.costliest(earlier.until, now, CANDIDATES, **held_by)
    apikey_ids = {*earlier.apikey_ids, *(pk for pk, _ in lately)}
    return reports.busiest(earlier.since, now, most, apikey__in=apikey_ids, **held_by)


def _read(today: dt.datetime) -> _Ranked | None:
    try:
        kept = cache.get(KEPT)
    except RedisError:
        return None  # The page says itself that Valkey is away.
    return _Ranked(**kept) if kept is not None and kept["since"] == today else None
