"""How ledger rows become the roll-ups of dashboards: the trigger, the fold, what verifies them.

A trigger of the ledger, not the drain's statement, so that whoever writes the ledger is counted:
the drain, the release before it, a demonstration. In the same statement it notes what changed in
`usage_rollupdelta`: what an insertion adds, a deletion takes off; a late settlement takes off the
abandonment that it replaces. `usage.folding` adds the notes of all shards to the roll-ups at once
and deletes them, in one statement again: at any time roll-ups and notes together are the ledger.
Everybody's rows are thus locked by one fold for a moment, not by every drain to its commit.

    moved     notes with their sign, and what they are told apart by, of bounded variety
    quarter   their sums by quarter of an hour, key, team, model, upstream, client and error type
    facet     sums of those by quarter, team and one thing at a time
    usage_keyrollup, usage_grouprollup, usage_latencyrollup, usage_sessionrollup

Rows older than the trigger are added by `catch_up`, batch by batch in the order of their ids.
`usage_backfill` says how far it came: the trigger leaves out what lies beyond, since that will be
read there. Whoever writes holds it FOR SHARE to the end of the transaction, whoever moves it FOR
UPDATE, so each row is counted by exactly one of the two.

A change of these texts reaches a database by a migration that runs `INSTALL` again; the body of a
function is not read before it is run, so older migrations may run it before its columns are there.
"""

import datetime as dt

from usage.core.client import FAMILIES, OTHER, UNKNOWN
from usage.core.histogram import BOUNDS
from usage.models import AMOUNTS
from usage.statements import ADDED, EVERYBODY_FLOOR, TEAM_FLOOR

SESSION_SUMS = (
    "requests",
    "errors",
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "charged_tokens",
    "cost_nanousd",
)
FACETS = ("model", "upstream", "client", "error_type")

_FAMILY = " ".join(
    f"WHEN lower(client_agent) LIKE '{start}%' THEN '{name}'" for start, name in FAMILIES
)
# A client chooses its user agent, and the date of a snapshot that it asks for: neither may make new
# rows without end. Snapshots count as their model, so that refusals and answers are of one model.
# A type of error that is none of Anthropic's making is "other" for the same reason.
_DIMENSIONS = f"""
    regexp_replace(coalesce(nullif(model_answered, ''), model_requested), '-[0-9]{{8}}$', '')
        AS model,
    upstream,
    CASE WHEN client_agent = '' THEN '{UNKNOWN}' {_FAMILY} ELSE '{OTHER}' END AS client,
    CASE WHEN error_type ~ '^([a-z_]{{1,40}})?$' THEN error_type ELSE 'other' END AS error_type"""
_BUCKETS = f"ARRAY[{', '.join(map(str, BOUNDS))}]::bigint[]"
_SUMS = ", ".join(ADDED)
# Postgres' own sum of bigints makes a numeric of each; this one adds them as they are.
_ADDING = ", ".join(f"usage_sum({name}) AS {name}" for name in ADDED)
# What is noted of a ledger row.
_NOTED = (
    "apikey_id",
    "team_id",
    "admitted_at",
    "settled_at",
    "status",
    "error_type",
    "model_requested",
    "model_answered",
    "upstream",
    "client_agent",
    "session_id",
    "agent_id",
    "parent_agent_id",
    "cache",
    "estimated",
    "first_byte_ms",
    "total_ms",
    *AMOUNTS,
)
_COLUMNS = ", ".join(_NOTED)

# What a note adds to a row of any roll-up.
SIGNED = ", ".join(f"(sign * {added})::bigint AS {name}" for name, added in ADDED.items())

# Stands for a query of ledger rows with a `sign`.
_SOURCE = "{source}"
_MOVED = f"""
moved AS MATERIALIZED (
    SELECT sign, date_bin('15 minutes', settled_at, '2020-01-01 00:00+00') AS slot,
        apikey_id, coalesce(team_id, 0) AS team_id, {_DIMENSIONS},
        {SIGNED},
        first_byte_ms, total_ms, status, session_id, agent_id, parent_agent_id, admitted_at,
        settled_at
    FROM ({_SOURCE}) AS entry
), quarter AS MATERIALIZED (
    SELECT slot, apikey_id, team_id, model, upstream, client, error_type, {_ADDING}
    FROM moved GROUP BY 1, 2, 3, 4, 5, 6, 7
), facet AS MATERIALIZED (
    SELECT slot, team_id, told.facet, told.value, {_ADDING}
    FROM quarter CROSS JOIN LATERAL (VALUES
        ('', ''), {", ".join(f"('{name}', {name})" for name in FACETS)}
    ) AS told (facet, value)
    WHERE told.facet = '' OR told.value <> ''
    GROUP BY 1, 2, 3, 4
), timed AS MATERIALIZED (
    SELECT date_trunc('hour', slot, 'UTC') AS at, apikey_id, team_id, model, measure,
        width_bucket(milliseconds, {_BUCKETS}) AS bucket, usage_sum(sign::bigint) AS count
    FROM moved CROSS JOIN LATERAL (VALUES ('f', first_byte_ms), ('t', total_ms))
        AS timing (measure, milliseconds)
    WHERE milliseconds IS NOT NULL AND status <> 'abandoned'
    GROUP BY 1, 2, 3, 4, 5, 6
)"""

_DAY = "date_trunc('day', {}, 'UTC')"
_MONTH = "date_trunc('month', slot, 'UTC')"


class _Table:
    """One roll-up: what its rows are told apart by, what they add up, out of what, and from when.

    `floor` says up to where retention may have dropped entries that a `{row}` holds. What begins
    later is the sum of the ledger, what does not is kept as it is.
    """

    def __init__(
        self, name: str, dimensions: str, sums: str, rows: str, *, floor: str, ends: str = ""
    ) -> None:
        self.name, self.dimensions, self.sums = name, dimensions.split(), sums.split(", ")
        self.rows = rows
        self._floor = floor
        self._ends = ends

    def whole(self, row: str) -> str:
        """Return the condition under which the ledger still has all that `row` holds."""
        begins = "day" if "day" in self.dimensions else "at"
        return f"{row}.{begins} > {self._floor.format(row=row)}"

    def insert(self, *, whole: bool) -> str:
        """Return the insertion of the rows, or their addition to those that are there.

        `whole` leaves out those that the ledger has not all of any more.
        """
        rows = self.rows
        if whole:
            rows = f"SELECT * FROM ({self.rows}) AS summed WHERE {self.whole('summed')}"
        columns = ", ".join([*self.dimensions, *self.sums, *self._ends.split()])
        add = [f"{name} = stored.{name} + EXCLUDED.{name}" for name in self.sums]
        if self._ends:
            add += [
                "first_at = least(stored.first_at, EXCLUDED.first_at)",
                "last_at = greatest(stored.last_at, EXCLUDED.last_at)",
            ]
        places = ", ".join(str(n + 1) for n in range(len(self.dimensions)))
        return f"""INSERT INTO {self.name} AS stored ({columns}) {rows} ORDER BY {places}
    ON CONFLICT ({", ".join(self.dimensions)}) DO UPDATE SET {", ".join(add)}"""

    def compare(self, sessions_since: str) -> str:
        """Return the statement for the rows that are not the sums of its source, with both."""
        dimensions, sums = ", ".join(self.dimensions), ", ".join(self.sums)
        expected = ", ".join(f"coalesce(summed.{name}, 0)::bigint" for name in self.sums)
        kept = ", ".join(f"coalesce(stored.{name}, 0)::bigint" for name in self.sums)
        # Days of sessions are dropped in the end.
        kept_days = f" AND day >= '{sessions_since}'" if "day" in self.dimensions else ""
        return f"""WITH {_MOVED}, summed AS ({self.rows}),
    compared AS (
        SELECT {dimensions}, ARRAY[{expected}] AS ledger, ARRAY[{kept}] AS rollup
        FROM summed FULL JOIN (SELECT {dimensions}, {sums} FROM {self.name}) AS stored
            USING ({dimensions})
    )
    SELECT ARRAY[{", ".join(f"{name}::text" for name in self.dimensions)}], ledger, rollup
    FROM compared WHERE ledger <> rollup{kept_days}
        AND {self.whole("compared")}
    ORDER BY 1 LIMIT 1000"""


KEYS = _Table(
    "usage_keyrollup",
    "apikey_id grain at team_id model upstream client error_type",
    _SUMS,
    f"""SELECT apikey_id, grain, at, team_id, by.model, by.upstream, by.client, by.error_type,
        {_ADDING}
    FROM quarter CROSS JOIN LATERAL (VALUES
        ('q', slot, model, upstream, client, error_type),
        ('d', {_DAY.format("slot")}, model, upstream, client, error_type),
        ('m', {_MONTH}, '', '', '', '')
    ) AS by (grain, at, model, upstream, client, error_type)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8""",
    floor=TEAM_FLOOR.format("{row}.team_id"),
)
GROUPS = _Table(
    "usage_grouprollup",
    "grain facet team_id at value",
    _SUMS,
    # Teams by days alone: there are many of them, and finer than that their keys say it.
    f"""SELECT grain, facet, by.team_id, at, value, {_ADDING}
    FROM facet CROSS JOIN LATERAL (VALUES
        ('q', slot, 0::bigint), ('h', date_trunc('hour', slot, 'UTC'), 0),
        ('d', {_DAY.format("slot")}, 0), ('d', {_DAY.format("slot")}, nullif(facet.team_id, 0))
    ) AS by (grain, at, team_id)
    WHERE by.team_id IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5""",
    floor="CASE WHEN {row}.team_id = 0"
    f" THEN {EVERYBODY_FLOOR} ELSE {TEAM_FLOOR.format('{row}.team_id')} END",
)
LATENCIES = _Table(
    "usage_latencyrollup",
    "holder holder_id grain measure at model bucket",
    "count",
    f"""SELECT holder, holder_id, grain, measure, by.at, model, bucket, usage_sum(count) AS count
    FROM timed CROSS JOIN LATERAL (VALUES ('h', at), ('d', {_DAY.format("timed.at")}))
        AS by (grain, at)
    CROSS JOIN LATERAL (VALUES ('a', 0), ('t', nullif(team_id, 0)), ('k', apikey_id))
        AS held (holder, holder_id)
    WHERE holder_id IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5, 6, 7""",
    # A key may have been of several teams.
    floor="CASE WHEN {row}.holder = 't'"
    f" THEN {TEAM_FLOOR.format('{row}.holder_id')} ELSE {EVERYBODY_FLOOR} END",
)
SESSIONS = _Table(
    "usage_sessionrollup",
    "day apikey_id team_id session_id agent_id parent_agent_id",
    ", ".join(SESSION_SUMS),
    f"""SELECT {_DAY.format("slot")} AS day, apikey_id, team_id, session_id, agent_id,
        parent_agent_id, {", ".join(f"usage_sum({n}) AS {n}" for n in SESSION_SUMS)},
        min(admitted_at) AS first_at, max(settled_at) AS last_at
    FROM moved WHERE session_id <> ''
    GROUP BY 1, 2, 3, 4, 5, 6""",
    floor=TEAM_FLOOR.format("{row}.team_id"),
    ends="first_at last_at",
)
TABLES = (KEYS, GROUPS, LATENCIES, SESSIONS)


def _roll_up(*, whole: bool) -> str:
    keys, groups, latencies, sessions = (table.insert(whole=whole) for table in TABLES)
    return f"""WITH {_MOVED}, keys AS ({keys}), groups AS ({groups}), latencies AS ({latencies})
    {sessions}"""


_FIRST, END = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
_CHANGES = {
    "insert": f"SELECT 1, {_COLUMNS} FROM added WHERE exchange_id <= reached",
    "update": f"SELECT 1, {_COLUMNS} FROM added WHERE exchange_id <= reached"
    f" UNION ALL SELECT -1, {_COLUMNS} FROM taken WHERE exchange_id <= reached",
    "delete": f"SELECT -1, {_COLUMNS} FROM taken WHERE exchange_id <= reached",
}
_NAMES = {
    "insert": "NEW TABLE AS added",
    "update": "OLD TABLE AS taken NEW TABLE AS added",
    "delete": "OLD TABLE AS taken",
}


def _function(event: str) -> str:
    told = "added" if event != "delete" else "taken"
    return f"""
CREATE OR REPLACE FUNCTION usage_roll_up_{event}() RETURNS trigger LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE reached uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM {told}) THEN RETURN NULL; END IF;
    SELECT exchange_id INTO reached FROM usage_backfill FOR SHARE;
    reached := coalesce(reached, '{END}');
    INSERT INTO usage_rollupdelta (sign, {_COLUMNS}) {_CHANGES[event]};
    RETURN NULL;
END $body$"""


def _trigger(event: str) -> str:
    return f"""
CREATE OR REPLACE TRIGGER usage_roll_up_{event} AFTER {event.upper()} ON usage_ledgerentry
    REFERENCING {_NAMES[event]} FOR EACH STATEMENT EXECUTE FUNCTION usage_roll_up_{event}()"""


SUM = """
CREATE OR REPLACE AGGREGATE usage_sum(bigint) (
    SFUNC = int8pl, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl, PARALLEL = SAFE
)"""
# Whoever writes to the ledger meanwhile waits for the migration; what is there already is left to
# `catch_up`.
INSTALL = [statement(event) for event in _CHANGES for statement in (_function, _trigger)]
UNINSTALL = [
    statement
    for event in _CHANGES
    for statement in (
        f"DROP TRIGGER IF EXISTS usage_roll_up_{event} ON usage_ledgerentry",
        f"DROP FUNCTION IF EXISTS usage_roll_up_{event}()",
    )
]
BEGIN = f"""INSERT INTO usage_backfill (exchange_id)
    SELECT '{_FIRST}' WHERE EXISTS (SELECT FROM usage_ledgerentry)"""

# What the roll-ups are to hold: the ledger without what is noted and not added yet.
_COUNTED = f"""SELECT 1 AS sign, {_COLUMNS} FROM usage_ledgerentry
    WHERE exchange_id <= coalesce((SELECT exchange_id FROM usage_backfill), '{END}')
    UNION ALL SELECT -sign, {_COLUMNS} FROM usage_rollupdelta"""


def roll_up(source: str, *, whole: bool) -> str:
    """Return the statement that adds what `source`, a query of ledger rows with a `sign`, says.

    `whole` leaves out roll-ups that hold entries that the ledger has not any more.
    """
    return _roll_up(whole=whole).replace("%", "%%").replace(_SOURCE, source)


def compare(table: _Table, sessions_since: dt.datetime) -> str:
    """Return the statement whose rows are a roll-up's differences from the ledger."""
    return table.compare(sessions_since.isoformat()).replace(_SOURCE, _COUNTED)


STEP = roll_up(
    "SELECT 1 AS sign, * FROM usage_ledgerentry WHERE exchange_id > %s AND exchange_id <= %s",
    whole=True,
)
# Adds the oldest notes and deletes them.
FOLD = roll_up("SELECT * FROM note", whole=False).replace(
    "WITH ",
    """WITH note AS (
    DELETE FROM usage_rollupdelta
    WHERE id <= (SELECT max(id) FROM (SELECT id FROM usage_rollupdelta ORDER BY id LIMIT %s) AS old)
    RETURNING *
), """,
    1,
)
