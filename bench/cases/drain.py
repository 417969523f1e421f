"""How fast events become ledger rows: synthetic ones are appended, then `usage.ledger` drains."""

import os
import time

from django.db import connection

from bench import proc
from bench.events import append, event
from bench.measure import Run, now_ms
from bench.results import Column, Row, Section, Target
from keys import valkey
from usage.ledger import drain as drain_ledger

COLUMNS = (
    Column("drained", "events/s", 0),
    Column("events", "", 0),
    Column("CPU of the drain", "ms", 3),
    Column("CPU of Postgres", "ms", 3),
)
KEYS = 200
SPREAD_MS = 3 * 3_600_000


def drain(run: Run) -> Section:
    """Append, drain, and time it; no worker is running meanwhile."""
    drain_ledger()  # What earlier cases left.
    count = run.scale.drain_events
    now = now_ms()
    append(
        valkey.client(),
        (event(1 + n % KEYS, now - SPREAD_MS * (count - n) // count) for n in range(count)),
    )
    processes = [os.getpid()], [_backend_pid()]
    before = [proc.cpu_seconds(pids) for pids in processes]
    began = time.perf_counter()
    drained = drain_ledger()
    seconds = time.perf_counter() - began
    used = [proc.cpu_seconds(p) - b for p, b in zip(processes, before, strict=True)]
    values = (drained / seconds, drained, *(1000 * cpu / drained for cpu in used))
    rows = (Row("one process", values, Target(5_000, at_least=True)),)
    title = f"from Valkey to the ledger and its roll-up, {KEYS} keys, three hours"
    remarks = () if drained == count else (f"{count} events had been appended.",)
    return Section("drain", title, COLUMNS, rows, remarks)


def _backend_pid() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])
