"""`python -m bench.usage`: how long dashboards wait for their numbers after a year of use.

Starts a Postgres of its own and fills the roll-ups as the ledger's trigger would with ten million
exchanges of 10,000 keys in 100 teams: working sessions of some thirty exchanges, a few keys far
busier than most. A fortnight is rolled up and the year made of copies of it. Then asks every
reading function, as an operator, a team and a key, over an hour to a year. Times are of whole
functions, the transport to Postgres included.
"""

import argparse
import datetime as dt
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from bench.stage import ENVIRONMENT, FORGOTTEN
from claudcode.engines import pair
from claudcode.engines.state import StateFolder

TARGET_MS = 200
ROUNDS = 5
TEAMS, DAYS, FORTNIGHT = 100, 364, 14
_INSTANTS = ("at", "day", "first_at", "last_at")
# A session: six times, ten minutes apart, five exchanges that are alike.
BURST, ALIKE = 30, 5
UNTIL = dt.datetime(2026, 10, 15, tzinfo=dt.UTC)

# One session of a key: some thirty exchanges within an hour, a third of them by a small model.
_SOURCE = f"""
SELECT {ALIKE} AS sign, burst.key AS apikey_id, 1 + burst.key % {TEAMS} AS team_id,
    burst.at + place * interval '10 minutes' AS settled_at,
    burst.at + place * interval '10 minutes' AS admitted_at,
    CASE WHEN place % 3 = 0 THEN 'claude-haiku-4-5'
        ELSE (ARRAY['claude-opus-4-6','claude-sonnet-4-6','claude-opus-4-5'])[1 + burst.key % 3]
        END AS model_answered,
    '' AS model_requested, (ARRAY['main','spare'])[1 + burst.key % 2] AS upstream,
    (ARRAY['claude-cli/2.1','claude-cli/2.1','claude-cli/2.1','Anthropic/Python 2',
        'Anthropic/JS 1','curl/8'])[1 + burst.key % 6] AS client_agent,
    CASE WHEN random() < 0.015 THEN (ARRAY['overloaded_error','api_error',
        'rate_limit_error'])[1 + floor(3 * random())::int] ELSE '' END AS error_type,
    'completed' AS status, 'miss' AS cache, false AS estimated,
    (400 * exp(random()))::bigint AS first_byte_ms, (2000 * exp(3 * random()))::bigint AS total_ms,
    'session ' || burst.number AS session_id,
    CASE WHEN place % 5 = 0 THEN 'agent' ELSE '' END AS agent_id, '' AS parent_agent_id,
    (3000 * random())::bigint AS input_tokens, (900 * random())::bigint AS output_tokens,
    0::bigint AS cache_creation_input_tokens, 0::bigint AS cache_creation_1h_input_tokens,
    9000::bigint AS cache_read_input_tokens, 0::bigint AS web_search_requests,
    4000::bigint AS charged_tokens, (20000000 * random())::bigint AS cost_nanousd,
    0::bigint AS saved_tokens, 0::bigint AS saved_nanousd
FROM (
    SELECT number, 1 + floor(%(keys)s * power(random(), 2))::bigint AS key,
        %(first)s + %(span)s * random() AS at
    FROM generate_series(1, %(bursts)s) AS number OFFSET 0
) AS burst CROSS JOIN generate_series(1, {BURST // ALIKE}) AS place
"""


def main() -> int:
    """Fill, measure, print; return 1 if anything took too long."""
    options = _parse()
    with postgres(options.folder) as fresh:
        if fresh:
            _fill(options.rows, options.keys)
        return _measure(options.rounds)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench.usage", description="Measure dashboards' numbers.")
    parser.add_argument("--rows", type=int, default=10_000_000, help="exchanges rolled up")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the data there")
    return parser.parse_args()


@contextmanager
def postgres(folder: Path | None) -> Iterator[bool]:
    """Run an engine with the tables in it; whether they are empty."""
    state = folder or Path(tempfile.mkdtemp(prefix="claudcode-bench-", dir="/tmp"))
    fresh = not (state / "filled").exists()
    for name in FORGOTTEN:
        os.environ.pop(name, None)
    os.environ.update(ENVIRONMENT)
    os.environ["CLAUDCODE_ENV_FILE"] = os.devnull
    os.environ["CLAUDCODE_STATE"] = str(state)
    os.environ["DATABASE_URL"] = f"postgresql://claudcode@/claudcode?host={state}/run"
    os.environ["VALKEY_URL"] = f"unix://{state}/run/valkey.sock?db=0"
    os.environ["DJANGO_SETTINGS_MODULE"] = "claudcode.settings"
    engines = StateFolder(state)
    try:
        with engines.lock(), pair.running(engines, with_postgres=True, with_valkey=False):
            import django
            from django.core.management import call_command
            from django.db import connections

            django.setup()
            call_command("migrate", verbosity=0)
            yield fresh
            (state / "filled").touch()
            connections.close_all()
    finally:
        if folder is None:
            shutil.rmtree(state, ignore_errors=True)


def _fill(rows: int, keys: int) -> None:
    from django.db import connection

    from usage.rolling import TABLES, roll_up

    began = time.monotonic()
    values = {
        "keys": keys,
        "first": UNTIL - dt.timedelta(days=DAYS),
        # Whole sessions: what is copied must not overlap.
        "span": dt.timedelta(days=FORTNIGHT, hours=-2),
        "bursts": rows * FORTNIGHT // DAYS // BURST,
    }
    with connection.cursor() as cursor:
        cursor.execute("SET work_mem = '256MB'")
        cursor.execute(roll_up(_SOURCE.replace("% ", "%% "), whole=False), values)
        print(f"{time.monotonic() - began:6.0f} s  a fortnight rolled up", flush=True)
        for table in TABLES:
            cursor.execute(_repeated(table.name), [DAYS // FORTNIGHT - 1])
        cursor.execute("DELETE FROM usage_keyrollup WHERE grain = 'm'")
        cursor.execute(_months())
        print(f"{time.monotonic() - began:6.0f} s  repeated for a year", flush=True)
    with connection.cursor() as cursor:
        cursor.execute("RESET work_mem")
        cursor.execute("VACUUM ANALYZE")


def _repeated(table: str) -> str:
    """Return the statement that copies the rows of the first fortnight to all later ones."""
    from django.db import connection

    with connection.cursor() as cursor:
        found = connection.introspection.get_table_description(cursor, table)
    names = [column.name for column in found if column.name != "id"]
    moved = [
        f"{name} + n * interval '{FORTNIGHT} days'" if name in _INSTANTS else name for name in names
    ]
    # Months are summed up afterwards.
    days = "WHERE grain <> 'm'" if "grain" in names else ""
    return f"""INSERT INTO {table} ({", ".join(names)})
        SELECT {", ".join(moved)} FROM {table}, generate_series(1, %s) AS n {days}"""


def _months() -> str:
    from usage.rolling import ADDED

    return f"""INSERT INTO usage_keyrollup (grain, at, apikey_id, team_id, model, upstream, client,
        error_type, {", ".join(ADDED)})
        SELECT 'm', date_trunc('month', at, 'UTC'), apikey_id, team_id, '', '', '', '',
            {", ".join(f"sum({name})" for name in ADDED)}
        FROM usage_keyrollup WHERE grain = 'd' GROUP BY 2, 3, 4"""


def _measure(rounds: int) -> int:
    _sizes()
    worst = 0.0
    print(f"load average {os.getloadavg()[0]:.1f}; milliseconds")
    print(f"{'question':64} {'median':>7} {'worst':>7}")
    for name, ask in _questions():
        times = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            ask()
            times.append((time.perf_counter() - began) * 1000)
        # The first one reads from the disk.
        middle = median(times[1:])
        worst = max(worst, middle)
        late = "  LATE" if middle > TARGET_MS else ""
        print(f"{name:64} {middle:7.0f} {max(times[1:]):7.0f}{late}", flush=True)
    print(f"worst median {worst:.0f} ms, target {TARGET_MS} ms")
    return int(worst > TARGET_MS)


def _sizes() -> None:
    from django.db import connection

    from usage.rolling import TABLES

    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(
                f"SELECT count(*), pg_total_relation_size('{table.name}') FROM {table.name}"
            )
            count, size = cursor.fetchone()
            print(f"{table.name:24} {count:12,} rows {size / 2**20:8,.0f} MiB")


def _questions() -> Iterator[tuple[str, Callable[[], Any]]]:
    from usage.reading.forecast import forecast
    from usage.reading.percentiles import Latency, percentiles
    from usage.reading.question import Group, Step
    from usage.reading.scope import everything, of_keys, of_teams
    from usage.reading.series import series
    from usage.reading.sessions import session_tree, sessions
    from usage.reading.totals import errors_by_type, top, totals

    some = ("requests", "input_tokens", "output_tokens", "cache_read_input_tokens", "cost_nanousd")
    spans = {
        "hour": (dt.timedelta(hours=1), Step.QUARTER),
        "day": (dt.timedelta(days=1), Step.HOUR),
        "month": (dt.timedelta(days=30), Step.DAY),
        "year": (dt.timedelta(days=364), Step.DAY),
    }
    scopes = {"operator": everything(), "team": of_teams([7]), "key": of_keys([2])}
    end = UNTIL - dt.timedelta(hours=7, minutes=40)
    for who, scope in scopes.items():
        for span, (length, step) in spans.items():
            start = end - length
            asked = f"{who} {span}"
            yield f"{asked} totals", partial(totals, scope, start, end)
            yield f"{asked} errors", partial(errors_by_type, scope, start, end)
            for group in Group:
                yield f"{asked} top {group}", partial(top, scope, start, end, group)
            for zone in map(ZoneInfo, ("UTC", "Europe/Berlin", "Asia/Kolkata")):
                ask = partial(series, scope, start, end, step, zone, measures=some)
                yield f"{asked} series {zone}", ask
                for group in (Group.KEY, Group.TEAM, Group.MODEL):
                    yield f"{asked} series by {group} {zone}", partial(ask, group_by=group)
            slow = max(step, Step.HOUR, key=list(Step).index)
            zone = ZoneInfo("America/New_York")
            ask = partial(percentiles, scope, start, end, Latency.TOTAL)
            yield f"{asked} percentiles", ask
            yield f"{asked} percentiles by {slow}", partial(ask, step=slow, zone=zone)
            yield f"{asked} sessions", partial(sessions, scope, start, end)
        yield f"{who} forecast", partial(forecast, scope, ZoneInfo("Asia/Kolkata"), now=end)
        yield f"{who} session tree", partial(session_tree, scope, "session 7")


if __name__ == "__main__":
    raise SystemExit(main())
