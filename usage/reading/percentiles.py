"""Percentiles of how long answers took, out of mergeable histograms."""

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from usage.reading.question import Step
from usage.reading.scope import Scope


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

    Histograms are kept by hours: steps are an hour or more. Raises `Unanswerable`.
    """
    raise NotImplementedError
