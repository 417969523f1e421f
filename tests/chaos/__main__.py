"""`python -m tests.chaos`: kill everything under load, then hold all books against each other.

Exit code 1 on any violation. Linux, for it stops processes by signal and looks into /proc.
"""

import argparse
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.journal import Incident, Request
from tests.chaos.reconcile import DRAIN_SECONDS_MAX, Findings, reconcile
from tests.chaos.siege import ATTACKS, FULL, SHORT, Pace, Siege
from tests.chaos.stage import Stage, installation
from tests.chaos.verdict import counted, ledger_rows, verify


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = _options()
    pace = SHORT if options.short else FULL
    settings = {
        "LEASE_TTL_S": str(pace.lease_ttl_s),
        "LEASE_RENEW_S": str(pace.renew_s),
        "DRAIN_SECONDS_MAX": str(DRAIN_SECONDS_MAX),
    }
    seconds = options.seconds or pace.run_s
    tell(
        f"chaos: seed {options.seed}, {seconds:g} s, {options.streams} streams through 2 gateways,"
        f" leases of {pace.lease_ttl_s} s renewed every {pace.renew_s} s"
    )
    with installation(**settings) as stage:
        try:
            return _besiege(stage, pace, options.seed, options.streams, options.kill, seconds)
        finally:
            if options.logs:
                shutil.copytree(stage.state / "logs", options.logs, dirs_exist_ok=True)


def tell(line: str) -> None:
    """Print a line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _besiege(
    stage: Stage, pace: Pace, seed: int, streams: int, names: Sequence[str], seconds: float
) -> int:
    # These need Django.
    from tests.chaos.aftermath import in_flight_as_told, left_behind, wait_until_quiet
    from tests.chaos.cast import developers
    from tests.chaos.crowd import Crowd

    cast = developers()
    crowd = Crowd(stage.urls, cast, streams, seed, patience_s=pace.freeze_s + 30)
    siege = Siege(stage, crowd, pace, random.Random(seed), tell)
    crowd.start()
    time.sleep(3)  # Until all have begun.
    siege.run(names, seconds)
    crowd.stop()
    answered = time.monotonic()
    with stage.store() as store:
        stuck = wait_until_quiet(store, pace.lease_ttl_s)
        quiet_s = time.monotonic() - answered
        stuck += left_behind(store)
    stuck += in_flight_as_told(stage.urls, cast)
    differences, verified = verify()
    findings = reconcile(crowd.journal, stage.served(), ledger_rows(crowd.name), siege.incidents)
    findings.violations += stuck + differences
    # Celery's worker may; whoever runs it starts it again.
    ended = {program.name: program.ended_by_itself for program in stage.programs}
    findings.violations += [
        f"{gateway.name} ended by itself" for gateway in stage.gateways if ended[gateway.name]
    ]
    _report(crowd.journal, siege.incidents, findings, quiet_s, verified, Counter(ended))
    if findings.violations:
        _logs(stage)
    return 1 if findings.violations else 0


def _report(
    journal: Sequence[Request],
    incidents: Sequence[Incident],
    findings: Findings,
    quiet_s: float,
    verified: str,
    ended: Counter[str],
) -> None:
    tell(f"incidents  {len(incidents)}")
    tell(f"clients    {len(journal):,} requests: {counted(findings.seen)}")
    tell(f"upstream   {findings.outcomes.total():,} served: {counted(findings.outcomes)}")
    tell(f"ledger     {findings.statuses.total():,} rows: {counted(findings.statuses)}")
    tell(f"exact      {findings.exact:,} rows equal upstream's counts")
    tell(f"quiet      {quiet_s:.1f} s after the last answer")
    tell(f"verify     {verified}")
    tell(f"revived    {counted(+ended) or 'none ended by itself'}")
    tell(f"violations {len(findings.violations)}")
    for violation in findings.violations[:60]:
        tell(f"  {violation}")


def _logs(stage: Stage) -> None:
    for program in stage.programs:
        lines = program.log_lines("ERROR", "CRITICAL")
        tell(f"{program.name}: {len(lines)} errors logged")
        for line in lines[-3:]:
            tell(f"  {line[:2000]}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="short leases, one round")
    parser.add_argument("--seconds", type=float, help="how long (900; 45 with --short)")
    parser.add_argument("--streams", type=int, default=100, help="clients that listen to streams")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument(
        "--kill",
        type=lambda text: text.split(","),
        default=list(ATTACKS),
        help=f"which of {','.join(ATTACKS)}",
    )
    parser.add_argument("--logs", type=Path, help="folder to copy every log to")
    options = parser.parse_args()
    unknown = set(options.kill) - set(ATTACKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
