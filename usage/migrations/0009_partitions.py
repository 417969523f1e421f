"""Makes the ledger a table of partitions; the table that was becomes the first of them.

The release before goes on meanwhile: it knows the table by its name alone. Nothing is rewritten
and every lock is short. Three steps, each a transaction of its own that is left out if it is done:

    bound    a CHECK that the entries' ids end with a month to come, not validated yet; entries
             beyond it, of clocks gone mad, go where the default partition will be
    check    Postgres reads the old table once to validate it, while others write
    swap     the table is renamed, its namesake made, the old one attached: a moment, for Postgres
             need not read it again; triggers move to the new table, months ahead are made

Killed anywhere, it goes on when run again. A lock that is not had within a second is given up and
asked for again, so that drains wait no longer than that; an export that runs for minutes must end
first. From the first step to the last, an event of a gateway whose clock is more than a week ahead
of the month becomes a dead letter.

Backwards, all entries are copied into one table again while drains wait: minutes for ten million.
"""

import datetime as dt
import re
import time

from django.db import OperationalError, migrations, transaction

from usage.core.partition import DEFAULT, FIRST, TABLE, id_from, month_after, month_of, name_of
from usage.rolling import INSTALL

MONTHS_AHEAD = 3
# The old table ends with a month that is not over while this runs.
WEEK = dt.timedelta(days=7)
LOCK_ATTEMPTS = 120
LOCK_NOT_AVAILABLE = "55P03"
BOUND = "ledgerentry_first_bound"
EVENTS = ("insert", "update", "delete")


def partition(_apps, schema_editor):
    if _is_partitioned(schema_editor):
        return
    if _bound_text(schema_editor) is None:
        _locked(schema_editor, _set_bound)
    schema_editor.execute(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {BOUND}")
    _locked(schema_editor, _swap)
    schema_editor.execute(f"ANALYZE {TABLE}")


def unite(_apps, schema_editor):
    if _is_partitioned(schema_editor):
        _locked(schema_editor, _unite)
        schema_editor.execute(f"ANALYZE {TABLE}")


def _set_bound(cursor):
    cursor.execute(f"SELECT EXISTS (SELECT FROM {TABLE})")
    now = dt.datetime.now(dt.UTC)
    # In a new installation the months begin at once.
    bound = id_from(month_after(now + WEEK) if cursor.fetchone()[0] else month_of(now))
    cursor.execute(
        f"CREATE TABLE {DEFAULT} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
    )
    # What is moved stays in the roll-ups.
    cursor.execute(f"ALTER TABLE {TABLE} DISABLE TRIGGER usage_roll_up_delete")
    cursor.execute(_moving(TABLE, DEFAULT, f"exchange_id >= '{bound}'"))
    cursor.execute(f"ALTER TABLE {TABLE} ENABLE TRIGGER usage_roll_up_delete")
    cursor.execute(
        f"ALTER TABLE {TABLE} ADD CONSTRAINT {BOUND} CHECK (exchange_id < '{bound}') NOT VALID"
    )


def _swap(cursor):
    bound = re.search(r"'([0-9a-f-]{36})'", _bound_of(cursor))[1]
    indexes = _indexes(cursor)
    cursor.execute(f"ALTER TABLE {TABLE} RENAME TO {FIRST}")
    cursor.execute(f"ALTER INDEX {TABLE}_pkey RENAME TO {FIRST}_pkey")
    for event in EVENTS:
        cursor.execute(f"DROP TRIGGER usage_roll_up_{event} ON {FIRST}")
    for name, _definition in indexes:
        cursor.execute(f'ALTER INDEX "{name}" RENAME TO "{name}_first"')
    _make_parent(cursor, indexes)
    cursor.execute(
        f"ALTER TABLE {TABLE} ATTACH PARTITION {FIRST} FOR VALUES FROM (MINVALUE) TO ('{bound}')"
    )
    cursor.execute(f"ALTER TABLE {FIRST} DROP CONSTRAINT {BOUND}")
    _make_months(cursor, bound)
    cursor.execute(f"ALTER TABLE {TABLE} ATTACH PARTITION {DEFAULT} DEFAULT")


def _make_parent(cursor, indexes):
    cursor.execute(
        f"CREATE TABLE {TABLE} (LIKE {FIRST} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        " PARTITION BY RANGE (exchange_id)"
    )
    cursor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT {BOUND}")
    cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_pkey PRIMARY KEY (exchange_id)")
    for _name, definition in indexes:
        # Says the table by its name, which the new one has now.
        cursor.execute(definition)
    for statement in INSTALL:
        cursor.execute(statement)
    _grant_as_before(cursor)


def _make_months(cursor, bound):
    month = dt.datetime.fromtimestamp(int(bound.replace("-", "")[:12], 16) / 1000, dt.UTC)
    last = dt.datetime.now(dt.UTC)
    for _ in range(MONTHS_AHEAD):
        last = month_after(last)
    while month <= last:
        lower, upper = id_from(month), id_from(month_after(month))
        cursor.execute(
            f"CREATE TABLE {name_of(month)} PARTITION OF {TABLE}"
            f" FOR VALUES FROM ('{lower}') TO ('{upper}')"
        )
        where = f"exchange_id >= '{lower}' AND exchange_id < '{upper}'"
        cursor.execute(_moving(DEFAULT, name_of(month), where))
        month = month_after(month)


def _unite(cursor):
    indexes = _indexes(cursor)
    cursor.execute(
        f"CREATE TABLE {TABLE}_whole (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
    )
    cursor.execute(f"INSERT INTO {TABLE}_whole SELECT * FROM {TABLE}")
    cursor.execute(f"DROP TABLE {TABLE}")
    cursor.execute(f"ALTER TABLE {TABLE}_whole RENAME TO {TABLE}")
    cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_pkey PRIMARY KEY (exchange_id)")
    for _name, definition in indexes:
        cursor.execute(definition.replace(" ON ONLY ", " ON "))
    for statement in INSTALL:
        cursor.execute(statement)


def _moving(source, target, where):
    return f"""WITH moved AS (DELETE FROM {source} WHERE {where} RETURNING *)
        INSERT INTO {target} SELECT * FROM moved"""


def _indexes(cursor):
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
        f" AND tablename = '{TABLE}' AND indexname <> '{TABLE}_pkey'"
    )
    return cursor.fetchall()


def _grant_as_before(cursor):
    """Give others what an operator let them do with the old table: read it, mostly."""
    cursor.execute(
        "SELECT privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE"
        " quote_ident(pg_get_userbyid(grantee)) END"
        " FROM pg_class CROSS JOIN LATERAL aclexplode(relacl)"
        f" WHERE oid = '{FIRST}'::regclass AND grantee <> relowner"
    )
    for privilege, grantee in cursor.fetchall():
        cursor.execute(f"GRANT {privilege} ON {TABLE} TO {grantee}")


def _is_partitioned(schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(f"SELECT relkind FROM pg_class WHERE oid = '{TABLE}'::regclass")
        return cursor.fetchone()[0] == "p"


def _bound_text(schema_editor):
    with schema_editor.connection.cursor() as cursor:
        return _bound_of(cursor)


def _bound_of(cursor):
    cursor.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
        f" WHERE conrelid = '{TABLE}'::regclass AND conname = '{BOUND}'"
    )
    found = cursor.fetchone()
    return found[0] if found else None


def _locked(schema_editor, act):
    """Do `act` in a transaction that has the table for itself."""
    connection = schema_editor.connection
    for attempt in range(LOCK_ATTEMPTS):
        try:
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '1s'")
                cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
                cursor.execute("SET LOCAL lock_timeout = 0")
                return act(cursor)
        except OperationalError as error:
            code = getattr(error.__cause__, "sqlstate", "")
            if code != LOCK_NOT_AVAILABLE or attempt == LOCK_ATTEMPTS - 1:
                raise
            time.sleep(1.0)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("usage", "0008_status")]

    operations = [migrations.RunPython(partition, unite)]
