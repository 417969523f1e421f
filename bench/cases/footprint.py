"""What things take while they are kept: bytes in Valkey and in Postgres, for each of their kind."""

from django.conf import settings
from django.db import connection

from bench.events import append, event
from bench.measure import Run, now_ms, one_key, under_load, wait_for
from bench.population import WINDOWS_S, add_keys, secret
from bench.requests import requests
from bench.results import Column, Row, Section
from bench.stage import FIRST_KEY, FULL_KEY, KEYS_READY
from keys import valkey
from keys.core.limits import BUCKETS_MAX, bucket_s
from usage.ledger import drain, events_key

COLUMNS = (Column("bytes each", "", 0), Column("counted", "", 0))
KEYS = 10_000
EVENTS = 1_000
# Postgres: the relation, its indexes and its oversized values; a partitioned one with its parts.
_BYTES = """
SELECT sum(pg_total_relation_size(relid)) FROM (
    SELECT %s::regclass AS relid UNION SELECT relid FROM pg_partition_tree(%s::regclass)
) AS part
"""
_ROWS = {
    "ledger row": "usage_ledgerentry",
    "roll-up row by hour": "usage_hourlyrollup",
    "roll-up row by key": "usage_keyrollup",
    "API key": "keys_apikey",
    "budget": "keys_budget",
}


def footprint(run: Run) -> Section:
    """Fill a little, then ask both stores what they hold."""
    wait_for(under_load(run, run.stage.gateway, one_key(1, "whole"), 1))
    _fill_every_bucket()
    # Its first exchange loads them.
    full = requests([secret(FULL_KEY).text], 1000, "whole")
    wait_for(under_load(run, run.stage.gateway, full, 1))
    rows = [
        _row_of_key("key in use, 1 busy bucket a window", FIRST_KEY),
        _row_of_key("key in use, 300 busy buckets a window", FULL_KEY),
        _row_of_events(),
    ]
    drain()
    add_keys(KEYS_READY, KEYS_READY + KEYS)
    rows += [_row_of_table(label, table) for label, table in _ROWS.items()]
    title = "what is kept: the first three in Valkey, the others in Postgres with their indexes"
    return Section("footprint", title, COLUMNS, tuple(rows))


def _fill_every_bucket() -> None:
    now = now_ms()
    instants = [now - place * bucket_s(w) * 1000 for w in WINDOWS_S for place in range(BUCKETS_MAX)]
    append(valkey.client(), (event(FULL_KEY, instant) for instant in sorted(instants)))
    drain()


def _row_of_key(label: str, apikey_id: int) -> Row:
    client = valkey.client()
    found = [
        name
        for kind in ("c", "w")
        for name in client.scan_iter(f"{{s*}}:{kind}:*k{apikey_id}.*", count=1000)
    ]
    sizes = [int(client.memory_usage(name, samples=0) or 0) for name in found]
    return Row(label, (float(sum(sizes)) if sizes else None, len(found)))


def _row_of_events() -> Row:
    client = valkey.client()
    append(client, (event(FIRST_KEY, now_ms()) for _ in range(EVENTS)))
    streams = [events_key(shard) for shard in range(settings.SHARDS)]
    kept = sum(int(client.xlen(name)) for name in streams)
    size = sum(int(client.memory_usage(name, samples=0) or 0) for name in streams)
    return Row("ledger event", (size / kept, kept))


def _row_of_table(label: str, table: str) -> Row:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        count = int(cursor.fetchone()[0])
        cursor.execute(_BYTES, [table, table])
        size = int(cursor.fetchone()[0])
    return Row(label, (size / count if count else None, count))
