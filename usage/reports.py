"""What the console tells of use: sums over the hourly roll-up, by key, team, hour and model.

Never adds up the ledger, so a page costs the same however long that is; `last_used` alone looks
into it, once for each key and out of an index. Days are days of UTC, as hours of the roll-up are.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncDay

from keys.core.limits import Limit, Unit
from keys.leads import held_to_teams, led_teams
from usage.history import holder_of
from usage.models import Backfill, GroupRollup, HourlyRollup

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
SPARK_HOURS = 24

# One look into the index for each window, all in one statement.
_CHARGED = """
SELECT asked.place, coalesce(sum(stored.charged_tokens), 0)::bigint,
    coalesce(sum(stored.cost_nanousd), 0)::bigint
FROM unnest(%(places)s::int[], %(ids)s::bigint[], %(since)s::timestamptz[])
    AS asked (place, id, since)
JOIN usage_hourlyrollup AS stored ON stored.apikey_id = asked.id AND stored.hour >= asked.since
GROUP BY 1
"""
# A team has hours of all its keys; of its days there is one row each. `days` is the first midnight
# from which days are whole; none are while old entries are still being added to them.
_CHARGED_TO_TEAMS = """
WITH asked AS (
    SELECT place, id, since, CASE
        WHEN EXISTS (SELECT FROM usage_backfill) THEN 'infinity'::timestamptz ELSE days
    END AS days
    FROM unnest(%(places)s::int[], %(ids)s::bigint[], %(since)s::timestamptz[],
        %(days)s::timestamptz[]) AS asked (place, id, since, days)
), summed AS (
    SELECT asked.place, stored.charged_tokens, stored.cost_nanousd
    FROM asked JOIN usage_hourlyrollup AS stored
        ON stored.team_id = asked.id AND stored.hour >= asked.since AND stored.hour < asked.days
    UNION ALL
    SELECT asked.place, stored.charged_tokens, stored.cost_nanousd
    FROM asked JOIN usage_grouprollup AS stored
        ON stored.grain = 'd' AND stored.facet = '' AND stored.team_id = asked.id
        AND stored.at >= asked.days
)
SELECT place, sum(charged_tokens)::bigint, sum(cost_nanousd)::bigint FROM summed GROUP BY 1
"""
_LAST_USED = """
SELECT id, (
    SELECT settled_at FROM usage_ledgerentry
    WHERE apikey_id = id AND (%(teams)s::bigint[] IS NULL OR team_id = ANY(%(teams)s))
    ORDER BY settled_at DESC LIMIT 1
) FROM unnest(%(ids)s::bigint[]) AS id
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """What was used in some span of time."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cost_nanousd: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    saved_nanousd: int = 0

    @property
    def tokens(self) -> int:
        """Every token that upstream counted."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_creation_input_tokens
            + self.cache_read_input_tokens
        )

    def plus(self, other: "Totals") -> "Totals":
        """Return the sum of both."""
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in _SUMS})

    def times(self, share: float) -> "Totals":
        """Return such a share of it, rounded."""
        return Totals(**{name: round(share * getattr(self, name)) for name in _SUMS})


_SUMS = tuple(field.name for field in fields(Totals))


@dataclass(frozen=True, slots=True)
class Step:
    """What was used in one hour or on one day, that began at `at`."""

    at: dt.datetime
    totals: Totals


@dataclass(frozen=True, slots=True)
class Use:
    """What one key used: its cost since midnight and in this month, and requests by hour.

    `spark` holds the last 24 hours, the oldest first.
    """

    today_nanousd: int = 0
    month_nanousd: int = 0
    spark: tuple[int, ...] = (0,) * SPARK_HOURS
    last_used_at: dt.datetime | None = None


def totals(since: dt.datetime, before: dt.datetime, **held_by: Any) -> Totals:
    """Return the sums of the hours in [since, before), of all or of one `apikey` or `team`."""
    return _totals(_hours(since, before, **held_by).aggregate(**_sums()))


def sum_of(some: Iterable[Totals]) -> Totals:
    """Return the sum of all."""
    rows = list(some)
    return Totals(**{name: sum(getattr(row, name) for row in rows) for name in _SUMS})


def held_by_teams_of(user: User) -> dict[str, Any]:
    """Return by what reports leave out what a lead of teams may not see; nothing for others."""
    if not held_to_teams(user):
        return {}
    return {"team__in": list(led_teams(user).values_list("pk", flat=True))}


def by_hour_and_model(
    since: dt.datetime, before: dt.datetime, **held_by: Any
) -> dict[tuple[dt.datetime, str], Totals]:
    """Return what each model was used in each hour of [since, before), of all or of some.

    Of all it is read where everybody's hours are summed up: a few rows each, however many keys
    there are, but for the last second or two.
    """
    if held_by or Backfill.objects.exists():
        found = _hours(since, before, **held_by).values("hour", "model").annotate(**_sums())
        return {(row["hour"], row["model"]): _totals(row) for row in found}
    rows = GroupRollup.objects.filter(
        grain="h", facet__in=("", "model"), team_id=0, at__gte=since, at__lt=before
    )
    whole, models = {}, {}
    for row in rows.values("at", "facet", "value", *_SUMS):
        if row["facet"]:
            models[row["at"], row["value"]] = _totals(row)
        else:
            whole[row["at"]] = _totals(row)
    return models | _of_no_model(whole, models)


def series(
    since: dt.datetime, before: dt.datetime, step: dt.timedelta, **held_by: Any
) -> list[Step]:
    """Return each hour or day of [since, before), with those in which nothing was used.

    `step` is `HOUR` or `DAY`, and `since` the beginning of one.
    """
    found = _hours(since, before, **held_by).values(at=_beginning(step)).annotate(**_sums())
    known = {row["at"]: _totals(row) for row in found}
    count = -((since - before) // step)
    return [Step(at, known.get(at, Totals())) for at in (since + n * step for n in range(count))]


def costs_by_model(
    since: dt.datetime, before: dt.datetime, step: dt.timedelta, **held_by: Any
) -> dict[str, dict[dt.datetime, int]]:
    """Return what each model cost in each hour or day of [since, before), where it cost anything.

    The dearest first.
    """
    found = (
        _hours(since, before, **held_by)
        .values("model", at=_beginning(step))
        .annotate(cost=Sum("cost_nanousd"))
    )
    costs: dict[str, dict[dt.datetime, int]] = {}
    for row in found:
        costs.setdefault(row["model"], {})[row["at"]] = int(row["cost"])
    return dict(sorted(costs.items(), key=lambda item: -sum(item[1].values())))


def busiest(
    since: dt.datetime, before: dt.datetime, most: int, **held_by: Any
) -> list[tuple[int, Totals]]:
    """Return the keys that cost most in [since, before), and what they used."""
    found = _hours(since, before, **held_by).values("apikey_id").annotate(**_sums())
    ranked = found.order_by("-cost_nanousd", "-requests", "apikey_id")[:most]
    return [(row["apikey_id"], _totals(row)) for row in ranked]


def costliest(
    since: dt.datetime, before: dt.datetime, most: int, **held_by: Any
) -> list[tuple[int, int]]:
    """Return the keys that cost most in [since, before), and what they cost."""
    found = _hours(since, before, **held_by).values("apikey_id").annotate(cost=Sum("cost_nanousd"))
    ranked = found.order_by("-cost", "apikey_id")[:most]
    return [(row["apikey_id"], int(row["cost"])) for row in ranked]


def most_charged(since: dt.datetime, before: dt.datetime, most: int) -> list[tuple[int, int]]:
    """Return the keys whose budgets were charged most tokens in [since, before), and how many."""
    found = _hours(since, before).values("apikey_id").annotate(tokens=Sum("charged_tokens"))
    ranked = found.order_by("-tokens", "apikey_id")[:most]
    return [(row["apikey_id"], int(row["tokens"])) for row in ranked]


def uses(apikey_ids: Collection[int], now: dt.datetime, **held_by: Any) -> dict[int, Use]:
    """Return what each of some keys used lately. Three queries."""
    costs, sparks = _costs(apikey_ids, now, held_by), _sparks(apikey_ids, now, held_by)
    last = last_used(apikey_ids, held_by.get("team__in"))
    return {
        pk: Use(*costs.get(pk, (0, 0)), sparks.get(pk, (0,) * SPARK_HOURS), last.get(pk))
        for pk in apikey_ids
    }


def last_used(
    apikey_ids: Collection[int], team_ids: Collection[int] | None = None
) -> dict[int, dt.datetime | None]:
    """Return when the newest exchange of each key was settled, `None` if there is none.

    With `team_ids`, when the newest for one of these teams was.
    """
    teams = None if team_ids is None else list(team_ids)
    with connection.cursor() as cursor:
        cursor.execute(_LAST_USED, {"ids": list(apikey_ids), "teams": teams})
        return dict(cursor.fetchall())


def charged(limits: Iterable[Limit], now: dt.datetime) -> dict[Limit, int]:
    """Return what each limit's window was charged, to the hour: never too little, but for the last
    second or two of a team.

    For windows that Valkey does not know. Of the hour in which a window begins, all is counted.
    """
    found: dict[Limit, int] = {}
    distinct = list(dict.fromkeys(limits))
    for holder in ("apikey", "team"):
        mine = [limit for limit in distinct if holder_of(limit.scope)[f"{holder}_id"] is not None]
        found |= _charged(mine, holder, now) if mine else {}
    return found


def _charged(limits: list[Limit], holder: str, now: dt.datetime) -> dict[Limit, int]:
    since = [hour_of(max(now - dt.timedelta(seconds=li.window_s), _reset_at(li))) for li in limits]
    parameters = {
        "places": list(range(len(limits))),
        "ids": [holder_of(limit.scope)[f"{holder}_id"] for limit in limits],
        "since": since,
    }
    if holder == "team":
        parameters["days"] = [at if at == midnight(at) else midnight(at) + DAY for at in since]
    with connection.cursor() as cursor:
        cursor.execute(_CHARGED if holder == "apikey" else _CHARGED_TO_TEAMS, parameters)
        sums = {place: amounts for place, *amounts in cursor.fetchall()}
    return {
        limit: sums.get(place, (0, 0))[limit.unit is Unit.NANOUSD]
        for place, limit in enumerate(limits)
    }


def _reset_at(limit: Limit) -> dt.datetime:
    return dt.datetime.fromtimestamp(limit.reset_at_ms / 1000, dt.UTC)


def _costs(
    apikey_ids: Collection[int], now: dt.datetime, held_by: Mapping[str, Any]
) -> dict[int, tuple[int, int]]:
    today = midnight(now)
    found = (
        HourlyRollup.objects.filter(
            apikey__in=apikey_ids, hour__gte=today.replace(day=1), **held_by
        )
        .order_by()
        .values("apikey_id")
        .annotate(
            today=Coalesce(Sum("cost_nanousd", filter=Q(hour__gte=today)), 0),
            month=Sum("cost_nanousd"),
        )
    )
    return {row["apikey_id"]: (int(row["today"]), int(row["month"])) for row in found}


def _sparks(
    apikey_ids: Collection[int], now: dt.datetime, held_by: Mapping[str, Any]
) -> dict[int, tuple[int, ...]]:
    first = hour_of(now) - (SPARK_HOURS - 1) * HOUR
    found = (
        HourlyRollup.objects.filter(apikey__in=apikey_ids, hour__gte=first, **held_by)
        .order_by()
        .values("apikey_id", "hour")
        .annotate(count=Sum("requests"))
    )
    sparks: dict[int, list[int]] = {}
    for row in found:
        place = (row["hour"] - first) // HOUR
        if place < SPARK_HOURS:
            sparks.setdefault(row["apikey_id"], [0] * SPARK_HOURS)[place] = int(row["count"])
    return {pk: tuple(counts) for pk, counts in sparks.items()}


def _of_no_model(
    whole: Mapping[dt.datetime, Totals], models: Mapping[tuple[dt.datetime, str], Totals]
) -> dict[tuple[dt.datetime, str], Totals]:
    """Return what is left of each hour beyond its models, where anything is."""
    left = dict(whole)
    for (hour, _model), each in models.items():
        left[hour] = left.get(hour, Totals()).plus(each.times(-1))
    return {(hour, ""): each for hour, each in left.items() if each != Totals()}


def _beginning(step: dt.timedelta) -> Any:
    return TruncDay("hour", tzinfo=dt.UTC) if step == DAY else F("hour")


def _hours(since: dt.datetime, before: dt.datetime, **held_by: Any) -> QuerySet[HourlyRollup]:
    return HourlyRollup.objects.filter(hour__gte=since, hour__lt=before, **held_by).order_by()


def _sums() -> dict[str, Any]:
    return {name: Coalesce(Sum(name), 0) for name in _SUMS}


def _totals(row: Mapping[str, Any]) -> Totals:
    # Postgres adds up bigints to numerics.
    return Totals(**{name: int(row[name]) for name in _SUMS})


def midnight(at: dt.datetime) -> dt.datetime:
    """Return the beginning of the day, in UTC."""
    return at.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def hour_of(at: dt.datetime) -> dt.datetime:
    """Return the beginning of the hour, in UTC."""
    return at.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
