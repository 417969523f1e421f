"""Counts of what one process has done, kept where it happens and read by `/metrics`.

Counting is a look into a dictionary and additions: about two microseconds an exchange, where
labelled metrics of prometheus-client take six for a single increment. Labels come from bounded
sets alone, and beyond SERIES_MAX of them there is no new one: a fault must not eat the memory.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from usage.core.event import Closing

# Upper bounds of buckets, in seconds. Answers of Claude take from half a second to many minutes.
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
# What the gateway itself takes is a millisecond or two; a wait for a slot can be a minute.
OVERHEAD_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0, 60.0)
# Models times accounts times ways to end; an installation has some hundreds.
SERIES_MAX = 5_000
OTHER = "other"

Labels = tuple[str, ...]  # The name of the metric first.


@dataclass(slots=True)
class Histogram:
    """Counts of values by upper bound; the last count is of those above every bound."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class _Line:
    exchanges: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cost_nanousd: int = 0
    first_byte: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    duration: Histogram = field(default_factory=lambda: Histogram(SECONDS))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What tallies hold: counters that only grow, histograms, and gauges of this moment."""

    counters: dict[Labels, float]
    histograms: dict[Labels, Histogram]
    gauges: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return it as `read_snapshot` takes it."""
        return {
            "counters": [[list(name), value] for name, value in self.counters.items()],
            "histograms": [
                [list(name), list(h.bounds), h.counts, h.total]
                for name, h in self.histograms.items()
            ],
            "gauges": self.gauges,
        }


class Tally:
    """What this process has done since it began."""

    def __init__(self) -> None:
        self.overhead = Histogram(OVERHEAD_SECONDS)
        self._lines: dict[tuple[str, str, str, str], _Line] = {}
        self._counters: dict[Labels, int] = {}

    def exchange(self, model: str, closing: Closing) -> None:
        """Count an exchange that ended; `model` is one of the catalogue's."""
        key = (model, closing.upstream, closing.status, closing.cache)
        line = self._lines.get(key)
        if line is None:
            line = self._new_line(key)
        usage = closing.usage
        line.exchanges += 1
        line.input_tokens += usage.input_tokens
        line.output_tokens += usage.output_tokens
        line.cache_creation_input_tokens += usage.cache_creation_input_tokens
        line.cache_read_input_tokens += usage.cache_read_input_tokens
        line.cost_nanousd += closing.cost_nanousd
        if closing.first_byte_ms is not None:
            line.first_byte.observe(closing.first_byte_ms / 1000)
        line.duration.observe(closing.total_ms / 1000)
        for attempt in closing.attempts:
            self.count("upstream_attempts", attempt.account, attempt.outcome)

    def tool_call(self, tool: str, closing: Closing) -> None:
        """Count a call of a web tool that ended."""
        self.count("tool_calls", tool, closing.status, closing.cache)
        self.count("tool_cost_nanousd", tool, by=closing.cost_nanousd)

    def count(self, *labels: str, by: int = 1) -> None:
        """Add to a counter: its name, then its labels."""
        counters = self._counters
        if labels in counters:
            counters[labels] += by
        elif len(counters) < SERIES_MAX:
            counters[labels] = by
        else:
            other = (labels[0], *(OTHER for _ in labels[1:]))
            counters[other] = counters.get(other, 0) + by

    def snapshot(self, gauges: Mapping[str, float]) -> Snapshot:
        """Return all counts by name and labels, with `gauges`."""
        counters: dict[Labels, float] = dict(self._counters)
        histograms: dict[Labels, Histogram] = {("gateway_overhead_seconds",): self.overhead}
        for (model, account, status, cache), line in self._lines.items():
            counters["exchanges", model, account, status, cache] = line.exchanges
            _add(counters, ("cost_nanousd", model), line.cost_nanousd)
            for kind in _KINDS:
                _add(counters, ("tokens", model, kind), getattr(line, f"{kind}_tokens"))
            for name in ("first_byte", "duration"):
                found: Histogram = getattr(line, name)
                _merge(histograms, (f"exchange_{name}_seconds", model), found)
        return Snapshot(counters, histograms, dict(gauges))

    def _new_line(self, key: tuple[str, str, str, str]) -> _Line:
        if len(self._lines) >= SERIES_MAX:
            key = (OTHER, OTHER, key[2], key[3])
        return self._lines.setdefault(key, _Line())


_KINDS = ("input", "output", "cache_creation_input", "cache_read_input")


def read_snapshot(said: Mapping[str, Any]) -> Snapshot:
    """Return what `Snapshot.as_json` wrote. Raises `KeyError`, `TypeError`, `ValueError`."""
    return Snapshot(
        {tuple(name): value for name, value in said["counters"]},
        {
            tuple(name): Histogram(tuple(bounds), counts, total)
            for name, bounds, counts, total in said["histograms"]
        },
        dict(said["gauges"]),
    )


def added(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Return the sums of several processes."""
    counters: dict[Labels, float] = {}
    histograms: dict[Labels, Histogram] = {}
    gauges: dict[str, float] = {}
    for snapshot in snapshots:
        for name, value in snapshot.counters.items():
            _add(counters, name, value)
        for name, histogram in snapshot.histograms.items():
            _merge(histograms, name, histogram)
        for gauge, value in snapshot.gauges.items():
            gauges[gauge] = gauges.get(gauge, 0) + value
    return Snapshot(counters, histograms, gauges)


def cumulated(counts: Iterable[int]) -> list[int]:
    """Return how many values are at or below each bound, as Prometheus wants them."""
    sums, total = [], 0
    for count in counts:
        total += count
        sums.append(total)
    return sums


def _add(counters: dict[Labels, float], name: Labels, value: float) -> None:
    counters[name] = counters.get(name, 0) + value


def _merge(histograms: dict[Labels, Histogram], name: Labels, more: Histogram) -> None:
    so_far = histograms.get(name)
    if so_far is None:
        histograms[name] = Histogram(more.bounds, list(more.counts), more.total)
    elif so_far.bounds == more.bounds:
        so_far.counts = [a + b for a, b in zip(so_far.counts, more.counts, strict=True)]
        so_far.total += more.total
