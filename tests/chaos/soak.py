"""`python -m tests.chaos.soak`: an hour of mixed load, and a line through the memory of everything.

Streams short and long, hang-ups, errors, bodies of 200 KB, at a rate that leaves a small machine
half idle. Exit code 1 if memory grows, sockets stay open, the ledger lags, or books disagree.
Linux.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.measures import Trend, private, resident, sockets, trend
from tests.chaos.stage import Stage, installation

# The simulator's books are no part of what is measured.
BOOKS_MAX = 1_000
SAMPLE_S = 5.0
# Caches fill, threads start, the allocator finds its size.
WARM_UP_SHARE = 0.25
DRAIN_LAG_S_MAX = 3.0
# Upstream connections are kept for 20 s after their last use (KEEP_ALIVE_S of proxy/upstream.py).
CLOSED_S = 40.0
PATIENCE_S = 60.0
# So that the response cache, too, has come to its size before the line is fitted: an entry lives
# this long, of the longest prompt here eight times as long.
CACHE_TTL_S = 30


@dataclass(slots=True)
class Samples:
    """Values by name, each with its seconds since the start."""

    values: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, at_s: float, found: Mapping[str, float]) -> None:
        """Note what was found at one instant."""
        for name, value in found.items():
            self.values.setdefault(name, []).append((round(at_s, 1), value))

    def after(self, warm_up_s: float, name: str) -> list[tuple[float, float]]:
        """Return the samples of one value after the warm-up."""
        return [sample for sample in self.values[name] if sample[0] >= warm_up_s]


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = _options()
    _tell(
        f"soak: {options.minutes:g} minutes, {options.streams} streams,"
        f" {options.quick} quick clients, seed {options.seed}"
    )
    with installation(books_max=BOOKS_MAX, DRAIN_SECONDS_MAX="10") as stage:
        samples, answered, findings = _soak(stage, options)
    warm_up_s = options.minutes * 60 * WARM_UP_SHARE
    trends = {
        name: trend(samples.after(warm_up_s, name)) for name in samples.values if _grows(name)
    }
    findings += [f"{name} grows" for name, found in trends.items() if not found.flat]
    _report(samples, trends, answered, findings)
    if options.json:
        options.json.write_text(json.dumps(_as_json(options, samples, trends, answered, findings)))
    return 1 if findings else 0


def _soak(stage: Stage, options: argparse.Namespace) -> tuple[Samples, dict[str, int], list[str]]:
    # These need Django.
    from keys.invalidation import EVERYTHING, publish
    from keys.models import ClaudeModel
    from tests.chaos.aftermath import left_behind, wait_until_quiet
    from tests.chaos.cast import developers
    from tests.chaos.crowd import Crowd

    ClaudeModel.objects.update(cache_ttl_s=CACHE_TTL_S)
    publish(EVERYTHING)
    crowd = Crowd(
        stage.urls,
        developers(),
        options.streams,
        options.seed,
        PATIENCE_S,
        quick_clients=options.quick,
        keeps_journal=False,
    )
    crowd.start()
    samples = Samples()
    began = time.monotonic()
    while (at_s := time.monotonic() - began) < options.minutes * 60:
        samples.add(at_s, _sample(stage))
        time.sleep(SAMPLE_S)
    crowd.stop()
    with stage.store() as store:
        findings = wait_until_quiet(store, lease_ttl_s=60)
        findings += left_behind(store)
    findings += _verified()
    time.sleep(CLOSED_S)
    open_tcp = {name: sockets(pid)[0] for name, pid in stage.processes.items()}
    findings += [
        f"{name}: {count} TCP connections left" for name, count in open_tcp.items() if count
    ]
    lags = [lag for _at_s, lag in samples.values["drain lag, s"]]
    if max(lags) > DRAIN_LAG_S_MAX:
        findings.append(f"the ledger was {max(lags):.1f} s behind")
    return samples, dict(crowd.answered), findings


def _sample(stage: Stage) -> dict[str, float]:
    from django.conf import settings

    from usage.ledger import drain_lag, events_key

    found: dict[str, float] = {}
    for name, pid in stage.processes.items():
        held = private(pid) if name == "postgres" else resident(pid)
        tcp, others = sockets(pid)
        found |= {f"{name}, KB": held, f"{name}, TCP": tcp, f"{name}, other sockets": others}
    with stage.store() as store:
        memory: Any = store.info("memory")
        found["valkey used_memory, KB"] = memory["used_memory"] / 1024
        found["valkey keys"] = int(store.dbsize())
        shards = range(settings.SHARDS)
        found["events in valkey"] = sum(int(store.xlen(events_key(shard))) for shard in shards)
        found["drain lag, s"] = drain_lag(store)
    return found


def _verified() -> list[str]:
    from usage.verify import verify

    return [f"ledger_verify: {difference}" for difference in verify().differences]


def _grows(name: str) -> bool:
    return name.endswith(", KB") and not name.startswith("simulator")


def _report(
    samples: Samples,
    trends: Mapping[str, Trend],
    answered: Mapping[str, int],
    findings: Sequence[str],
) -> None:
    _tell(f"{'':26}{'start, MB':>12}{'MB an hour':>12}{'in all, MB':>12}")
    for name, found in trends.items():
        figures = (found.first, found.per_hour, found.growth)
        columns = "".join(f"{figure / 1024:12.2f}" for figure in figures)
        _tell(f"{name.removesuffix(', KB'):26}{columns}  {'flat' if found.flat else 'GROWS'}")
    for name, some in samples.values.items():
        if not name.endswith(", KB"):
            values = [value for _at_s, value in some]
            middle = statistics.median(values)
            _tell(f"{name:26} median {middle:10.1f}  most {max(values):10.1f}")
    counts = ", ".join(f"{name} {count:,}" for name, count in sorted(answered.items()))
    _tell(f"{sum(answered.values()):,} requests: {counts}")
    for finding in findings:
        _tell(f"VIOLATION {finding}")
    _tell("violations " + str(len(findings)))


def _as_json(
    options: argparse.Namespace,
    samples: Samples,
    trends: Mapping[str, Trend],
    answered: Mapping[str, int],
    findings: Sequence[str],
) -> dict[str, Any]:
    return {
        "minutes": options.minutes,
        "streams": options.streams,
        "quick": options.quick,
        "trends": {name: asdict(found) | {"flat": found.flat} for name, found in trends.items()},
        "answered": dict(answered),
        "findings": list(findings),
        "samples": samples.values,
    }


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--streams", type=int, default=30, help="clients that listen to streams")
    parser.add_argument("--quick", type=int, default=8, help="clients of 3 small requests a second")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", type=Path, help="file for every sample")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
