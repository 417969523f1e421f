"""`python -m tests.fleet`: several hosts, their failures under load, and all books compared.

Exit code 1 on any violation. Linux, as root: hosts are network namespaces.
"""

import argparse
import functools
import random
import re
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from tests.chaos.__main__ import tell
from tests.chaos.crowd import Crowd, Developer
from tests.chaos.mix import SLOW
from tests.chaos.programs import START_S, answers
from tests.chaos.reconcile import DRAIN_SECONDS_MAX
from tests.chaos.verdict import counted, ledger_rows, verify
from tests.fleet import network
from tests.fleet.limits import SLACK_S
from tests.fleet.scenes import CLUSTERED, FULL, IN_SHORT, SCENES, SHORT, Pace, Play
from tests.fleet.stage import Fleet, fleet
from tests.nginx import NGINX
from tests.waiting import wait_until

# Beside the many, these few clients are at their limits, and these ask the last gateway itself.
# Streams, and clients of small requests.
NARROW = (8, 8)
DIRECT = (8, 4)
# A gateway that stops waits for its longest stream: in the short form some seconds.
BRISK = tuple(replace(kind, marks=re.sub(r"rate=[^]]+", "rate=60", kind.marks)) for kind in SLOW)
QUICK_CLIENTS = 8


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = _options()
    missing = network.missing() or ("" if Path(NGINX).exists() else "nginx is not installed")
    if missing:
        tell(f"cannot run here: {missing}")
        return 2
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _end)
    pace = SHORT if options.short else FULL
    settings = {
        "LEASE_TTL_S": str(pace.lease_ttl_s),
        "LEASE_RENEW_S": str(pace.renew_s),
        "DRAIN_SECONDS_MAX": str(DRAIN_SECONDS_MAX),
        "SHUTDOWN_SECONDS_MAX": "50",
        "VALKEY_SECONDS_MAX": str(SLACK_S),
        "LOG_LEVEL": "WARNING",
    }
    began = time.monotonic()
    with fleet(clustered=not options.single, **settings) as made:
        tell(
            f"fleet: seed {options.seed}, {options.streams} streams through nginx and 3 gateways,"
            f" {len(made.valkeys.hosts)} Valkeys, 2 Postgres, up in"
            f" {time.monotonic() - began:.0f} s"
        )
        try:
            code = _play(made, pace, options)
        finally:
            if options.logs:
                shutil.copytree(made.folder / "logs", options.logs, dirs_exist_ok=True)
        tell(f"took       {time.monotonic() - began:.0f} s")
        return code


def _play(made: Fleet, pace: Pace, options: argparse.Namespace) -> int:
    # These need Django.
    from tests.chaos.cast import developers
    from tests.fleet.cast import narrow

    many, few = developers(), narrow()
    patience_s = pace.cut_s + 90
    narrowed = [key.developer for key in few]
    casts = (
        ("fleet", (made.url,), many, options.streams, QUICK_CLIENTS),
        ("narrow", (made.url,), narrowed, *NARROW),
        ("direct", made.gateway_urls[-1:], [*many, *narrowed], *DIRECT),
    )
    crowds = [
        # Each with dice of its own: a question that is asked again would be a cached answer.
        Crowd(
            urls,
            keys,
            streams,
            options.seed + at,
            patience_s,
            name,
            quick,
            slow_kinds=BRISK if options.short else SLOW,
        )
        for at, (name, urls, keys, streams, quick) in enumerate(casts)
    ]
    _introduce(made, [*many, *narrowed])
    play = Play(made, crowds[0], pace, tell)
    for crowd in crowds:
        crowd.start()
    time.sleep(4)  # Until all have begun.
    for name in options.scenes:
        SCENES[name](play)
        play.rest()
    for crowd in crowds:
        crowd.stop()
    return _judge(made, play, crowds, few)


def _introduce(made: Fleet, developers: Sequence[Developer]) -> None:
    """Have every gateway meet every key, so that a crowd is not the first that it ever sees."""
    for url in made.gateway_urls:
        for developer in developers:
            request = urllib.request.Request(
                f"{url}/v1/key-status", headers={"x-api-key": developer.secret}
            )
            wait_until(functools.partial(answers, request), START_S)


def _judge(made: Fleet, play: Play, crowds: Sequence[Crowd], few: Sequence[Any]) -> int:
    from django.conf import settings

    from keys.valkey import client_of
    from tests.chaos.aftermath import in_flight_as_told, left_behind, wait_until_quiet
    from tests.fleet.judge import forgiven, judged

    answered = time.monotonic()
    store = client_of(settings.VALKEY_URL, 5.0)
    play.violations += wait_until_quiet(store, play.pace.lease_ttl_s)
    quiet_s = time.monotonic() - answered
    developers = {key for crowd in crowds for key in crowd.developers}
    play.violations += left_behind(store)
    play.violations += in_flight_as_told(made.gateway_urls, list(developers))
    differences, verified = verify()
    rows = ledger_rows(*(crowd.name for crowd in crowds))
    judgement = judged(
        [request for crowd in crowds for request in crowd.journal],
        [entry | {"account": "healthy"} for entry in made.simulator.entries()],
        rows,
        play.incidents,
        [key.limited for key in few],
        play.pace.renew_s,
    )
    below = [
        text for text in differences if forgiven(text, rows, play.incidents, play.pace.renew_s)
    ]
    judgement.findings.violations += play.violations
    judgement.findings.violations += [text for text in differences if text not in below]
    judgement.findings.violations += [
        f"{gateway.name} ended by itself" for gateway in made.gateways if not gateway.runs
    ]
    _report(judgement, quiet_s, verified, below)
    if judgement.findings.violations:
        _logs(made)
    return 1 if judgement.findings.violations else 0


def _report(judgement: Any, quiet_s: float, verified: str, below: Sequence[str]) -> None:
    findings = judgement.findings
    tell(f"clients    {findings.seen.total():,} requests: {counted(findings.seen)}")
    tell(f"nginx      said itself: {dict(judgement.of_nginx) or 'nothing'}")
    tell(f"upstream   {findings.outcomes.total():,} served: {counted(findings.outcomes)}")
    tell(f"ledger     {findings.statuses.total():,} rows: {counted(findings.statuses)}")
    tell(f"exact      {findings.exact:,} rows equal upstream's counts")
    tell(f"restarts   {judgement.restarted_through:,} requests went on through them")
    for name, verdict in judgement.limits.items():
        beyond = f"; {verdict.excess:,} beyond, {verdict.allowed:,} allowed in a failover"
        tell(f"limit      {name}: {verdict.most:,} at most{beyond if verdict.excess else ''}")
    tell(f"quiet      {quiet_s:.1f} s after the last answer")
    tell(f"verify     {verified}")
    for difference in below:
        tell(f"forgotten  {difference}")
    tell(f"violations {len(findings.violations)}")
    for violation in findings.violations[:60]:
        tell(f"  {violation}")


def _logs(made: Fleet) -> None:
    for program in made.programs:
        lines = program.log_lines("ERROR", "CRITICAL")
        tell(f"{program.name}: {len(lines)} errors logged")
        for line in lines[-3:]:
            tell(f"  {line[:2000]}")


def _end(_signum: int, _frame: object) -> NoReturn:
    raise SystemExit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--short", action="store_true", help="three scenes, 60 streams")
    parser.add_argument("--streams", type=int, help="clients that listen to streams (200; 60)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--single", action="store_true", help="one Valkey, no cluster")
    parser.add_argument(
        "--scenes", type=lambda text: text.split(","), help=f"which of {','.join(SCENES)}"
    )
    parser.add_argument("--logs", type=Path, help="folder to copy every log to")
    options = parser.parse_args()
    options.streams = options.streams or (60 if options.short else 200)
    options.scenes = options.scenes or list(IN_SHORT if options.short else SCENES)
    unknown = set(options.scenes) - set(SCENES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if options.single:
        options.scenes = [name for name in options.scenes if name not in CLUSTERED]
    return options


if __name__ == "__main__":
    sys.exit(main())
