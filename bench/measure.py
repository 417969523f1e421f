"""One measurement: what the gateway and Valkey used while a load ran, and what the load saw."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from bench import load, proc
from bench.load import Lanes, Sampled
from bench.population import secret
from bench.requests import NextRequest, requests
from bench.scale import Scale
from bench.stage import FIRST_KEY, Gateway, Stage

T = TypeVar("T")

# Settlements begin with an answer's last bytes and end a little after them.
SETTLING_S = 0.2


@dataclass(frozen=True, slots=True)
class Run:
    """What every case gets."""

    stage: Stage
    scale: Scale


@dataclass(frozen=True, slots=True)
class Measured:
    """Processor seconds of gateway and Valkey, and the exchanges they are for."""

    gateway_s: float
    valkey_s: float
    sampled: Sampled

    @property
    def gateway_ms_each(self) -> float:
        """Processor time of the gateway for one exchange."""
        return 1000 * self.gateway_s / max(1, self.sampled.count)

    @property
    def valkey_ms_each(self) -> float:
        """Processor time of Valkey for one exchange."""
        return 1000 * self.valkey_s / max(1, self.sampled.count)


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from a case: Django's ORM, which some use, must not be in a loop."""
    return uvloop.run(work)


def one_key(size_kb: int, answer: str, *, alike: bool = False) -> NextRequest:
    """Return requests of the first key."""
    return requests([secret(FIRST_KEY).text], size_kb * 1000, answer, alike=alike)


async def under_load(
    run: Run, gateway: Gateway, next_request: NextRequest, connections: int
) -> Measured:
    """Warm up, then measure for the scale's time."""
    async with load.connected(gateway.port, connections) as lanes:
        await lanes.run(next_request, run.scale.warm_s)
        return await measured(run, gateway, lanes, next_request, run.scale.measure_s)


async def measured(
    run: Run,
    gateway: Gateway,
    lanes: Lanes,
    next_request: NextRequest,
    seconds: float,
    exchanges_max: int | None = None,
) -> Measured:
    """Measure `seconds` of load, or `exchanges_max` exchanges, on connections that are there."""
    await asyncio.sleep(SETTLING_S)
    pids, valkey = proc.family(gateway.pid), [run.stage.valkey_pid]
    before = proc.cpu_seconds(pids), proc.cpu_seconds(valkey)
    sampled = await lanes.run(next_request, seconds, exchanges_max)
    await asyncio.sleep(SETTLING_S)
    return Measured(
        proc.cpu_seconds(pids) - before[0], proc.cpu_seconds(valkey) - before[1], sampled
    )


async def alternately(
    ports: dict[str, int], next_request: NextRequest, connections: int, scale: Scale
) -> dict[str, Sampled]:
    """Load several ports in turn, round after round, so that a noisy neighbour hits them alike."""
    found = {name: Sampled() for name in ports}
    lanes = [(name, load.connected(port, connections)) for name, port in ports.items()]
    async with asyncio.timeout(120 + 10 * scale.rounds * scale.round_s * len(ports)):
        opened = [(name, await lane.__aenter__()) for name, lane in lanes]
        for _, lane in opened:
            await lane.run(next_request, scale.round_s)
        for _ in range(scale.rounds):
            for name, lane in opened:
                _merge(found[name], await lane.run(next_request, scale.round_s))
        for _, lane in opened:
            lane.close()
    return found


def now_ms() -> int:
    """Return the milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _merge(into: Sampled, more: Sampled) -> None:
    into.seconds += more.seconds
    into.first_s += more.first_s
    into.whole_s += more.whole_s
    into.failures += more.failures
    into.example = into.example or more.example
