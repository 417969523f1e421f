"""What an open stream that says nothing holds: resident memory for each."""

import asyncio

from bench import load, proc
from bench.measure import Run, one_key, wait_for
from bench.results import Column, Row, Section, Target

COLUMNS = (
    Column("RSS a stream", "KB", 1),
    Column("streams", "", 0),
    Column("RSS before", "MB", 1),
    Column("RSS with them", "MB", 1),
    Column("RSS after", "MB", 1),
)
OPEN_SECONDS_MAX = 60.0
# Opened in groups: a listening queue is not what is measured.
OPENED_AT_ONCE = 100


def memory(run: Run) -> Section:
    """Open many streams that stall after their first event, and look at the gateway's memory."""
    # One of its own: in a process that had many streams before, new ones fill what those left.
    with run.stage.another_gateway(workers=1, cores=run.stage.cores.gateway) as gateway:
        before, held, after = wait_for(_watch(run, gateway.port, proc.family(gateway.pid)))
    streams = run.scale.idle_streams
    values = ((held - before) / streams, streams, before / 1000, held / 1000, after / 1000)
    rows = (Row("idle streams", values, Target(40)),)
    return Section("memory", "memory of open streams that say nothing", COLUMNS, rows)


async def _watch(run: Run, port: int, pids: list[int]) -> tuple[int, int, int]:
    async with load.connected(port, 32) as lanes:
        await lanes.run(one_key(1, "burst-50"), run.scale.warm_s)
    await asyncio.sleep(1.0)
    before = proc.resident_kb(pids)
    async with load.connected(port, run.scale.idle_streams) as lanes:
        async with asyncio.timeout(OPEN_SECONDS_MAX):
            await lanes.start(one_key(1, "stalled"), at_once=OPENED_AT_ONCE)
        await asyncio.sleep(1.0)
        held = proc.resident_kb(pids)
    await asyncio.sleep(2.0)
    return before, held, proc.resident_kb(pids)
