"""The statement that writes the ledger and its roll-up, and the one that compares the two.

Built from the lists of columns below, so that what is added up is also what is verified. Plain
Postgres 14; the only parameter is a JSON array of ledger rows as `usage.core.event.join` says them.
"""

from usage.models import AMOUNTS, TEXT_CHARS_MAX

_TEXTS = (
    "status",
    "error_type",
    "model_requested",
    "model_answered",
    "upstream",
    "upstream_request_id",
    "client_address",
    "client_agent",
    "session_id",
    "agent_id",
    "parent_agent_id",
    "inference_geo",
    "cache",
    "cache_source",
)
_OTHERS = {
    "apikey_id": "bigint",
    "team_id": "bigint",
    "http_status": "integer",
    "streamed": "boolean",
    "estimated": "boolean",
    "input_tokens_estimate": "bigint",
    "cost_nanousd_estimate": "bigint",
    "first_byte_ms": "bigint",
    "total_ms": "bigint",
    "anchors": "jsonb",
    "attempts": "jsonb",
} | dict.fromkeys(AMOUNTS, "bigint")

# What one ledger row adds to its row in any roll-up.
ADDED = {
    "requests": "1",
    "errors": "(status IN ('upstream_error', 'gateway_error'))::int",
    "hung_up": "(status = 'hung_up')::int",
    "abandoned": "(status = 'abandoned')::int",
    "estimated": "estimated::int",
    "cache_hits": "(cache = 'hit')::int",
    "cache_misses": "(cache = 'miss')::int",
} | {name: name for name in AMOUNTS}
_GROUP = {
    "hour": "date_trunc('hour', settled_at, 'UTC')",
    "apikey_id": "apikey_id",
    "team_id": "team_id",
    "model": "coalesce(nullif(model_answered, ''), model_requested)",
}
SUMS = tuple(ADDED)

_COLUMNS = ", ".join(("exchange_id", "admitted_at", "settled_at", *_TEXTS, *_OTHERS))
_SENT = ", ".join([f"{name} text" for name in _TEXTS] + [f"{n} {t}" for n, t in _OTHERS.items()])
_CUT = ", ".join([f"left({name}, {TEXT_CHARS_MAX}) AS {name}" for name in _TEXTS] + [*_OTHERS])
_REPLACE = ", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS.split(", ")[1:])
_GROUPS = ", ".join(f"{expression} AS {name}" for name, expression in _GROUP.items())
_DELTAS = ", ".join(f"sum(sign * {expression}) AS {name}" for name, expression in ADDED.items())

# `replaced` reads the table as it was before this statement; the shard's advisory lock is why that
# is also how the insertion finds it. (FOR UPDATE would not do: Postgres skips a row that its own
# statement has just updated.) Rows go in sorted, so two drains cannot wait for each other.
RECORD = f"""
WITH event AS (
    SELECT DISTINCT ON (exchange_id)
        exchange_id,
        to_timestamp(admitted_at_ms / 1000.0) AS admitted_at,
        to_timestamp(settled_at_ms / 1000.0) AS settled_at,
        {_CUT}
    FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (
        exchange_id uuid, admitted_at_ms bigint, settled_at_ms bigint, {_SENT}
    )) WITH ORDINALITY
    ORDER BY exchange_id, status = 'abandoned', ordinality
), replaced AS (
    SELECT stored.*
    FROM usage_ledgerentry AS stored JOIN event USING (exchange_id)
    WHERE stored.status = 'abandoned' AND event.status <> 'abandoned'
), written AS (
    INSERT INTO usage_ledgerentry AS stored ({_COLUMNS})
    SELECT {_COLUMNS} FROM event
    ON CONFLICT (exchange_id) DO UPDATE SET {_REPLACE}
    WHERE stored.status = 'abandoned' AND EXCLUDED.status <> 'abandoned'
    RETURNING *
), moved AS (
    SELECT 1 AS sign, {_COLUMNS} FROM written
    UNION ALL
    SELECT -1 AS sign, {_COLUMNS} FROM replaced
)
INSERT INTO usage_hourlyrollup AS stored ({", ".join((*_GROUP, *ADDED))})
SELECT {_GROUPS}, {_DELTAS}
FROM moved
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4
ON CONFLICT (hour, apikey_id, (coalesce(team_id, 0)), model) DO UPDATE
SET {", ".join(f"{name} = stored.{name} + EXCLUDED.{name}" for name in ADDED)}
"""

# The roll-up of keys that have none: `usage.seed`. The only parameter is an array of their ids.
SUM_UP = f"""
INSERT INTO usage_hourlyrollup ({", ".join((*_GROUP, *ADDED))})
SELECT {_GROUPS}, {_DELTAS}
FROM (SELECT 1 AS sign, * FROM usage_ledgerentry WHERE apikey_id = ANY(%s::bigint[])) AS entry
GROUP BY 1, 2, 3, 4
"""

# Up to where retention dropped entries of one team, of which none counts as team 0; of anybody.
TEAM_FLOOR = """coalesce(
    (SELECT settled_at FROM usage_ledgerfloor WHERE team_id = coalesce({}, 0)), '-infinity'
)"""
EVERYBODY_FLOOR = "coalesce((SELECT max(settled_at) FROM usage_ledgerfloor), '-infinity')"

# One row for each roll-up row that is not the sum of its ledger rows: its group, what the ledger
# sums to and what the roll-up holds. A roll-up of nothing may stay behind a replaced abandonment.
# Hours that began before the last entry that was dropped are left out.
COMPARE = f"""
WITH summed AS (
    SELECT {_GROUPS}, {_DELTAS}
    FROM (SELECT 1 AS sign, * FROM usage_ledgerentry) AS entry
    GROUP BY 1, 2, 3, 4
), compared AS (
    SELECT
        coalesce(summed.hour, stored.hour) AS hour,
        coalesce(summed.apikey_id, stored.apikey_id) AS apikey_id,
        coalesce(summed.team_id, stored.team_id) AS team_id,
        coalesce(summed.model, stored.model) AS model,
        ARRAY[{", ".join(f"coalesce(summed.{name}, 0)::bigint" for name in ADDED)}] AS ledger,
        ARRAY[{", ".join(f"coalesce(stored.{name}, 0)" for name in ADDED)}] AS rollup
    FROM summed FULL JOIN usage_hourlyrollup AS stored
        ON stored.hour = summed.hour AND stored.apikey_id = summed.apikey_id
        AND coalesce(stored.team_id, 0) = coalesce(summed.team_id, 0)
        AND stored.model = summed.model
)
SELECT hour, apikey_id, team_id, model, ledger, rollup FROM compared WHERE ledger <> rollup
    AND hour > {TEAM_FLOOR.format("compared.team_id")}
ORDER BY 1, 2, 3, 4
"""
