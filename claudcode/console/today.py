"""The home's figures: today against yesterday, the last 24 hours by model, the busiest keys.

With a million keys the roll-up has hundreds of thousands of rows a day. What lies some hours back
hardly moves any more, so its sums are kept in the cache, small, and only what came since is added
up for each page. An old exchange that is drained late shows `KEPT_S` later at the most, as long as
somebody looks; what a lead of teams may see is little, and is never kept.
"""

import datetime as dt
import logging
import time
from dataclasses import astuple, dataclass
from typing import Any

from django.core.cache import cache
from redis import RedisError

from usage import reports
from usage.reports import DAY, HOUR, Totals

KEPT = "console:past:1"
# A page that updates renews what is this old; one that opens makes do with what is `OLD_S` old.
KEPT_S, OLD_S = 300, 10_800
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
class _Past:
    since: dt.datetime
    until: dt.datetime
    hours: Hours
    apikey_ids: list[int]


def figures(now: dt.datetime, most: int, *, fresh: bool, **held_by: Any) -> Figures:
    """Return the figures, with the `most` busiest keys. `fresh` renews what was kept for long."""
    since = reports.midnight(now) - DAY
    past = _past(now, since, fresh) if not held_by else _Past(since, since, {}, [])
    hours = past.hours | reports.by_hour_and_model(past.until, now, **held_by)
    return Figures(hours, _busiest(past, now, most, held_by))


def _busiest(
    past: _Past, now: dt.datetime, most: int, held_by: dict[str, Any]
) -> list[tuple[int, Totals]]:
    today = reports.midnight(now)
    lately = reports.costliest(max(today, past.until), now, CANDIDATES, **held_by)
    return reports.busiest(
        today, now, most, apikey__in={*past.apikey_ids, *(pk for pk, _ in lately)}, **held_by
    )


def _past(now: dt.datetime, since: dt.datetime, fresh: bool) -> _Past:
    kept = _read(since)
    age_s = OLD_S if kept is None else time.time() - kept[0]
    if kept is not None and age_s < (KEPT_S if fresh else OLD_S):
        return kept[1]
    until = max(since, reports.hour_of(now) - MOVING)
    today = reports.midnight(now)
    ranked = reports.costliest(today, until, CANDIDATES) if today < until else []
    hours = reports.by_hour_and_model(since, until)
    past = _Past(since, until, hours, [pk for pk, _ in ranked])
    _keep(past)
    return past


def _read(since: dt.datetime) -> tuple[float, _Past] | None:
    try:
        kept = cache.get(KEPT)
    except RedisError:
        return None  # The page says itself that Valkey is away.
    if kept is None or kept["since"] > since:
        return None
    hours = {place: Totals(*sums) for place, sums in kept["hours"].items()}
    return kept["at"], _Past(kept["since"], kept["until"], hours, kept["apikey_ids"])


def _keep(past: _Past) -> None:
    # Plain values: another release reads them too.
    kept = {
        "at": time.time(),
        "since": past.since,
        "until": past.until,
        "hours": {place: astuple(each) for place, each in past.hours.items()},
        "apikey_ids": past.apikey_ids,
    }
    try:
        cache.set(KEPT, kept, timeout=OLD_S)
    except RedisError:
        logger.warning("Valkey does not keep the sums of past hours: each page adds them up")
