"""`python -m bench.ledger`: a ledger of ten million entries over twelve months, before and after it
is partitioned.

Starts a Postgres of its own, fills the ledger as one table, and times the drain's statement and
what pages and cold starts read. Then migrates it under writes, moves the months into partitions of
their own, times the same again, and drops the oldest month under writes. Needs some 15 GB in the
temporary folder, which it deletes.
"""

import argparse
import datetime as dt
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any
from uuid import UUID

import orjson

from bench import proc
from bench.usage import postgres

MONTHS, KEYS, TEAMS = 12, 10_000, 100
BATCH = 500_000
DRAIN_BATCH, DRAINS, WARM_UP = 1_000, 40, 5
ROUNDS = 7

_FILL = f"""
INSERT INTO usage_ledgerentry (exchange_id, apikey_id, team_id, admitted_at, settled_at, status,
    http_status, error_type, model_requested, model_answered, streamed, upstream,
    upstream_request_id, client_address, client_agent, session_id, agent_id, parent_agent_id,
    input_tokens, output_tokens, cache_creation_input_tokens, cache_creation_1h_input_tokens,
    cache_read_input_tokens, web_search_requests, inference_geo, charged_tokens, cost_nanousd,
    estimated, input_tokens_estimate, cost_nanousd_estimate, first_byte_ms, total_ms, attempts)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
        || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid,
    key, 1 + key %% {TEAMS}, at, at + interval '4 seconds',
    CASE WHEN n %% 50 = 0 THEN 'upstream_error' ELSE 'completed' END, 200, '',
    'claude-haiku-4-5', 'claude-haiku-4-5-20251001', true, 'default', 'req_011CS' || n,
    '192.0.2.7', 'claude-cli/2.1.330 (external, sdk-cli)', md5((n / 30)::text), '', '',
    1200, 300, 0, 0, 9000, 0, '', 2400, 3600000, false, 2500, 2500000, 350, 4200,
    '[{{"account": "default", "outcome": "answered", "milliseconds": 340}}]'
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
CROSS JOIN LATERAL (
    SELECT 1 + floor({KEYS} * power(random(), 3))::bigint AS key,
        %(start)s + (%(end)s - %(start)s) * (n / %(rows)s::float) AS at
    OFFSET 0 * n
) AS made
"""

Times = dict[str, float]


def main() -> int:
    """Fill, measure, migrate, measure, drop; print as it goes."""
    options = _parse()
    with postgres(None):
        from django.core.management import call_command
        from django.utils import timezone

        now = timezone.now()
        call_command("migrate", "usage", "0007", verbosity=0)
        _fill(options.rows, now)
        before = _measure("one table")
        with _writing() as stalls:
            _told("migrated under writes", lambda: call_command("migrate", verbosity=0))
        print(f"  longest write meanwhile {1000 * max(stalls):.0f} ms", flush=True)
        _told("months moved into partitions of their own", lambda: _apart(now))
        _told("vacuumed", _vacuum)
        after = _measure("partitioned")
        for name, value in before.items():
            print(f"{name:40} {value:10.1f} {after[name]:10.1f} {after[name] / value:7.2f}")
        _drop(now)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench.ledger", description="Measure a ledger of a year.")
    parser.add_argument("--rows", type=int, default=10_000_000)
    return parser.parse_args()


def _told(what: str, work: Callable[[], object]) -> None:
    began = time.monotonic()
    work()
    print(f"{time.monotonic() - began:6.0f} s  {what}", flush=True)


def _run(statement: str, values: Any = None) -> list[Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def _months(now: dt.datetime) -> list[dt.datetime]:
    from usage.core.partition import month_after, month_of

    months = [month_of(now - dt.timedelta(days=30.5 * (MONTHS - 1)))]
    while months[-1] < month_of(now):
        months.append(month_after(months[-1]))
    return months


def _fill(rows: int, now: dt.datetime) -> None:
    def fill() -> None:
        indexes = _run(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'usage_ledgerentry'"
            " AND indexname <> 'usage_ledgerentry_pkey'"
        )
        _run("ALTER TABLE usage_ledgerentry DISABLE TRIGGER USER")
        for name, _definition in indexes:
            _run(f'DROP INDEX "{name}"')
        said = {"start": _months(now)[0], "end": now, "rows": rows}
        for first in range(1, rows + 1, BATCH):
            _run(_FILL, said | {"first": first, "last": min(rows, first + BATCH - 1)})
        _run("SET maintenance_work_mem = '1GB'")
        for _name, definition in indexes:
            _run(definition)
        _run("ALTER TABLE usage_ledgerentry ENABLE TRIGGER USER")

    _told(f"filled with {rows:,} entries over {MONTHS} months", fill)
    _told("vacuumed", _vacuum)
    (size,) = _run("SELECT pg_total_relation_size('usage_ledgerentry') / 2 ^ 30")[0]
    print(f"  {size:.1f} GiB with indexes, {2**30 * size / rows:.0f} bytes an entry", flush=True)


def _vacuum() -> None:
    _run("VACUUM ANALYZE usage_ledgerentry")


def _apart(now: dt.datetime) -> None:
    """Take the old table apart as if there had been partitions from the beginning."""
    from usage.core.partition import FIRST, TABLE, id_from, month_after, name_of
    from usage.partitions import missing_months, partitions

    first = partitions()[0]
    assert first.ends_at is not None
    months = _months(now)
    while month_after(months[-1]) < first.ends_at:
        months.append(month_after(months[-1]))
    for month in months:
        _run(
            f"CREATE TABLE {name_of(month)} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        )
        ends = [id_from(month), id_from(month_after(month))]
        _run(
            f"INSERT INTO {name_of(month)} SELECT * FROM {FIRST}"
            " WHERE exchange_id >= %s AND exchange_id < %s",
            ends,
        )
    _run(f"DROP TABLE {FIRST}")
    for month in months:
        lower, upper = id_from(month), id_from(month_after(month))
        _run(
            f"ALTER TABLE {TABLE} ATTACH PARTITION {name_of(month)}"
            f" FOR VALUES FROM ('{lower}') TO ('{upper}')"
        )
    assert not missing_months(now, 1)


def _measure(name: str) -> Times:
    print(f"{name}, load average {os.getloadavg()[0]:.1f}", flush=True)
    found = _drains() | dict(_reads())
    for what, value in found.items():
        print(f"  {what:40} {value:10.1f}", flush=True)
    return found


def _drains() -> Times:
    """Time the statement that the drain writes a batch with."""
    backend = [_run("SELECT pg_backend_pid()")[0][0]]
    batches = [_batch(number) for number in range(WARM_UP + DRAINS)]
    for batch in batches[:WARM_UP]:
        _record(batch)
    cpu, began = proc.cpu_seconds(backend), time.perf_counter()
    for batch in batches[WARM_UP:]:
        _record(batch)
    seconds, used = time.perf_counter() - began, proc.cpu_seconds(backend) - cpu
    events = DRAINS * DRAIN_BATCH
    small = [_batch(number, 10) for number in range(DRAINS)]
    began = time.perf_counter()
    for batch in small:
        _record(batch)
    each = (time.perf_counter() - began) / DRAINS
    _run("TRUNCATE usage_rollupdelta")
    return {
        "drain's statement, events/s": events / seconds,
        "its CPU of Postgres, us an event": 1_000_000 * used / events,
        "a batch of ten, ms": 1000 * each,
    }


def _batch(number: int, size: int = DRAIN_BATCH) -> str:
    from bench.events import event
    from usage.ledger import row

    now_ms = time.time_ns() // 1_000_000
    made = (event(1 + (number * size + n) % KEYS, now_ms + n) for n in range(size))
    rows = [row({k.encode(): _bytes(v) for k, v in fields.items()}) for fields in made]
    return orjson.dumps(rows).decode()


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _record(batch: str) -> None:
    from usage.statements import RECORD

    _run(RECORD, [batch])


def _reads() -> Iterator[tuple[str, float]]:
    """Time what pages, exports and cold starts ask of the ledger, in milliseconds."""
    from keys.core.limits import Unit
    from usage import history
    from usage.models import LedgerEntry

    now_ms = time.time_ns() // 1_000_000
    newest = LedgerEntry.objects.order_by("-settled_at")
    year_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=300)

    def charges(**holder: int | None) -> object:
        both = {"apikey_id": None, "team_id": None} | holder
        return history.charges(
            **both,
            unit=Unit.TOKENS,
            bucket_s=8_640,
            since_ms=now_ms - 2_592_000_000,
            before_ms=now_ms,
            excluding=(),
        )

    questions: dict[str, Callable[[], object]] = {
        "explorer: newest fifty": lambda: list(newest[:50]),
        "explorer: fifty of 300 days ago": lambda: list(
            newest.filter(settled_at__lt=year_ago)[:50]
        ),
        "explorer: newest fifty of a key": lambda: list(newest.filter(apikey_id=7_000)[:50]),
        "explorer: newest fifty in trouble": lambda: list(newest.exclude(status="completed")[:50]),
        "one exchange by its id": lambda: LedgerEntry.objects.get(pk=_newest_id()),
        "cold start: month of a small key": lambda: charges(apikey_id=7_000),
        "cold start: month of the largest key": lambda: charges(apikey_id=1),
        "cold start: month of a team": lambda: charges(team_id=7),
        "cold start: anchored window": lambda: history.anchor_ms(
            apikey_id=7_000, team_id=None, window_name="k7000.0:tok:18000:a"
        ),
        "export: a day": lambda: (
            LedgerEntry.objects.filter(
                settled_at__gte=year_ago, settled_at__lt=year_ago + dt.timedelta(days=1)
            )
            .order_by("settled_at", "exchange_id")
            .count()
        ),
    }
    for name, ask in questions.items():
        times = []
        for _ in range(ROUNDS + 1):
            began = time.perf_counter()
            ask()
            times.append(1000 * (time.perf_counter() - began))
        yield f"{name}, ms", median(times[1:])


def _newest_id() -> UUID:
    from usage.models import LedgerEntry

    return LedgerEntry.objects.order_by("-settled_at").values_list("pk", flat=True)[0]


@contextmanager
def _writing() -> Iterator[list[float]]:
    """Write small batches all the while, as drains do; how long each took is in the list."""
    from django.db import connection

    stalls, ended = [0.0], threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            batch = _batch(number, 50)
            began = time.monotonic()
            _record(batch)
            stalls.append(time.monotonic() - began)
            number += 1
            ended.wait(0.05)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield stalls
    finally:
        ended.set()
        writer.join()


def _drop(now: dt.datetime) -> None:
    from django.conf import settings

    from usage import retention
    from usage.core.partition import month_after, name_of
    from usage.partitions import partitions

    oldest = _months(now)[0]
    settings.LEDGER_KEEP_DAYS = (now - month_after(oldest)).days - 10
    size = next(p for p in partitions() if p.name == name_of(oldest))
    with _writing() as quiet:
        time.sleep(5.0)
    with _writing() as stalls:
        _told(
            f"dropped {name_of(oldest)}, about {size.rows:,} entries,"
            f" {size.size_bytes / 2**30:.2f} GiB",
            lambda: retention.step(600.0, now),
        )
    assert name_of(oldest) not in [p.name for p in partitions()]
    print(
        f"  longest write meanwhile {1000 * max(stalls):.0f} ms, in five seconds without a drop"
        f" {1000 * max(quiet):.0f} ms"
    )


if __name__ == "__main__":
    raise SystemExit(main())
