"""What waiting for a replica costs: `python -m bench.replicas`.

One primary and one replica on this machine; pairs of admission and settlement over one link, one
at a time and many at a time, without WAIT, with it, and with a replica that is gone.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from redis.asyncio import Redis

from keys.core.limits import Concurrency, Limit, Unit, Wanted
from keys.limiter import Limiter, Past, Settlement
from keys.link import Replication
from tests.policies import a_policy
from tests.valkey_cluster import Server
from tests.waiting import wait_until

PAIRS = 3_000
LIMITS = tuple(Limit("k1.0", unit, 3_600, 2**50) for unit in (Unit.TOKENS, Unit.NANOUSD))
POLICY = a_policy(limits=LIMITS, concurrencies=(Concurrency("k1.0", None),))
WANTED = Wanted(1, 1, 1, 1, 1, 1)
EVENT = b"x" * 450
_numbers: Iterator[int] = iter(range(10**9))


async def nothing_past(_limit: Limit, _backlog: object) -> Past:
    """The ledger of a key that was never used."""
    return Past(())


async def pair(limiter: Limiter) -> float:
    """Admit and settle once; return the seconds of the admission."""
    exchange, began = f"e{next(_numbers)}", time.perf_counter()
    await limiter.admit(POLICY, exchange, WANTED, EVENT)
    admitted = time.perf_counter() - began
    settlement = Settlement(0, exchange, "k1.0", EVENT, 1, 1, EVENT)
    await limiter.settle(settlement, again=False)
    return admitted


async def measure(name: str, port: int, at_a_time: int, replication: Replication | None) -> None:
    """Print CPU time a pair and latency of admissions."""
    client = Redis(port=port)
    async with (
        client,
        Limiter(client, nothing_past, lease_ttl_ms=60_000, replication=replication) as limiter,
    ):
        await pair(limiter)
        pairs = PAIRS if name != "gone" else PAIRS // 20
        left, seconds = iter(range(pairs)), []

        async def work() -> None:
            for _number in left:
                seconds.append(await pair(limiter))

        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_a_time)))
        cpu, took = time.process_time() - cpu, time.perf_counter() - began
    middle, high = statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]
    sys.stdout.write(
        f"{name:>8} {at_a_time:>4} at a time: {1e6 * cpu / pairs:6.0f} µs CPU a pair,"
        f" admission {1e3 * middle:7.2f} ms, 99 % in {1e3 * high:7.2f} ms,"
        f" {pairs / took:7.0f} pairs/s\n"
    )


def main() -> None:
    """Start both servers and measure each way."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        primary = Server(folder, "primary", {})
        running.callback(primary.stop)
        replica = Server(folder, "replica", {"replicaof": f"127.0.0.1 {primary.port}"})
        running.callback(replica.stop)
        wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up", 20)
        for at_a_time in (1, 32, 256):
            asyncio.run(measure("no WAIT", primary.port, at_a_time, None))
            asyncio.run(measure("WAIT", primary.port, at_a_time, Replication(1, 100)))
        replica.kill()
        asyncio.run(measure("gone", primary.port, 32, Replication(1, 100)))


if __name__ == "__main__":
    main()
