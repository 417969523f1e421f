"""What the ledger knows of a window's past: for windows that Valkey does not know (any more).

Synchronous SQL, answered from indexes. Events that are not drained yet are the caller's:
it reads them from the stream and names them in `excluding`, so that none counts twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

from keys.core.limits import Limit, Unit

_AMOUNTS = {Unit.TOKENS: "charged_tokens", Unit.NANOUSD: "cost_nanousd"}

# One look into the index for each bucket: a month of a busy team (500,000 rows) takes 0.16 s, a
# plain GROUP BY over the same rows 0.8 s, most of it sorting. The excluded are taken off in the
# same statement, so that a row drained meanwhile is in both sums or in neither.
_CHARGES = """
WITH charged AS (
    SELECT index, amount
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS index CROSS JOIN LATERAL (
        SELECT sum({amount}) AS amount
        FROM usage_ledgerentry
        WHERE {holder}_id = %(holder_id)s
            AND settled_at >= greatest({since}, to_timestamp(index * %(bucket_s)s))
            AND settled_at < least({before}, to_timestamp((index + 1) * %(bucket_s)s))
    ) AS bucket
), excluded AS (
    SELECT floor(extract(epoch FROM settled_at) / %(bucket_s)s)::bigint AS index,
        sum({amount}) AS amount
    FROM usage_ledgerentry
    WHERE {holder}_id = %(holder_id)s AND settled_at >= {since} AND settled_at < {before}
        AND exchange_id = ANY(%(excluding)s::uuid[])
    GROUP BY 1
)
SELECT index, (charged.amount - coalesce(excluded.amount, 0))::bigint
FROM charged LEFT JOIN excluded USING (index)
WHERE charged.amount > coalesce(excluded.amount, 0)
ORDER BY index
"""

# The index is by settlement. Admission comes first, but on a gateway's clock: one that is fast by
# less than five minutes loses no request.
_REQUESTS = """
SELECT floor(extract(epoch FROM admitted_at) / %(bucket_s)s)::bigint AS index, count(*)
FROM usage_ledgerentry
WHERE {holder}_id = %(holder_id)s AND settled_at >= {since} - interval '5 minutes'
    AND admitted_at >= {since} AND admitted_at < {before}
    AND exchange_id <> ALL(%(excluding)s::uuid[])
GROUP BY 1
ORDER BY 1
"""

_INSTANTS = {
    "since": "to_timestamp(%(since_ms)s / 1000.0)",
    "before": "to_timestamp(%(before_ms)s / 1000.0)",
}

_ANCHOR = """
SELECT (anchors ->> %(window_name)s)::bigint
FROM usage_ledgerentry
WHERE {holder}_id = %(holder_id)s AND {holder}_id IS NOT NULL
    AND anchors IS NOT NULL AND anchors ->> %(window_name)s IS NOT NULL
ORDER BY settled_at DESC
LIMIT 1
"""


def charges(
    *,
    apikey_id: int | None,
    team_id: int | None,
    unit: Unit,
    bucket_s: int,
    since_ms: int,
    before_ms: int,
    excluding: Sequence[str],
) -> list[tuple[int, int]]:
    """Return what a key or a team (one of the two) was charged, as (bucket index, amount).

    Counts rows whose instant is in [since_ms, before_ms) and whose exchange is not in
    `excluding`: of settlement for tokens and nano-dollars, of admission for requests. Bucket
    `index` begins at `index * bucket_s` seconds; empty ones are left out. Counts of
    `count_tokens` are not in the ledger: there are none.
    """
    if unit is Unit.COUNTS:
        return []
    holder, holder_id = _holder(apikey_id, team_id)
    statement = _REQUESTS if unit is Unit.REQUESTS else _CHARGES
    parameters: dict[str, Any] = {
        "holder_id": holder_id,
        "bucket_s": bucket_s,
        "since_ms": since_ms,
        "before_ms": before_ms,
        "first": since_ms // (bucket_s * 1000),
        "last": before_ms // (bucket_s * 1000),
        "excluding": list(excluding),
    }
    with connection.cursor() as cursor:
        cursor.execute(
            statement.format(holder=holder, amount=_AMOUNTS.get(unit), **_INSTANTS), parameters
        )
        return [(index, amount) for index, amount in cursor.fetchall()]


def amounts(
    limit: Limit, *, since_ms: int, before_ms: int, pending: Mapping[str, Mapping[str, Any]]
) -> dict[int, int]:
    """Return what the window of `limit` was charged in [since_ms, before_ms), by bucket index.

    `pending` are rows of events that the ledger may or may not have yet, by exchange; those of
    other keys and teams do not count.
    """
    if limit.unit is Unit.COUNTS:
        return {}
    holder = holder_of(limit.scope)
    found = dict(
        charges(
            apikey_id=holder["apikey_id"],
            team_id=holder["team_id"],
            unit=limit.unit,
            bucket_s=limit.bucket_s,
            since_ms=since_ms,
            before_ms=before_ms,
            excluding=list(pending),
        )
    )
    for row in pending.values():
        at_ms, amount = _charge(limit.unit, row)
        if since_ms <= at_ms < before_ms and _held_by(holder, row):
            index = at_ms // (limit.bucket_s * 1000)
            found[index] = found.get(index, 0) + amount
    return found


def anchor_ms(*, apikey_id: int | None, team_id: int | None, window_name: str) -> int | None:
    """Return when the anchored window of a key or a team last started, `None` if never.

    That is what its newest entry says; whether the window has ended since is for the caller.
    """
    holder, holder_id = _holder(apikey_id, team_id)
    parameters: dict[str, Any] = {"holder_id": holder_id, "window_name": window_name}
    with connection.cursor() as cursor:
        cursor.execute(_ANCHOR.format(holder=holder), parameters)
        found = cursor.fetchone()
    return found[0] if found else None


def holder_of(scope: str) -> dict[str, int | None]:
    """Turn a scope, `k12.0` or `t3.0`, into what ledger rows name its key or team by."""
    number = int(scope[1:].partition(".")[0])
    team = scope.startswith("t")
    return {"apikey_id": None if team else number, "team_id": number if team else None}


def _held_by(holder: Mapping[str, int | None], row: Mapping[str, Any]) -> bool:
    return all(row[name] == number for name, number in holder.items() if number is not None)


def _charge(unit: Unit, row: Mapping[str, Any]) -> tuple[int, int]:
    if unit is Unit.REQUESTS:
        return row["admitted_at_ms"], 1
    return row["settled_at_ms"], row[_AMOUNTS[unit]]


def _holder(apikey_id: int | None, team_id: int | None) -> tuple[str, int]:
    if (apikey_id is None) == (team_id is None):
        raise ValueError("charges are of a key or of a team")
    if team_id is not None:
        return "team", team_id
    assert apikey_id is not None
    return "apikey", apikey_id
