"""Sums over a span, with the period before, and who or what was most of it."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from usage.reading.candidates import candidates
from usage.reading.instants import pieces
from usage.reading.question import MEASURES, Group, Span
from usage.reading.scope import Scope
from usage.reading.source import checked, largest, source_of, sums

# More types of error than there are.
ERRORS_MAX = 50


@dataclass(frozen=True, slots=True)
class Compared:
    """Sums of every measure in a span, and in the span of the same length before it."""

    now: Mapping[str, int]
    before: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ranked:
    """One entry of a top list: an id or a name as `Group` says, its sums, and those before."""

    name: str
    now: Mapping[str, int]
    before: Mapping[str, int]


def totals(
    scope: Scope,
    start: dt.datetime,
    end: dt.datetime,
    *,
    filters: Mapping[Group, str] | None = None,
) -> Compared:
    """Return the sums of every measure in [start, end) and in the period before."""
    span = Span(start, end)
    source = source_of(scope, None, filters)
    nothing = dict.fromkeys(MEASURES, 0)
    now, before = (
        sums(source, pieces(some, source.grains), MEASURES).get("", nothing)
        for some in (span, span.before)
    )
    return Compared(now, before)


def top(
    scope: Scope,
    start: dt.datetime,
    end: dt.datetime,
    group_by: Group,
    *,
    by: str = "cost_nanousd",
    most: int = 10,
    measures: Sequence[str] = ("requests", "charged_tokens", "cost_nanousd"),
    filters: Mapping[Group, str] | None = None,
) -> tuple[Ranked, ...]:
    """Return those of which the measure `by` was largest in [start, end), the largest first.

    What has no upstream, no team or no error is in no list of those. Raises `Unanswerable`.
    """
    span = Span(start, end)
    source = source_of(scope, group_by, filters)
    wanted = checked((by, *measures))
    few = candidates(scope, group_by, filters, source, span, by, most)
    among = source if few is None else source.among(few)
    found = largest(among, pieces(span, source.grains), wanted, most)
    names = list(found)
    earlier = source.among(names)
    before = sums(earlier, pieces(span.before, source.grains), wanted) if names else {}
    nothing = dict.fromkeys(wanted, 0)
    return tuple(Ranked(name, found[name], before.get(name, nothing)) for name in names)


def errors_by_type(
    scope: Scope,
    start: dt.datetime,
    end: dt.datetime,
    *,
    filters: Mapping[Group, str] | None = None,
) -> tuple[tuple[str, int], ...]:
    """Return how many exchanges failed with each type of error, the commonest first."""
    found = top(
        scope,
        start,
        end,
        Group.ERROR,
        by="requests",
        most=ERRORS_MAX,
        measures=("requests",),
        filters=filters,
    )
    return tuple((ranked.name, ranked.now["requests"]) for ranked in found)
