"""A crowd for the console to show: keys, teams, a month of exchanges, an audit trail, by SQL alone.

Tables are filled where they are empty and never touched otherwise. Nobody can use these keys: where
a digest would be there is a word. A few keys do most of the work, as everywhere.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator

from django.db import connection, transaction
from django.utils import timezone

from usage import heavy_hitters
from usage.rolling import TABLES, roll_up
from usage.statements import SUM_UP, SUMS

TEAMS, OWNERS, PLANS = 2_000, 20_000, 5
DAYS = 30
# One transaction of the filling: some seconds, so that its progress shows.
BATCH = 1_000_000

_PEOPLE = """
INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name, last_name,
    email, date_joined)
SELECT (ARRAY['ada','grace','edsger','barbara','ken'])[1 + n %% 5] || n, '!', false, false, false,
    '', '', '', now()
FROM generate_series(1, %(owners)s) AS n
"""
_HOLDERS = """
INSERT INTO keys_plan (name, rpm, concurrency, wait_s, models, cache_enabled, hangup, created_at)
SELECT 'crowd plan ' || n, 60, 5, 0, '{}', true, 'abort', now()
FROM generate_series(1, %(plans)s) AS n;
INSERT INTO keys_team (name, rpm, concurrency, cache_enabled, cache_shared, scope_generation,
    created_at)
SELECT 'crowd team ' || n, 600, 100, true, false, 0, now()
FROM generate_series(1, %(teams)s) AS n
"""
_KEYS = """
INSERT INTO keys_apikey (name, team_id, owner_id, plan_id, inherited, prefix, last_four, digest,
    rpm, concurrency, models, cidrs, hangup, wait_s, cache_enabled, scope_generation, created_at,
    expires_at, disabled_at, revoked_at)
SELECT
    (ARRAY['laptop','ci','review','chat','batch','notebook','agent','evals'])[1 + n %% 8]
        || ' ' || substr(md5(n::text), 20, 6) || ' ' || n,
    team.ids[1 + n %% array_length(team.ids, 1)],
    owner.ids[1 + n %% array_length(owner.ids, 1)],
    CASE WHEN n %% 2 = 0 THEN plan.ids[1 + n / 2 %% array_length(plan.ids, 1)] END,
    CASE WHEN n %% 2 = 0 THEN '{rpm,concurrency}'::varchar[] ELSE '{}' END,
    'sk-cc-' || substr(md5(n::text), 1, 6), substr(md5(n::text), 7, 4), 'crowd:' || n,
    60, 5, '{}', '{}', 'abort', 0, true, 0, now() - interval '1 day' * %(days)s,
    CASE WHEN n %% 100 = 7 THEN now() + interval '1 hour' * (n %% 9000 - 1000) END,
    CASE WHEN n %% 100 = 17 THEN now() - interval '2 days' END,
    CASE WHEN n %% 100 = 27 THEN now() - interval '4 days' END
FROM generate_series(%(first)s::int, %(last)s::int) AS n,
    (SELECT array_agg(id) AS ids FROM keys_team) AS team,
    (SELECT array_agg(id) AS ids FROM keys_plan) AS plan,
    (SELECT array_agg(id) AS ids FROM auth_user WHERE NOT is_active) AS owner
"""
# A few are so small that busy keys have spent them.
_BUDGETS = """
INSERT INTO keys_budget (apikey_id, unit, window_s, limit_amount, strict, anchored, created_at)
SELECT id, 'tok', 18000, 1000000 + 50000 * (id %% 80), false, false, now() FROM keys_apikey
WHERE plan_id IS NULL;
INSERT INTO keys_budget (plan_id, unit, window_s, limit_amount, strict, anchored, created_at)
SELECT id, 'usd', 2592000, 500000000000, false, false, now() FROM keys_plan;
INSERT INTO keys_budget (team_id, unit, window_s, limit_amount, strict, anchored, created_at)
SELECT id, 'usd', 2592000, 9000000000000, false, false, now() FROM keys_team
"""
_AUDIT = """
INSERT INTO keys_auditevent (at, actor_name, action, target_type, target_id, detail)
SELECT now() - interval '1 day' * %(days)s * (1 - n / %(last)s::float), 'operator' || n %% 50,
    (ARRAY['apikey.update','apikey.issue','apikey.disable'])[1 + n %% 3], 'apikey', n,
    '{"rpm": [60, 7]}'
FROM generate_series(%(first)s::int, %(last)s::int) AS n
"""
_LEDGER = """
INSERT INTO usage_ledgerentry (exchange_id, apikey_id, team_id, admitted_at, settled_at, status,
    http_status, error_type, model_requested, model_answered, streamed, upstream,
    upstream_request_id, client_address, client_agent, session_id, agent_id, parent_agent_id,
    input_tokens, output_tokens, cache_creation_input_tokens, cache_creation_1h_input_tokens,
    cache_read_input_tokens, web_search_requests, inference_geo, charged_tokens, cost_nanousd,
    estimated, input_tokens_estimate, cost_nanousd_estimate, first_byte_ms, total_ms, cache)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint - 3000), 12, '0')
        || substr(replace(gen_random_uuid()::text, '-', ''), 13))::uuid,
    key.id, 1 + key.id %% %(teams)s, at - interval '3 seconds', at,
    CASE WHEN n %% 50 = 0 THEN 'upstream_error' ELSE 'completed' END,
    CASE WHEN n %% 50 = 0 THEN 529 ELSE 200 END,
    CASE WHEN n %% 50 = 0 THEN 'overloaded_error' ELSE '' END,
    model.ids[1 + key.id %% 3], model.ids[1 + key.id %% 3], true, 'main', 'req_' || n,
    '192.0.2.1', 'crowd/1', '', '', '', 500 + n %% 3000, 100 + n %% 900, 0, 0, 100 * (n %% 7), 0,
    '', 1000 + n %% 4000, 1000000 + n %% 20000000, false, 500, 1000000, 300, 3000, 'miss'
FROM generate_series(%(first)s::int, %(last)s::int) AS n
CROSS JOIN LATERAL (
    SELECT 1 + floor(%(keys)s * power(random(), 3))::bigint AS id,
        now() - interval '1 day' * %(days)s * (1 - n / %(rows)s::float) AS at
    OFFSET 0 * n
) AS key
CROSS JOIN (
    SELECT array_agg(model_id ORDER BY model_id) AS ids FROM keys_claudemodel WHERE enabled
) AS model
"""

# A day of UTC into roll-ups that are empty: no row of it is there yet, and months are made of days.
_DAY = """
SELECT 1 AS sign, * FROM usage_ledgerentry
WHERE settled_at >= date_trunc('day', now(), 'UTC') - interval '1 day' * {day}
    AND settled_at < date_trunc('day', now(), 'UTC') - interval '1 day' * ({day} - 1)
"""
_CONFLICTS = re.compile(
    r"ON CONFLICT \([^)]*\) DO UPDATE SET"
    r"(,? \w+ = (stored\.\w+ \+ EXCLUDED\.\w+|\w+\(stored\.\w+, EXCLUDED\.\w+\)))+"
)
_BY_MONTH = re.compile(r",\n *\('m', .*\)(?=\n)")
_MONTHS = """
INSERT INTO usage_keyrollup (grain, apikey_id, at, team_id, model, upstream, client, error_type,
    {sums})
SELECT 'm', apikey_id, date_trunc('month', at, 'UTC'), team_id, '', '', '', '', {added}
FROM usage_keyrollup WHERE grain = 'd' GROUP BY 1, 2, 3, 4
""".format(sums=", ".join(SUMS), added=", ".join(f"usage_sum({name})" for name in SUMS))

# What stands beside keys in the console. Of a key each may be asked again: only what is missing is
# made.
_BESIDE = f"""
INSERT INTO keys_membership (team_id, user_id, lead, created_at)
SELECT 1 + person.id %% {TEAMS}, person.id, person.id %% 10 = 0, now()
FROM auth_user AS person WHERE NOT is_active
ON CONFLICT DO NOTHING;
INSERT INTO keys_operatortoken (name, prefix, last_four, digest, scopes, created_at)
SELECT 'crowd token ' || n, 'sk-op-' || n, '0000', 'crowd:' || n, '{{keys:read}}', now()
FROM generate_series(1, 500) AS n
ON CONFLICT DO NOTHING;
INSERT INTO webtools_toolrule (apikey_id, enabled, calls_per_day, updated_at)
SELECT id, true, 1000, now() FROM keys_apikey WHERE id %% 20 = 3
ON CONFLICT DO NOTHING;
INSERT INTO alerts_alert (kind, subject_type, subject_id, subject_name, team_id, threshold, key,
    slot, text, raised_at, resolved_at)
SELECT CASE WHEN key.id %% 4 = 0 THEN 'expiring' ELSE 'budget' END, 'apikey', key.id, key.name,
    key.team_id, 90, 'crowd ' || key.id, now(), key.name || ' has used 90 %% of a budget.',
    now() - interval '1 second' * key.id,
    CASE WHEN key.id %% 50 > 0 THEN now() - interval '1 second' * (key.id / 2) END
FROM keys_apikey AS key WHERE key.id %% 3 = 0
ON CONFLICT DO NOTHING;
INSERT INTO alerts_alerttarget (name, channel, address, secret, kinds, enabled, created_at)
SELECT 'crowd target ' || n, 'email', 'ops' || n || '@example.com', '', '{{}}', true, now()
FROM generate_series(1, 5) AS n
ON CONFLICT DO NOTHING;
INSERT INTO alerts_alertdelivery (alert_id, target_id, event, attempts, last_error, delivered_at)
SELECT alert.id, target.id, 'raised', 1, '', alert.raised_at
FROM alerts_alert AS alert CROSS JOIN (SELECT min(id) AS id FROM alerts_alerttarget) AS target
WHERE NOT EXISTS (SELECT FROM alerts_alertdelivery);
ANALYZE
"""


def fill(*, keys: int, rows: int, say: Callable[[str], None]) -> None:
    """Fill an empty database. Minutes for a million keys and ten million exchanges."""
    began = time.monotonic()

    def told(text: str) -> None:
        say(f"{time.monotonic() - began:6.0f} s  {text}")

    _run(_PEOPLE, owners=OWNERS)
    _run(_HOLDERS, plans=PLANS, teams=TEAMS)
    with _without_indexes("keys_apikey"):
        _in_batches(_KEYS, keys, told, "keys")
    _run(_BUDGETS)
    with _without_indexes("keys_auditevent"):
        _in_batches(_AUDIT, keys, told, "audit events")
    with _without_indexes("usage_ledgerentry"), _without_triggers("usage_ledgerentry"):
        _in_batches(_LEDGER, rows, told, "exchanges", rows=rows, keys=keys)
    told("indexes of the ledger")
    with contextlib.ExitStack() as stack:
        for name in ("usage_hourlyrollup", *(table.name for table in TABLES)):
            stack.enter_context(_without_indexes(name))
        # Hour after hour, as a drain writes them.
        _sum_up(SUM_UP.replace("WHERE apikey_id = ANY(%s::bigint[])", "") + "ORDER BY 1")
        told("summed up by hour")
        for day in range(DAYS + 1):
            _sum_up(_of_day(day))
            told(f"summed up day {day}")
        _sum_up(_MONTHS)
        told("summed up by month")
    told("indexes of roll-ups")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    while heavy_hitters.make(timezone.now()):
        pass
    told("filled, with lists of heavy hitters")


def fill_beside() -> None:
    """Add the alerts, memberships, tokens and rules for tools that a crowd has, if it has none."""
    _run(_BESIDE)


def _run(statements: str, **values: object) -> None:
    # One at a time: a statement with parameters is sent alone.
    for statement in statements.split(";\n"):
        with connection.cursor() as cursor:
            cursor.execute(statement, values)


def _of_day(day: int) -> str:
    statement = roll_up(_DAY.format(day=day), whole=False)
    return _BY_MONTH.sub("", _CONFLICTS.sub("", statement))


def _sum_up(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '512MB'")
        cursor.execute(statement)


def _in_batches(
    statement: str, most: int, told: Callable[[str], None], what: str, **values: object
) -> None:
    for first in range(1, most + 1, BATCH):
        last = min(most, first + BATCH - 1)
        teams = {"teams": TEAMS, "days": DAYS}
        _run(statement, first=first, last=last, **teams, **values)
        told(f"{last:,} {what}")


@contextlib.contextmanager
def _without_triggers(table: str) -> Iterator[None]:
    """Let a table be filled without noting what is to be summed up."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@contextlib.contextmanager
def _without_indexes(table: str) -> Iterator[None]:
    """Drop what slows the filling down, and make it again afterwards, as it was."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef, pg_get_constraintdef(con.oid)"
            " FROM pg_indexes LEFT JOIN pg_constraint AS con"
            " ON conname = indexname AND conrelid = %s::regclass"
            " WHERE tablename = %s AND contype IS DISTINCT FROM 'p'",
            [table, table],
        )
        indexes = cursor.fetchall()
        for name, _definition, constraint in indexes:
            what = f"ALTER TABLE {table} DROP CONSTRAINT" if constraint else "DROP INDEX"
            cursor.execute(f'{what} "{name}"')
        yield
        cursor.execute("SET maintenance_work_mem = '1GB'")
        for name, definition, constraint in indexes:
            add = f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {constraint}'
            # A partitioned table's own index is said to be of it ONLY, and then has no parts.
            cursor.execute(add if constraint else definition.replace(" ON ONLY ", " ON "))
        cursor.execute("RESET maintenance_work_mem")
