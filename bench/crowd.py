"""A crowd for the console to show: keys, teams, a month of exchanges, an audit trail, by SQL alone.

Tables are filled where they are empty and never touched otherwise. Nobody can use these keys: where
a digest would be there is a word. A few keys do most of the work, as everywhere.
"""

import contextlib
import time
from collections.abc import Callable, Iterator

from django.db import connection, transaction

from usage.folding import fold_all
from usage.statements import SUM_UP

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
SELECT gen_random_uuid(), key.id, 1 + key.id %% %(teams)s, at - interval '3 seconds', at,
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
    _in_batches(_AUDIT, keys, told, "audit events")
    with _without_indexes("usage_ledgerentry"), _without_indexes("usage_hourlyrollup"):
        _in_batches(_LEDGER, rows, told, "exchanges", rows=rows, keys=keys)
        told("summing up")
        fold_all()
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL work_mem = '1GB'")
            cursor.execute(SUM_UP.replace("WHERE apikey_id = ANY(%s::bigint[])", ""))
        told("indexes")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    told("filled")


def _run(statements: str, **values: object) -> None:
    # One at a time: a statement with parameters is sent alone.
    for statement in statements.split(";\n"):
        with connection.cursor() as cursor:
            cursor.execute(statement, values)


def _in_batches(
    statement: str, most: int, told: Callable[[str], None], what: str, **values: object
) -> None:
    for first in range(1, most + 1, BATCH):
        last = min(most, first + BATCH - 1)
        teams = {"teams": TEAMS, "days": DAYS}
        _run(statement, first=first, last=last, **teams, **values)
        told(f"{last:,} {what}")


@contextlib.contextmanager
def _without_indexes(table: str) -> Iterator[None]:
    """Drop what slows the filling down, and make it again afterwards, as it was."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexname NOT IN"
            " (SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass)",
            [table, table],
        )
        indexes = cursor.fetchall()
        for name, _definition in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        yield
        cursor.execute("SET maintenance_work_mem = '1GB'")
        for _name, definition in indexes:
            cursor.execute(definition)
        cursor.execute("RESET maintenance_work_mem")
