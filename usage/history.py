"""What the ledger knows of a window's past: for windows that Valkey does not know (any more).

Synchronous SQL, answered out of two indexes. Events that are not drained yet are the caller's:
it reads them from the stream and names them in `excluding`, so that none counts twice.
"""

from collections.abc import Sequence

from django.db import connection

from keys.core.limits import Unit

# What one row adds to a window, and the instant it does so at.
_AMOUNTS = {
    Unit.TOKENS: ("charged_tokens", "settled_at"),
    Unit.NANOUSD: ("cost_nanousd", "settled_at"),
    Unit.REQUESTS: ("1", "admitted_at"),
}

_CHARGES = """
SELECT floor(extract(epoch FROM {instant}) / %(bucket_s)s)::bigint AS bucket, sum({amount})::bigint
FROM usage_ledgerentry
WHERE {holder}_id = %(holder_id)s
    -- An exchange is admitted before it is settled, and the index is by settlement.
    AND settled_at >= to_timestamp(%(since_ms)s / 1000.0)
    AND {instant} >= to_timestamp(%(since_ms)s / 1000.0)
    AND {instant} < to_timestamp(%(before_ms)s / 1000.0)
    AND exchange_id <> ALL(%(excluding)s::uuid[])
GROUP BY bucket
ORDER BY bucket
"""

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
    amount, instant = _AMOUNTS[unit]
    holder, holder_id = _holder(apikey_id, team_id)
    parameters = {
        "holder_id": holder_id,
        "bucket_s": bucket_s,
        "since_ms": since_ms,
        "before_ms": before_ms,
        "excluding": list(excluding),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CHARGES.format(holder=holder, amount=amount, instant=instant), parameters)
        return cursor.fetchall()


def anchor_ms(*, apikey_id: int | None, team_id: int | None, window_name: str) -> int | None:
    """Return when the anchored window of a key or a team last started, `None` if never.

    That is what its newest entry says; whether the window has ended since is for the caller.
    """
    holder, holder_id = _holder(apikey_id, team_id)
    parameters = {"holder_id": holder_id, "window_name": window_name}
    with connection.cursor() as cursor:
        cursor.execute(_ANCHOR.format(holder=holder), parameters)
        found = cursor.fetchone()
    return found[0] if found else None


def _holder(apikey_id: int | None, team_id: int | None) -> tuple[str, int]:
    if (apikey_id is None) == (team_id is None):
        raise ValueError("charges are of a key or of a team")
    if team_id is not None:
        return "team", team_id
    assert apikey_id is not None
    return "apikey", apikey_id
