"""Use over time: one value for each step, group and measure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from usage.reading.instants import grains_for, pieces, step_starts
from usage.reading.question import GROUPS_MAX, Group, Span, Step
from usage.reading.scope import Scope
from usage.reading.source import Source, checked, source_of, sums_by_step
from usage.reading.totals import top


@dataclass(frozen=True, slots=True)
class Line:
    """One group's use: `values[measure][n]` is what it used in step n. `name` is "" of everything.

    `other` marks the sum of the groups beyond the largest.
    """

    name: str
    values: Mapping[str, tuple[int, ...]]
    other: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """`starts` are the beginnings of the steps, in the zone; the largest line comes first."""

    starts: tuple[dt.datetime, ...]
    lines: tuple[Line, ...]


def series(
    scope: Scope,
    start: dt.datetime,
    end: dt.datetime,
    step: Step,
    zone: ZoneInfo,
    *,
    group_by: Group | None = None,
    measures: Sequence[str] = ("requests",),
    filters: Mapping[Group, str] | None = None,
) -> Series:
    """Return the use in [start, end) by steps, empty steps included.

    Without `group_by` there is one line. With it, the `GROUPS_MAX` largest by the first measure,
    then the others as one. Of everything or of teams, one of model, upstream, client and error type
    can be asked at a time, by group or filter; of keys, any. Raises `Unanswerable`.
    """
    span, wanted = Span(start, end), checked(measures)
    starts = tuple(step_starts(span, step, zone))
    if group_by is None:
        whole = _lines(source_of(scope, None, filters), span, starts, wanted)
        return Series(starts, (whole.get("", _nothing("", wanted, len(starts))),))
    largest = top(scope, start, end, group_by, by=wanted[0], most=GROUPS_MAX + 1, filters=filters)
    names = [ranked.name for ranked in largest[:GROUPS_MAX]]
    source = source_of(scope, group_by, filters)
    lines = _lines(source.among(names), span, starts, wanted) if names else {}
    found = [lines.get(name, _nothing(name, wanted, len(starts))) for name in names]
    if len(largest) > GROUPS_MAX:
        found.append(_others(scope, group_by, filters, found, span, starts, wanted))
    return Series(starts, tuple(found))


def _lines(
    source: Source, span: Span, starts: Sequence[dt.datetime], measures: Sequence[str]
) -> dict[str, Line]:
    parts = pieces(span, grains_for(starts, source.grains))
    values: dict[str, list[list[int]]] = {}
    for place, name, amounts in sums_by_step(source, parts, measures, starts):
        lists = values.setdefault(name, [[0] * len(starts) for _ in measures])
        for amount, some in zip(amounts, lists, strict=True):
            some[place] += amount
    return {
        name: Line(name, {m: tuple(v) for m, v in zip(measures, lists, strict=True)})
        for name, lists in values.items()
    }


def _others(
    scope: Scope,
    group_by: Group,
    filters: Mapping[Group, str] | None,
    largest: Sequence[Line],
    span: Span,
    starts: Sequence[dt.datetime],
    measures: Sequence[str],
) -> Line:
    """Return what is left of the whole."""
    whole = _whole(scope, group_by, filters, span, starts, measures)
    left = {
        measure: tuple(
            whole.values[measure][n] - sum(line.values[measure][n] for line in largest)
            for n in range(len(starts))
        )
        for measure in measures
    }
    return Line("other", left, other=True)


def _whole(
    scope: Scope,
    group_by: Group,
    filters: Mapping[Group, str] | None,
    span: Span,
    starts: Sequence[dt.datetime],
    measures: Sequence[str],
) -> Line:
    if group_by in (Group.KEY, Group.TEAM):
        # Too many to add up one by one; keys without a team count as others too.
        found = _lines(source_of(scope, None, filters), span, starts, measures)
        return found.get("", _nothing("", measures, len(starts)))
    # Of the others there are few, and what belongs to none of them is not their whole.
    lines = _lines(source_of(scope, group_by, filters), span, starts, measures).values()
    return Line(
        "",
        {
            m: tuple(sum(line.values[m][n] for line in lines) for n in range(len(starts)))
            for m in measures
        },
    )


def _nothing(name: str, measures: Sequence[str], steps: int) -> Line:
    return Line(name, dict.fromkeys(measures, (0,) * steps))
