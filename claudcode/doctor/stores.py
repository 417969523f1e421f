"""Looks at Postgres and Valkey: do they answer, how fast, are clocks and settings right."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from redis import ResponseError

from claudcode.doctor.findings import Finding, error, ok, warning
from keys import valkey
from keys.core.valkey_address import Form, parse
from usage import replica

# Leases, windows and expiry live by these clocks; what a client notices begins at a second.
CLOCK_S_WARN, CLOCK_S_MAX = 1.0, 5.0
# An exchange waits twice for Valkey. Postgres is asked for what is new alone.
VALKEY_MS_WARN, VALKEY_MS_MAX = 5.0, 100.0
POSTGRES_MS_WARN, POSTGRES_MS_MAX = 25.0, 500.0
ROUND_TRIPS = 7
POSTGRES_VERSION_MIN = 140_000
SHARE_MAX = 0.9
CLUSTER_SLOTS = 16_384
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
    yield from _replica()


def _replica() -> Iterator[Finding]:
    if not replica.configured():
        return
    name, age_s = "postgres replica", replica.age_s()
    if age_s is None:
        seen = "It does not answer, or is no replica any more: the primary is read instead."
        yield warning(name, seen, "See whether CLAUDCODE_REPLICA_URL is right and the server up.")
    elif age_s > settings.REPLICA_LAG_S_MAX:
        seen = f"{age_s:.0f} s behind: the primary is read instead."
        yield warning(name, seen, "See pg_stat_replication of the primary, and the replica's load.")
    else:
        yield ok(name, f"{age_s:.1f} s behind.")


def look_at_valkey() -> Iterator[Finding]:
    """Connect, and look at each node that has keys: clock, latency, what is kept, what is thrown
    away; of a cluster also whether it is whole, and at clocks against each other.
    """
    client = valkey.client()
    nodes = valkey.primaries(client)
    # With one there is nothing to tell apart.
    names = [f" {_address(node)}" for node in nodes] if len(nodes) > 1 else [""]
    client.ping()
    yield ok("valkey", f"It answers, {len(nodes)} primaries." if len(nodes) > 1 else "It answers.")
    ahead = []
    for node, name in zip(nodes, names, strict=True):
        yield _latency(
            f"valkey latency{name}", _milliseconds(node.ping), VALKEY_MS_WARN, VALKEY_MS_MAX
        )
        ahead.append(_clock_ahead_s(node))
        yield clock(f"valkey clock{name}", ahead[-1])
        info: Any = node.info()
        yield _appending(f"valkey persistence{name}", info.get("aof_enabled"), _fsync(node))
        yield from _memory(info, name)
        yield from _replicas(info, name, expected=_address_form() is not Form.SINGLE)
    if len(nodes) > 1:
        yield clock("valkey clocks", max(ahead) - min(ahead), "between nodes of the cluster")
        yield _whole(nodes[0])


def _clock_ahead_s(node: Any) -> float:
    began = time.time()
    said: Any = node.time()
    return float(said[0] + said[1] / 1e6 - (began + time.time()) / 2)


def _address_form() -> Form:
    return parse(settings.VALKEY_URL).form


def _address(node: Any) -> str:
    at = node.connection_pool.connection_kwargs
    return f"{at['host']}:{at['port']}"


def _replicas(info: dict[str, Any], name: str, *, expected: bool) -> Iterator[Finding]:
    """Look at the replicas of a node that ought to have some."""
    count, asked = int(info.get("connected_slaves", 0)), settings.VALKEY_WAIT_REPLICAS
    seen = f"{count} connected."
    if count < asked:
        advice = "Attach replicas: each exchange waits CLAUDCODE_VALKEY_WAIT_MS_MAX twice for them."
        yield error(f"valkey replicas{name}", f"{seen} {asked} are waited for.", advice)
    elif expected and not count:
        advice = "Attach one: nobody takes over when this node fails."
        yield warning(f"valkey replicas{name}", seen, advice)
    elif expected:
        yield ok(f"valkey replicas{name}", seen)


def _whole(node: Any) -> Finding:
    state = node.cluster("info")
    if state["cluster_state"] == "ok" and int(state["cluster_slots_ok"]) == CLUSTER_SLOTS:
        return ok("valkey cluster", "Every slot is served.")
    seen = f"State {state['cluster_state']}, {state['cluster_slots_ok']} of {CLUSTER_SLOTS} slots."
    return error("valkey cluster", seen, "See CLUSTER NODES for who fails, and bring it back.")


def _migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        first = f"{missing[0][0].app_label}.{missing[0][0].name}"
        seen = f"{len(missing)} are not applied, first {first}."
        yield error("migrations", seen, "Run manage.py migrate.")
    else:
        yield ok("migrations", "All are applied.")


def _appending(name: str, enabled: Any, fsync: str | None) -> Finding:
    advice = "Set appendonly yes and appendfsync everysec."
    if not enabled:
        seen = "It keeps no append-only file: after a restart every window starts from the ledger."
        return warning(name, seen, advice)
    if fsync == "no":
        return warning(name, "It leaves writing to the system: half a minute can be lost.", advice)
    return ok(name, f"Append-only file, fsync {fsync or 'not told'}.")


def _memory(info: dict[str, Any], node: str) -> Iterator[Finding]:
    policy, bound = info.get("maxmemory_policy", ""), int(info.get("maxmemory", 0))
    name, advice = f"valkey eviction{node}", "Set maxmemory-policy volatile-lfu."
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
        yield warning(f"valkey memory{node}", "It has no bound: the system may kill it.", advice)
    elif used > SHARE_MAX * bound:
        advice = "Raise maxmemory, and see whether the drain runs."
        yield warning(f"valkey memory{node}", f"{used / bound:.0%} of the bound is used.", advice)
    else:
        yield ok(f"valkey memory{node}", f"{used / bound:.0%} of the bound is used.")


def _fsync(node: Any) -> str | None:
    try:
        found = node.config_get("appendfsync")
    except ResponseError:  # Managed servers do not tell.
        return None
    return str(found["appendfsync"]) if "appendfsync" in found else None


def clock(name: str, difference_s: float, whose: str = "from this machine's") -> Finding:
    """Return what to think of a clock that is ahead by so much."""
    seen = f"{difference_s:+.3f} s {whose}."
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
