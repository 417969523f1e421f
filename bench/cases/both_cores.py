"""How many short streams a second the whole machine passes: nobody pinned, one process and two.

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
WORKERS = (1, 2)
# What a gateway in Rust without limits or ledger passed on two such cores.
MARK = Target(2_310, at_least=True)
# No two bodies are alike, or the response cache would answer.
_SCRIPT = """\
local headers = {{{headers}}}
local before, after = [==[{before}]==], [==[{after}]==]
local serial = {first}
request = function()
  serial = serial + 1
  local body = before .. string.format("%012.0f", serial) .. after
  return wrk.format("POST", nil, headers, body)
end
"""
_SERIAL = re.compile(r"[0-9]{12}")
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")
_FAILURES = re.compile(r"(?:Non-2xx or 3xx responses|Socket errors): (.*)")


def both_cores(run: Run) -> Section:
    """Streams of 50 events in one burst, through one gateway process and two on all cores."""
    everywhere = run.stage.cores.gateway | run.stage.cores.others
    pids = (0, run.stage.upstream_pid, run.stage.valkey_pid)
    rows: list[Row] = []
    remarks: tuple[str, ...] = ()
    for workers in WORKERS:
        with run.stage.another_gateway(workers=workers, cores=everywhere) as gateway:
            _move(pids, everywhere)
            try:
                per_second, remarks = _drive(run, gateway)
            finally:
                _move(pids, run.stage.cores.others)
        label = f"{workers} gateway process{'es' * (workers > 1)}"
        rows.append(Row(label, (per_second,), MARK if workers == max(WORKERS) else None))
    title = f"streams of 50 events in one burst, {len(everywhere)} cores for everybody"
    return Section("both-cores", title, (Column("streams", "1/s", 0),), tuple(rows), remarks)


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
    headers = ", ".join(
        f'["{name}"] = "{value}"'
        for name, value in fields.items()
        if name not in ("host", "content-length")
    )
    serial = _SERIAL.search(body)
    assert serial is not None
    before, after = body[: serial.start()], body[serial.end() :]
    script.write_text(
        _SCRIPT.format(headers=headers, before=before, after=after, first=int(serial[0]))
    )


async def _ours(gateway: Gateway, next_request: NextRequest, seconds: float) -> load.Sampled:
    async with load.connected(gateway.port, CONNECTIONS) as lanes:
        return await lanes.run(next_request, seconds)


def _move(pids: tuple[int, ...], cores: frozenset[int]) -> None:
    for pid in pids:
        os.sched_setaffinity(pid, cores)
