"""Sums over a span, with the period before, and who or what was most of it."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from usage.reading.question import Group
from usage.reading.scope import Scope


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
    raise NotImplementedError


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
    """Return those of which the measure `by` was largest in [start, end), the largest first."""
    raise NotImplementedError


def errors_by_type(
    scope: Scope,
    start: dt.datetime,
    end: dt.datetime,
    *,
    filters: Mapping[Group, str] | None = None,
) -> tuple[tuple[str, int], ...]:
    """Return how many exchanges failed with each type of error, the commonest first."""
    raise NotImplementedError
