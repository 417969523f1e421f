"""Ledger rows in bulk, for demonstrations and measurements: written by COPY and summed up at once.

Real exchanges come through `usage.ledger` alone. What is written here belongs to keys that nobody
can use, and goes with them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection, transaction
from psycopg.types.json import Jsonb

from usage.folding import fold_all, hold
from usage.models import LedgerEntry
from usage.rolling import TABLES
from usage.statements import SUM_UP

COLUMNS = tuple(field.column for field in LedgerEntry._meta.concrete_fields)
_COPY = f"COPY usage_ledgerentry ({', '.join(COLUMNS)}) FROM STDIN"
_JSON = frozenset({"anchors", "attempts"})


@transaction.atomic
def write(apikey_ids: Sequence[int], rows: Iterable[dict[str, Any]]) -> None:
    """Write `rows` of keys that have none yet, and their roll-ups. All of it, or nothing."""
    hold()
    with connection.cursor() as cursor:
        with cursor.copy(_COPY) as copy:
            for row in rows:
                copy.write_row([_value(row, name) for name in COLUMNS])
        cursor.execute(SUM_UP, [list(apikey_ids)])
    fold_all()
    _analyze()


@transaction.atomic
def remove(apikey_ids: Sequence[int]) -> int:
    """Delete every row of these keys and their roll-up; return how many rows there were."""
    hold()
    with connection.cursor() as cursor:
        ids = [list(apikey_ids)]
        mine = "apikey_id = ANY(%s::bigint[])"
        cursor.execute(f"DELETE FROM usage_hourlyrollup WHERE {mine}", ids)
        cursor.execute(f"DELETE FROM usage_ledgerentry WHERE {mine}", ids)
        deleted = int(cursor.rowcount)
        # Takes them off what everybody and the teams used.
        fold_all()
        for table in ("usage_keyrollup", "usage_sessionrollup"):
            cursor.execute(f"DELETE FROM {table} WHERE {mine}", ids)
        cursor.execute(
            "DELETE FROM usage_latencyrollup WHERE holder = 'k' AND holder_id = ANY(%s::bigint[])",
            ids,
        )
        return deleted


def _analyze() -> None:
    # The planner must know of a table that grew a thousandfold before the first page is asked for.
    with connection.cursor() as cursor:
        tables = ", ".join(("usage_ledgerentry", "usage_hourlyrollup", *(t.name for t in TABLES)))
        cursor.execute(f"ANALYZE {tables}")


def _value(row: dict[str, Any], name: str) -> Any:
    value = row[name]
    return Jsonb(value) if name in _JSON and value is not None else value
