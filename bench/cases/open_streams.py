"""Very many streams that are open at once and say a word now and then, as agents' do.

What a gateway process holds for them, what they cost while they last, and what becomes of them when
all hang up in the same moment.
"""

import asyncio
import time
from dataclasses import dataclass

from django.conf import settings

from bench import load, proc
from bench.measure import Run, one_key, wait_for
from bench.processes import allow_many_files
from bench.recorded import SLOW_GAP_S
from bench.results import Column, Row, Section
from bench.stage import Gateway
from keys import valkey
from keys.limiter import shard_tag

COLUMNS = (
    Column("RSS a stream", "KB", 1),
    Column("RSS", "MB", 0),
    Column("CPU of the gateway", "% of a core", 1),
    Column("CPU of Valkey", "% of a core", 1),
    Column("CPU an event", "µs", 0),
    Column("settled after", "s", 1),
)
OPEN_SECONDS_MAX = 300.0
OPENED_AT_ONCE = 100
SETTLED_SECONDS_MAX = 120.0
# Of a gateway process for each stream: the client's socket and upstream's. Beyond them some more.
FILES_PER_STREAM, FILES_BESIDE = 2, 500


@dataclass(frozen=True, slots=True)
class _Held:
    """What was seen: kilobytes resident, processor seconds within `seconds`, and the end."""

    before_kb: int
    held_kb: int
    seconds: float
    gateway_s: float
    valkey_s: float
    in_flight: int
    settled_s: float | None


def open_streams(run: Run) -> Section:
    """Open the scale's number of streams, hold them, then hang up everywhere."""
    streams = run.scale.open_streams
    # As few processes as may hold them all, whatever this machine lets one open.
    workers = -(-streams * FILES_PER_STREAM // (allow_many_files() - FILES_BESIDE))
    # The connections upstream are bounded too.
    bounds = {"CLAUDCODE_UPSTREAM_CONNECTIONS_MAX": str(streams)}
    cores = run.stage.cores.gateway
    with run.stage.another_gateway(workers=workers, cores=cores, settings=bounds) as gateway:
        held = wait_for(_hold(run, gateway, streams))
    events = streams * held.seconds / SLOW_GAP_S
    values = (
        (held.held_kb - held.before_kb) / streams,
        held.held_kb / 1000,
        100 * held.gateway_s / held.seconds,
        100 * held.valkey_s / held.seconds,
        1e6 * held.gateway_s / events,
        held.settled_s,
    )
    title = f"streams open at once, an event every {SLOW_GAP_S:g} s, for"
    processes = f"{workers} gateway process{'es' * (workers > 1)}"
    rows = (Row(f"{streams:,} streams, {processes}", values),)
    remarks = (
        f"{held.in_flight:,} leases were counted in Valkey while they were open; the last column is"
        " when it had none after all clients hung up in one moment.",
    )
    return Section("open-streams", f"{title} {held.seconds:.0f} s", COLUMNS, rows, remarks)


async def _hold(run: Run, gateway: Gateway, streams: int) -> _Held:
    pids = proc.family(gateway.pid)
    async with load.connected(gateway.port, 32) as lanes:
        await lanes.run(one_key(1, "burst-50"), run.scale.warm_s)
    await asyncio.sleep(1.0)
    before_kb = proc.resident_kb(pids)
    async with load.connected(gateway.port, streams) as lanes:
        async with asyncio.timeout(OPEN_SECONDS_MAX):
            await lanes.start(one_key(1, "slow"), at_once=OPENED_AT_ONCE)
        began, used = time.perf_counter(), _used(run, pids)
        await asyncio.sleep(run.scale.open_s)
        seconds, after = time.perf_counter() - began, _used(run, pids)
        held_kb, in_flight = proc.resident_kb(pids), _leases()
    settled_s = await _settled()
    gateway_s, valkey_s = (now - then for now, then in zip(after, used, strict=True))
    return _Held(before_kb, held_kb, seconds, gateway_s, valkey_s, in_flight, settled_s)


def _used(run: Run, pids: list[int]) -> tuple[float, float]:
    return proc.cpu_seconds(pids), proc.cpu_seconds([run.stage.valkey_pid])


async def _settled() -> float | None:
    began = time.perf_counter()
    while time.perf_counter() - began < SETTLED_SECONDS_MAX:
        if not _leases():
            return time.perf_counter() - began
        await asyncio.sleep(0.1)
    return None


def _leases() -> int:
    pipeline = valkey.client().pipeline(transaction=False)
    for shard in range(settings.SHARDS):
        pipeline.zcard(f"{shard_tag(shard)}:leases")
    return sum(pipeline.execute())
