"""Lists of who used most in each hour and day, so that ten of a million keys are found without all.

    make                        lists of hours and days that ended, where one is missing or outdated
    usage_heavyhitters          the `LISTED` largest of each measure, and the most that others used
    usage.reading.candidates    who may be the first of a span, by these bounds

A list is made of roll-ups and changes with nothing. It is good for as long as everybody's sums of
its hour or day are what they were: a late settlement outdates it, and it is made again. Where there
is no good one, the roll-up is read instead, so lists make answers fast and never other ones.
"""

import datetime as dt
import time

from django.db import connection, transaction

from usage.models import HeavyHitters
from usage.reading.instants import LENGTHS, floor

# What lists are ranked by, in the order of `whole` and `rest`.
RANKED = ("requests", "errors", "charged_tokens", "cost_nanousd", "saved_nanousd")
# Of each measure. More make longer spans certain, and each list dearer to read.
LISTED = 100
# Late enough for nearly all that settled in an hour to be in its roll-up.
ENDED_FOR = dt.timedelta(minutes=3)
# Spans are days of UTC but for their ends, and those are seldom older. Days are kept for ever.
HOURS_KEPT = dt.timedelta(days=40)
# A million keys are some seconds a day; a call looks no further after so many.
SECONDS_MAX = 5.0
# "hits" in ASCII: whoever makes lists holds it; another has nothing to do then.
LOCK = 0x68697473

# Of keys and of teams, whose days are few rows and read themselves.
GRAINS = {"k": "hd", "t": "h"}
# The grain of the rows that a list is made of, and that stand where there is none.
STORED = {"h": "q", "d": "d"}
_COLUMN = {"k": "apikey_id", "t": "team_id"}
# What everybody used in a slot, as `whole` says it.
WHOLE = f"ARRAY[{', '.join(f'everybody.{name}' for name in RANKED)}]"
EVERYBODY = "everybody.facet = '' AND everybody.team_id = 0 AND everybody.value = ''"

_MISSING = f"""
SELECT everybody.at
FROM usage_grouprollup AS everybody
LEFT JOIN usage_heavyhitters AS made
    ON made.holder = %(holder)s AND made.grain = %(grain)s AND made.at = everybody.at
WHERE everybody.grain = %(grain)s AND {EVERYBODY}
    AND everybody.at >= %(since)s AND everybody.at < %(before)s
    AND made.whole IS DISTINCT FROM {WHOLE}
ORDER BY 1 DESC
"""

_SUMS = ", ".join(f"usage_sum({name}) AS {name}" for name in RANKED)
_RESTS = ", ".join(
    f"greatest(0, (SELECT {name} FROM used ORDER BY {name} DESC OFFSET %(listed)s LIMIT 1))"
    f" AS {name}"
    for name in RANKED
)
_COLUMNS = ("ids", *RANKED)
_AGGREGATED = ", ".join(
    f"coalesce(array_agg(used.{name} ORDER BY used.ids), ARRAY[]::bigint[]) AS {name}"
    for name in _COLUMNS
)
_MAKE = f"""
INSERT INTO usage_heavyhitters (holder, grain, at, whole, rest, {", ".join(_COLUMNS)})
WITH used AS MATERIALIZED (
    SELECT {{column}} AS ids, {_SUMS}
    FROM usage_keyrollup
    WHERE grain = %(stored)s AND at >= %(at)s AND at < %(ends_at)s AND {{column}} > 0
    GROUP BY 1
), rest AS (
    SELECT {_RESTS}
), hitters AS (
    SELECT {_AGGREGATED}
    FROM used CROSS JOIN rest
    WHERE {" OR ".join(f"used.{name} > rest.{name}" for name in RANKED)}
)
SELECT %(holder)s, %(grain)s, %(at)s, {WHOLE},
    ARRAY[{", ".join(f"rest.{name}" for name in RANKED)}],
    {", ".join(f"hitters.{name}" for name in _COLUMNS)}
FROM usage_grouprollup AS everybody CROSS JOIN rest CROSS JOIN hitters
WHERE everybody.grain = %(grain)s AND {EVERYBODY} AND everybody.at = %(at)s
ON CONFLICT (holder, grain, at) DO UPDATE
SET {", ".join(f"{name} = EXCLUDED.{name}" for name in ("whole", "rest", *_COLUMNS))}
"""


def make(now: dt.datetime, seconds_max: float = SECONDS_MAX) -> bool:
    """Make the lists that are missing or outdated, the newest of a kind first; drop old hours.

    Returns whether some are left to make. Each is a transaction of its own.
    """
    stops_at = time.monotonic() + seconds_max
    since = {"h": floor(now - HOURS_KEPT, "h"), "d": dt.datetime.min.replace(tzinfo=dt.UTC)}
    HeavyHitters.objects.filter(grain="h", at__lt=since["h"]).delete()
    for holder, grain in [(each, grain) for each, grains in GRAINS.items() for grain in grains]:
        for at in _missing(holder, grain, since[grain], floor(now - ENDED_FOR, grain)):
            if time.monotonic() > stops_at or not _make(holder, grain, at):
                return True
    return False


def _missing(holder: str, grain: str, since: dt.datetime, before: dt.datetime) -> list[dt.datetime]:
    values = {"holder": holder, "grain": grain, "since": since, "before": before}
    with connection.cursor() as cursor:
        cursor.execute(_MISSING, values)
        return [at for (at,) in cursor.fetchall()]


def _make(holder: str, grain: str, at: dt.datetime) -> bool:
    """Make one list; return `False` if another process makes some."""
    values = {
        "holder": holder,
        "grain": grain,
        "stored": STORED[grain],
        "at": at,
        "ends_at": at + LENGTHS[grain],
        "listed": LISTED,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(_MAKE.format(column=_COLUMN[holder]), values)
        return True
