"""How many short streams a second the whole machine passes: nobody pinned, two gateway processes.

The load is `wrk` where it is installed, since it takes less of the machine than ours.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from bench import load
from bench.measure import Run, one_key, wait_for
from bench.requests import NextRequest
from bench.results import Column, Row, Section, Target
from bench.stage import Gateway

CONNECTIONS = 64
WORKERS = 2
# What a gateway in Rust without limits or ledger passed on two such cores.
MARK = Target(2_310, at_least=True)
_SCRIPT = """\
wrk.method = "POST"
{headers}
wrk.body = [==[{body}]==]
"""
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")
_FAILURES = re.compile(r"(?:Non-2xx or 3xx responses|Socket errors): (.*)")


def both_cores(run: Run) -> Section:
    """Streams of 50 events in one burst, through two gateway processes on all cores."""
    everywhere = run.stage.cores.gateway | run.stage.cores.others
    pids = (0, run.stage.upstream_pid, run.stage.valkey_pid)
    with run.stage.another_gateway(workers=WORKERS, cores=everywhere) as gateway:
        _move(pids, everywhere)
        try:
            per_second, remarks = _drive(run, gateway)
        finally:
            _move(pids, run.stage.cores.others)
    rows = (Row("50 events in one burst", (per_second,), MARK),)
    title = f"streams through {WORKERS} gateway processes, {len(everywhere)} cores for everybody"
    return Section("both-cores", title, (Column("streams", "1/s", 0),), rows, remarks)


def _drive(run: Run, gateway: Gateway) -> tuple[float, tuple[str, ...]]:
    next_request = one_key(1, "burst-50")
    wait_for(_ours(gateway, next_request, run.scale.warm_s * 2))  # Both processes, very likely.
    wrk = shutil.which("wrk")
    if wrk is None:
        sampled = wait_for(_ours(gateway, next_request, run.scale.measure_s))
        failed = (f"{sampled.failures} failed.",) if sampled.failures else ()
        return sampled.per_second, ("The load is our own: wrk is not installed.", *failed)
    return _wrk(run, wrk, gateway, next_request)


def _wrk(
    run: Run, wrk: str, gateway: Gateway, next_request: NextRequest
) -> tuple[float, tuple[str, ...]]:
    script = run.stage.folder / "streams.lua"
    _write_script(script, b"".join(next_request()))
    seconds = max(2, round(run.scale.measure_s))
    words = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
    words.append(f"http://127.0.0.1:{gateway.port}/v1/messages")
    output = subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=60 + 2 * seconds
    ).stdout
    rate = _RATE.search(output)
    assert rate is not None, output
    failures = tuple(f"wrk: {found.group(0)}" for found in _FAILURES.finditer(output))
    return float(rate[1]), ("The load is wrk.", *failures)


def _write_script(script: Path, request: bytes) -> None:
    head, _, body = request.decode().partition("\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    headers = "\n".join(
        f'wrk.headers["{name}"] = "{value}"'
        for name, value in fields.items()
        if name not in ("host", "content-length")
    )
    script.write_text(_SCRIPT.format(headers=headers, body=body))


async def _ours(gateway: Gateway, next_request: NextRequest, seconds: float) -> load.Sampled:
    async with load.connected(gateway.port, CONNECTIONS) as lanes:
        return await lanes.run(next_request, seconds)


def _move(pids: tuple[int, ...], cores: frozenset[int]) -> None:
    for pid in pids:
        os.sched_setaffinity(pid, cores)
