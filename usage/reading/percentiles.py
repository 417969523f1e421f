"""Percentiles of how long answers took, out of mergeable histograms."""

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from usage import replica
from usage.core.histogram import ERROR_PERCENT, percentile_ms
from usage.reading.instants import Piece, floor, grains_for, pieces, step_starts
from usage.reading.question import Span, Step, Unanswerable
from usage.reading.scope import Holder, Scope

# Beyond it, days are read: hours of a year would be some million buckets.
HOURS_SPAN_MAX = dt.timedelta(days=31)


class Latency(enum.StrEnum):
    """What was measured."""

    FIRST_BYTE = "first_byte_ms"
    TOTAL = "total_ms"


@dataclass(frozen=True, slots=True)
class Percentiles:
    """`values[percent][n]` in milliseconds for step n, `None` where nothing was measured.

    `counts[n]` is how many exchanges were. `error_percent` bounds how far a value is off.
    """

    starts: tuple[dt.datetime, ...]
    counts: tuple[int, ...]
    values: Mapping[int, tuple[float | None, ...]]
    error_percent: float


def percentiles(
    scope: Scope,
    start: dt.datetime,
    end: dt.datetime,
    latency: Latency,
    *,
    step: Step | None = None,
    zone: ZoneInfo | None = None,
    percents: Sequence[int] = (50, 95, 99),
    model: str | None = None,
) -> Percentiles:
    """Return percentiles of [start, end), of the whole span or, with `step` and `zone`, by steps.

    Histograms are kept by hours of UTC: the span counts to the hours it is in, and a step of a zone
    in between begins with the hour before. Of everything and of teams, beyond `HOURS_SPAN_MAX` days
    are those of UTC; `starts` tells. Raises `Unanswerable` for steps below an hour.
    """
    if step is Step.QUARTER:
        raise Unanswerable("Percentiles are kept by hours: ask for steps of an hour or more.")
    span = Span(floor(start, "h"), end)
    starts = _starts(scope, span, step, zone or ZoneInfo("UTC"))
    counts = _counts(scope, span, starts, latency, model)
    return Percentiles(
        starts=tuple(starts),
        counts=tuple(sum(some.values()) for some in counts),
        values={p: tuple(percentile_ms(some, p) for some in counts) for p in percents},
        error_percent=ERROR_PERCENT,
    )


def _starts(scope: Scope, span: Span, step: Step | None, zone: ZoneInfo) -> list[dt.datetime]:
    if step is None:
        return [span.start]
    long = span.end - span.start > HOURS_SPAN_MAX and scope.holder is not Holder.KEYS
    if long and step is not Step.HOUR:
        zone = ZoneInfo("UTC")
    return [floor(at, "h").astimezone(zone) for at in step_starts(span, step, zone)]


def _counts(
    scope: Scope,
    span: Span,
    starts: Sequence[dt.datetime],
    latency: Latency,
    model: str | None,
) -> list[dict[int, int]]:
    """Return the histogram of each step."""
    grains = grains_for(starts, "dh") or "h"
    # Below hours there is nothing: the end counts to the hour that it is in.
    parts = [part for part in pieces(_to_hours(span), grains + "q") if part.grain != "q"]
    found: list[dict[int, int]] = [{} for _ in starts]
    for place, bucket, count in _run(scope, parts, starts, latency, model):
        histogram = found[max(0, place - 1)]
        histogram[bucket] = histogram.get(bucket, 0) + count
    return found


def _to_hours(span: Span) -> Span:
    whole = floor(span.end, "h")
    return Span(span.start, whole if whole == span.end else whole + dt.timedelta(hours=1))


def _run(
    scope: Scope,
    parts: Sequence[Piece],
    starts: Sequence[dt.datetime],
    latency: Latency,
    model: str | None,
) -> list[tuple[int, int, int]]:
    holder = {Holder.EVERYTHING: "a", Holder.TEAMS: "t", Holder.KEYS: "k"}[scope.holder]
    ids = [0] if scope.holder is Holder.EVERYTHING else sorted(scope.ids)
    of_model, named = ("", []) if model is None else (" AND model = %s", [model])
    one = f"""SELECT width_bucket(at, %s::timestamptz[]), bucket, sum(count)::bigint
        FROM usage_latencyrollup
        WHERE holder = %s AND holder_id = ANY(%s::bigint[]) AND grain = %s AND measure = %s
            AND at >= %s AND at < %s{of_model}
        GROUP BY 1, 2"""
    measure = "f" if latency is Latency.FIRST_BYTE else "t"
    parameters: list[Any] = []
    for part in parts:
        parameters += [list(starts), holder, ids, part.grain, measure, part.start, part.end, *named]
    with replica.cursor() as cursor:
        cursor.execute(" UNION ALL ".join([one] * len(parts)), parameters)
        return cursor.fetchall()
