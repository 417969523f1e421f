"""`python -m bench`: the command line."""

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import stage
from bench.cases import CASES
from bench.charts import write_charts
from bench.processes import Cores, NotReady
from bench.results import Report, Section, from_json
from bench.scale import DEFAULT, FULL, QUICK
from bench.table import render, render_section
from bench.yardstick import yardstick_ms
from claudcode import env
from claudcode.engines.children import EngineError

RESULTS = env.ROOT / "var" / "bench"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser("bench", description="Measure what an exchange costs.")
    size = parser.add_mutually_exclusive_group()
    for scale, minutes in ((QUICK, "about 1 minute"), (FULL, "about 15 minutes")):
        size.add_argument(
            f"--{scale.name}", dest="scale", action="store_const", const=scale, help=minutes
        )
    parser.set_defaults(scale=DEFAULT)
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; repeatable")
    parser.add_argument(
        "--json", type=Path, default=RESULTS / "last.json", metavar="FILE", help="the figures"
    )
    parser.add_argument("--charts", type=Path, metavar="DIR", help="write charts there as SVG")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="show the figures of an earlier run, and measure nothing",
    )
    parser.add_argument(
        "--profile", action="store_true", help="profile the gateway by py-spy, if it is installed"
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Run, show, and write; return the exit code."""
    options = parse()
    if options.source is not None:
        report = from_json(json.loads(options.source.read_text()))
        print(render(report))
        _write_charts(report, options.charts)
        return 0
    if not Path("/proc/self/stat").exists():
        print("The benchmark reads /proc, so it needs Linux.", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        report = _measure(options)
    except KeyboardInterrupt:
        return 130
    except (EngineError, NotReady) as error:
        print(error, file=sys.stderr)
        return 1
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report.as_json(), indent=1))
    print(f"Figures: {options.json}")
    _write_charts(report, options.charts)
    return 0


def _measure(options: argparse.Namespace) -> Report:
    print("Starting engines, gateway and upstream ...", file=sys.stderr)
    with stage.built() as built:
        # Django's settings can be read only now.
        from bench import profiler
        from bench.measure import Run

        run = Run(built, options.scale)
        report = Report(_now(), _machine(built.cores), options.scale.name)
        print(f"{render(report)}\n")
        for section in _sections(run, options.case or list(CASES)):
            report.sections.append(section)
            print(f"{render_section(section)}\n", flush=True)
        if options.profile:
            for section in profiler.record(run, RESULTS):
                print(f"{render_section(section)}\n", flush=True)
        return report


def _sections(run: Any, names: list[str]) -> Iterator[Section]:
    with contextlib.ExitStack() as stack:
        working = False
        for case in (CASES[name] for name in names):
            if case.working and not working:
                stack.enter_context(run.stage.working())
            elif working and not case.working:
                stack.close()
            working = case.working
            yield case.load()(run)


def _machine(cores: Cores) -> dict[str, str]:
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    alone = "shares one core with the rest" if cores.shared else "alone on one core"
    return {
        "cores": str(len(cores.gateway | cores.others)),
        "processor": model[0] if model else platform.machine(),
        "Python": platform.python_version(),
        "gateway": alone,
        "load average": f"{os.getloadavg()[0]:.1f}",
        "yardstick": f"{yardstick_ms():.0f} ms",
    }


def _write_charts(report: Report, folder: Path | None) -> None:
    if folder is not None:
        for file in write_charts(report, folder):
            print(f"Chart: {file}")


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
