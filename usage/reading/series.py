"""Use over time: one value for each step, group and measure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from usage.reading.question import Group, Step
from usage.reading.scope import Scope


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
    raise NotImplementedError
