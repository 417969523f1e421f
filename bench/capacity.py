"""`python -m bench.capacity`: what a fleet needs for a load, from the figures of a run.

    python -m bench --full
    python -m bench.capacity --exchanges 100000 --keys 10000000

Arithmetic on measured figures and nothing else: cores, memory and disk of each part, which of them
can be divided, and which cannot be and so breaks first. docs/scale.md says how far it was checked.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.results import Column, Report, Row, Section, from_json
from bench.table import render_section
from claudcode.env import ROOT

# Above this share of a core waiting times grow faster than the load.
BUSY_MAX = 0.6
DAY_S = 86_400
# Shards are at most so many, and a shard is on one node: CLAUDCODE_SHARDS, check E032.
SHARDS_MAX = 100
MB, GB, TB = 1e6, 1e9, 1e12
COLUMNS = (
    Column("needed", "", 1),
    Column("one is full at", "exchanges/s", 0),
    Column("all are full at", "exchanges/s", 0),
)


class Missing(Exception):
    """The report lacks a figure; the message says which case gives it."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What one of each costs on the machine that measured: milliseconds of a core, and bytes.

    `fold_ms` is part of `postgres_ms`: what only one process does at a time.
    """

    exchange_ms: float
    stream_event_ms: float
    valkey_ms: float
    drain_ms: float
    postgres_ms: float
    fold_ms: float
    stream_bytes: float
    window_bytes: float
    event_bytes: float
    log_bytes: float
    row_bytes: float
    apikey_bytes: float


@dataclass(frozen=True)
class Load:
    """What is asked of a fleet at its busiest.

    `exchanges` a second, each of `seconds` and `events`; of `keys` those `active` within a day;
    rows are kept for `keep_days`, in which the mean is `mean` times the busiest.
    """

    exchanges: float
    seconds: float = 20.0
    events: float = 200.0
    keys: int = 10_000
    active: float = 0.2
    keep_days: int = 90
    mean: float = 0.3
    events_keep_s: int = 60

    @property
    def streams(self) -> float:
        """Exchanges that are open at once."""
        return self.exchanges * self.seconds


def costs(report: Report) -> Costs:
    """Return what a run of the benchmark measured. Raises `Missing`."""

    def figure(case: str, row: str, column: str) -> float:
        for section in report.sections:
            names = [one.name for one in section.columns]
            for one in section.rows if section.case == case and column in names else ():
                value = one.values[names.index(column)]
                if one.label.startswith(row) and value is not None:
                    return value
        raise Missing(f"the report has no {column!r} of {row!r}: python -m bench --case {case}")

    return Costs(
        exchange_ms=figure("bodies", "50 KB", "CPU"),
        stream_event_ms=figure("open-streams", "", "CPU an event") / 1000,
        valkey_ms=figure("bodies", "50 KB", "CPU of Valkey"),
        drain_ms=figure("drain", "one process", "CPU of the drain"),
        postgres_ms=figure("drain", "one process", "CPU of Postgres"),
        fold_ms=figure("drain", "its fold", "CPU of Postgres"),
        stream_bytes=1000 * figure("open-streams", "", "RSS a stream"),
        window_bytes=figure("footprint", "key in use, 1 busy", "bytes each"),
        event_bytes=figure("footprint", "ledger event", "bytes each"),
        log_bytes=figure("drain", "one process", "its log"),
        row_bytes=figure("footprint", "ledger row", "bytes each"),
        apikey_bytes=figure("footprint", "API key", "bytes each")
        + 2 * figure("footprint", "budget", "bytes each"),
    )


def needs(cost: Costs, load: Load) -> tuple[Row, ...]:
    """Return a row for each part: how much of it, and at what load one, and all, are full."""
    gateway_ms = cost.exchange_ms + load.events * cost.stream_event_ms
    kept = load.exchanges * load.events_keep_s * cost.event_bytes
    windows = load.keys * load.active * cost.window_bytes
    rows_a_day = load.exchanges * load.mean * DAY_S
    inserting_ms = cost.postgres_ms - cost.fold_ms
    return (
        _cores("gateway processes, each a core", load, gateway_ms),
        _row("memory of their open streams, GB", load.streams * cost.stream_bytes / GB),
        _cores("Valkey primaries, each a core", load, cost.valkey_ms, at_most=SHARDS_MAX),
        _row("memory of Valkey, GB", (kept + windows) / GB),
        _cores("workers that drain, each a core", load, cost.drain_ms),
        _cores("cores of Postgres that insert", load, inserting_ms),
        _cores("cores of Postgres that fold", load, cost.fold_ms, at_most=1),
        _row("log that Postgres writes ahead, MB/s", load.exchanges * cost.log_bytes / MB),
        _row("ledger rows a day, millions", rows_a_day / 1e6),
        _row(
            f"ledger of {load.keep_days} days, TB",
            rows_a_day * load.keep_days * cost.row_bytes / TB,
        ),
        _row("keys and budgets in Postgres, GB", load.keys * cost.apikey_bytes / GB),
    )


def section(cost: Costs, load: Load) -> Section:
    """Return the whole answer as a table."""
    title = (
        f"{load.exchanges:,.0f} exchanges/s of {load.seconds:g} s and {load.events:g} events,"
        f" {load.streams:,.0f} streams at once, {load.keys:,} keys"
    )
    rows = needs(cost, load)
    broken = [row.label for row in rows if (row.values[2] or load.exchanges) < load.exchanges]
    remarks = (
        f"At most {BUSY_MAX:.0%} of each core is used. What has no figure in the last column is"
        " divided among as many as are needed.",
        f"Cannot carry this load in one installation: {'; '.join(broken)}." if broken else "",
    )
    return Section("capacity", title, COLUMNS, rows, tuple(filter(None, remarks)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the answer; return the exit code."""
    parser = argparse.ArgumentParser("bench.capacity", description="What a load needs.")
    parser.add_argument("--from", dest="source", type=Path, default=ROOT / "var/bench/last.json")
    parser.add_argument("--exchanges", type=float, required=True, help="a second, at the busiest")
    parser.add_argument("--seconds", type=float, default=Load.seconds, help="one exchange lasts")
    parser.add_argument("--events", type=float, default=Load.events, help="of one exchange")
    parser.add_argument("--keys", type=int, default=Load.keys)
    parser.add_argument("--active", type=float, default=Load.active, help="share used in a day")
    parser.add_argument("--mean", type=float, default=Load.mean, help="share of the busiest")
    parser.add_argument("--keep-days", type=int, default=Load.keep_days, help="of the ledger")
    options = vars(parser.parse_args(arguments))
    try:
        report = from_json(json.loads(options.pop("source").read_text()))
        print(render_section(section(costs(report), Load(**options))))
    except (OSError, Missing) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _cores(label: str, load: Load, ms: float, *, at_most: int | None = None) -> Row:
    one = BUSY_MAX * 1000 / ms
    return Row(label, (load.exchanges / one, one, one * at_most if at_most else None))


def _row(label: str, amount: float) -> Row:
    return Row(label, (amount, None, None))


if __name__ == "__main__":
    sys.exit(main())
