"""Looks at Postgres and Valkey: do they answer, how fast, are clocks and settings right."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from redis import ResponseError

from claudcode.doctor.findings import Finding, error, ok, warning
from keys import valkey

# Leases, windows and expiry live by these clocks; what a client notices begins at a second.
CLOCK_S_WARN, CLOCK_S_MAX = 1.0, 5.0
# An exchange waits twice for Valkey. Postgres is asked for what is new alone.
VALKEY_MS_WARN, VALKEY_MS_MAX = 5.0, 100.0
POSTGRES_MS_WARN, POSTGRES_MS_MAX = 25.0, 500.0
ROUND_TRIPS = 7
POSTGRES_VERSION_MIN = 140_000
SHARE_MAX = 0.9
CLOCK = "Run an NTP client (chrony, systemd-timesyncd) on both machines."


def look_at_postgres() -> Iterator[Finding]:
    """Connect, and look at clock, latency, version, connections, migrations."""
    with connection.cursor() as cursor:

        def ask(statement: str) -> Any:
            cursor.execute(statement)
            return cursor.fetchone()[0]

        yield ok("postgres", "It answers.")
        ms = _milliseconds(lambda: ask("SELECT 1"))
        yield _latency("postgres latency", ms, POSTGRES_MS_WARN, POSTGRES_MS_MAX)
        began = time.time()
        theirs = float(ask("SELECT extract(epoch FROM clock_timestamp())"))
        yield clock("postgres clock", theirs - (began + time.time()) / 2)
        version = int(ask("SHOW server_version_num"))
        if version < POSTGRES_VERSION_MIN:
            yield error("postgres version", f"{version // 10_000}.", "Upgrade to 14 or later.")
        most, used = (
            int(ask("SHOW max_connections")),
            int(ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")),
        )
        if used > SHARE_MAX * most:
            advice = "Raise max_connections, or lower CLAUDCODE_DATABASE_CONNECTIONS_MAX."
            yield error("postgres connections", f"{used} of {most} are taken.", advice)
    yield from _migrations()


def look_at_valkey() -> Iterator[Finding]:
    """Connect, and look at clock, latency, what is kept, and what is thrown away."""
    client = valkey.client()
    ms = _milliseconds(client.ping)
    yield ok("valkey", "It answers.")
    yield _latency("valkey latency", ms, VALKEY_MS_WARN, VALKEY_MS_MAX)
    began = time.time()
    said: Any = client.time()
    theirs = said[0] + said[1] / 1e6
    yield clock("valkey clock", theirs - (began + time.time()) / 2)
    info: Any = client.info()
    yield _appending(info.get("aof_enabled"), _config(client, "appendfsync"))
    yield from _memory(info)


def _migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        first = f"{missing[0][0].app_label}.{missing[0][0].name}"
        seen = f"{len(missing)} are not applied, first {first}."
        yield error("migrations", seen, "Run manage.py migrate.")
    else:
        yield ok("migrations", "All are applied.")


def _appending(enabled: Any, fsync: str | None) -> Finding:
    name, advice = "valkey persistence", "Set appendonly yes and appendfsync everysec."
    if not enabled:
        seen = "It keeps no append-only file: after a restart every window starts from the ledger."
        return warning(name, seen, advice)
    if fsync == "no":
        return warning(name, "It leaves writing to the system: half a minute can be lost.", advice)
    return ok(name, f"Append-only file, fsync {fsync or 'not told'}.")


def _memory(info: dict[str, Any]) -> Iterator[Finding]:
    policy, bound = info.get("maxmemory_policy", ""), int(info.get("maxmemory", 0))
    name, advice = "valkey eviction", "Set maxmemory-policy volatile-lfu."
    if policy.startswith("allkeys"):
        seen = f"{policy} throws away limits and events that are not in the ledger."
        yield error(name, seen, advice)
    elif policy == "noeviction" and bound:
        yield warning(name, "noeviction keeps cached answers when memory is short.", advice)
    else:
        yield ok(name, f"{policy or 'not told'}.")
    used = int(info.get("used_memory", 0))
    if not bound:
        advice = "Set maxmemory to what the machine can spare."
        yield warning("valkey memory", "It has no bound: the system may kill it.", advice)
    elif used > SHARE_MAX * bound:
        advice = "Raise maxmemory, and see whether the drain runs."
        yield warning("valkey memory", f"{used / bound:.0%} of the bound is used.", advice)
    else:
        yield ok("valkey memory", f"{used / bound:.0%} of the bound is used.")


def _config(client: Any, name: str) -> str | None:
    try:
        found = client.config_get(name)
    except ResponseError:  # Managed servers do not tell.
        return None
    return str(found[name]) if name in found else None


def clock(name: str, difference_s: float) -> Finding:
    """Return what to think of a clock that is ahead by so much."""
    seen = f"{difference_s:+.3f} s from this machine's."
    if abs(difference_s) > CLOCK_S_MAX:
        return error(name, seen, CLOCK)
    return warning(name, seen, CLOCK) if abs(difference_s) > CLOCK_S_WARN else ok(name, seen)


def _latency(name: str, ms: float, warn: float, most: float) -> Finding:
    seen = f"{ms:.2f} ms a round trip."
    advice = "Move the gateway and the store into one network, or see what keeps the store busy."
    if ms > most:
        return error(name, seen, advice)
    return warning(name, seen, advice) if ms > warn else ok(name, seen)


def _milliseconds(ask: Callable[[], Any]) -> float:
    def once() -> float:
        began = time.perf_counter()
        ask()
        return (time.perf_counter() - began) * 1000

    once()  # Connects.
    return statistics.median(once() for _ in range(ROUND_TRIPS))
