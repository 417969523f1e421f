"""Whether an exchange costs more when there are more keys, or more buckets in use."""

import asyncio

from bench import load
from bench.events import append, event
from bench.measure import Measured, Run, measured, now_ms, under_load, wait_for
from bench.population import WINDOWS_S, add_keys, secret
from bench.requests import NextRequest, requests
from bench.results import Column, Row, Section, errors_remark
from bench.stage import EMPTY_KEY, FULL_KEY, KEYS_READY
from keys import valkey
from keys.core.limits import BUCKETS_MAX, bucket_s
from keys.invalidation import EVERYTHING, publish
from usage.ledger import drain

CONNECTIONS = 32
COLUMNS = (Column("CPU", "ms", 3), Column("CPU of Valkey", "ms", 3), Column("exchanges", "1/s", 0))
READS = (Column("CPU, first use", "ms", 1), Column("CPU, read again", "ms", 1))
# Every key is looked up once, four at a time, at some milliseconds each.
READS_SECONDS_MAX = 120.0
# An announcement reaches a gateway within milliseconds; this is for a busy machine.
ANNOUNCED_S = 1.0


def keys(run: Run) -> Section:
    """The same load over more and more keys; those in use are spread over the table."""
    rows, found, there = [], [], KEYS_READY
    for size in run.scale.keys:
        add_keys(there, size + 1)
        there = max(there, size + 1)
        used = min(size, run.scale.keys_used)
        chosen = [secret(1 + place * size // used).text for place in range(used)]
        first, known, again = wait_for(_lives(run, requests(chosen, 1000, "whole"), used))
        reads = (first.gateway_ms_each, again.gateway_ms_each)
        rows.append(Row(f"{size:,} keys, {used:,} in use", (*_values(known), *reads)))
        found += [first, known, again]
    title = "one exchange of 1 KB, not streamed, by number of keys (target: flat)"
    remark = (
        "A first use reads the key and the past of its windows from Postgres. The key is read"
        " again after a change, and when CLAUDCODE_POLICY_AGE_S_MAX has passed.",
    )
    return Section("keys", title, COLUMNS + READS, tuple(rows), remark + _remarks(found))


def buckets(run: Run) -> Section:
    """A key that has just begun, and one that was busy in every bucket of its windows."""
    _fill(FULL_KEY)
    rows, found = [], []
    for label, number in (("1 busy bucket", EMPTY_KEY), ("300 busy buckets", FULL_KEY)):
        next_request = requests([secret(number).text], 1000, "whole")
        known = wait_for(under_load(run, run.stage.gateway, next_request, CONNECTIONS))
        rows.append(Row(label, _values(known)))
        found.append(known)
    title = "one exchange of 1 KB, not streamed, by buckets in use in both budgets"
    return Section("buckets", title, COLUMNS, tuple(rows), _remarks(found))


async def _lives(run: Run, next_request: NextRequest, used: int) -> tuple[Measured, ...]:
    """Measure each key's first use, then its ordinary uses, then the one after a change."""
    gateway, once = run.stage.gateway, READS_SECONDS_MAX
    async with load.connected(gateway.port, CONNECTIONS) as lanes:
        first = await measured(run, gateway, lanes, next_request, once, used)
        await lanes.run(next_request, run.scale.warm_s)
        known = await measured(run, gateway, lanes, next_request, run.scale.measure_s)
        publish(EVERYTHING)
        await asyncio.sleep(ANNOUNCED_S)
        return first, known, await measured(run, gateway, lanes, next_request, once, used)


def _fill(apikey_id: int) -> None:
    """Put a use into every bucket of a key's budgets, into the ledger: a cold start finds them."""
    now = now_ms()
    instants = [now - place * bucket_s(w) * 1000 for w in WINDOWS_S for place in range(BUCKETS_MAX)]
    append(valkey.client(), (event(apikey_id, instant) for instant in sorted(instants)))
    drain()


def _values(found: Measured) -> tuple[float, ...]:
    return found.gateway_ms_each, found.valkey_ms_each, found.sampled.per_second


def _remarks(found: list[Measured]) -> tuple[str, ...]:
    sampled = [one.sampled for one in found]
    example = next((one.example for one in sampled if one.example), "")
    return errors_remark([one.failures for one in sampled], example)
