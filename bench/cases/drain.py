"""How fast events become ledger rows: synthetic ones are appended, then `usage.ledger` drains.

Once as it is, and once with the fold apart, which only one process does at a time.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import psycopg
from django.conf import settings
from django.db import connection

from bench import proc
from bench.events import append, event
from bench.measure import Run, now_ms
from bench.results import Column, Row, Section, Target
from keys import valkey
from usage.folding import LOCK, fold_all
from usage.ledger import drain as drain_ledger

COLUMNS = (
    Column("drained", "events/s", 0),
    Column("events", "", 0),
    Column("CPU of the drain", "ms", 3),
    Column("CPU of Postgres", "ms", 3),
    Column("its log", "bytes", 0),
)
KEYS = 200
SPREAD_MS = 3 * 3_600_000


def drain(run: Run) -> Section:
    """Append, drain, and time it; no worker is running meanwhile."""
    drain_ledger()  # What earlier cases left.
    count = run.scale.drain_events
    _append(count)
    rows = [Row("one process", _timed(drain_ledger, count), Target(5_000, at_least=True))]
    _append(count)
    with _nobody_folds():
        rows.append(Row("its rows alone", _timed(drain_ledger, count)))
    rows.append(Row("its fold alone", _timed(fold_all, count)))
    title = f"from Valkey to the ledger and its roll-up, {KEYS} keys, three hours"
    return Section("drain", title, COLUMNS, tuple(rows))


def _append(count: int) -> None:
    now = now_ms()
    append(
        valkey.client(),
        (event(1 + n % KEYS, now - SPREAD_MS * (count - n) // count) for n in range(count)),
    )


def _timed(work: Callable[[], object], count: int) -> tuple[float, ...]:
    processes = [os.getpid()], [_backend_pid()]
    before, written = [proc.cpu_seconds(pids) for pids in processes], _log_bytes()
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    used = [proc.cpu_seconds(p) - b for p, b in zip(processes, before, strict=True)]
    logged = (_log_bytes() - written) / count
    return count / seconds, count, *(1000 * cpu / count for cpu in used), logged


@contextlib.contextmanager
def _nobody_folds() -> Iterator[None]:
    """Hold what a fold must take, on a connection of our own, so that drains leave it out."""
    with psycopg.connect(settings.DATABASE_URL) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        yield


def _log_bytes() -> int:
    """Return how much Postgres has written ahead of its tables since it was made."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        return int(cursor.fetchone()[0])


def _backend_pid() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])
