"""Sums over everybody's hours or days of UTC that are as new as the ledger itself.

A few rows an hour are read, however many keys there are: what is folded already, and the notes of
what is not. One statement sees both at one moment, so an exchange is in one of them.
"""

import datetime as dt
import enum

from usage import replica
from usage.rolling import SIGNED
from usage.statements import SUMS

_ADDED = ", ".join(f"usage_sum({name}) AS {name}" for name in SUMS)
_SETTLED = "date_trunc('hour', settled_at, 'UTC')"
# While old entries are being added there is one row, which says so.
_SUMMED = f"""
SELECT behind.adding, summed.*
FROM (SELECT EXISTS (SELECT FROM usage_backfill) AS adding) AS behind
LEFT JOIN (
    SELECT {{place}} AS place, {_ADDED} FROM (
        SELECT at, {", ".join(SUMS)} FROM usage_grouprollup
        WHERE grain = 'h' AND facet = '' AND team_id = 0
            AND at >= %(since)s AND at < %(before)s
        UNION ALL
        SELECT {_SETTLED}, {SIGNED} FROM usage_rollupdelta
        WHERE {_SETTLED} >= %(since)s AND {_SETTLED} < %(before)s
    ) AS hour GROUP BY 1
) AS summed ON NOT behind.adding
ORDER BY 2
"""


class Length(enum.StrEnum):
    """How long what is told apart is."""

    HOUR = "at"
    DAY = "date_trunc('day', at, 'UTC')"
    ALL = "NULL::timestamptz"


def everybody(
    since: dt.datetime, before: dt.datetime, each: Length
) -> list[tuple[dt.datetime | None, dict[str, int]]] | None:
    """Return the sums of hours that begin in [since, before), by when each hour or day begins.

    Where nothing was used there is none. `None` as long as roll-ups lack old entries.
    """
    with replica.cursor() as cursor:
        cursor.execute(_SUMMED.format(place=each.value), {"since": since, "before": before})
        found = cursor.fetchall()
    if found[0][0]:
        return None
    # Without a first sum nothing was found: it is the row of `behind` alone.
    rows = [row for _adding, *row in found if row[1] is not None]
    return [(at, dict(zip(SUMS, amounts, strict=True))) for at, *amounts in rows]
