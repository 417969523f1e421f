"""The ledger's partitions, one for each month of UTC: which there are, and months made ahead.

    usage_ledgerentry_first     what is older than the first month, above all the table that was
    usage_ledgerentry_2027_01   exchanges admitted in a month, by the time in their ids
    usage_ledgerentry_default   ids of no month that is there: no insertion fails for want of one

Triggers that tell the roll-ups are the parent's: what is done to a partition by its own name
changes no roll-up. So rows of the default partition move to their month when it is made, and so
`usage.retention` drops. A lock is waited for a moment only, for drains wait behind whoever waits.
"""

import datetime as dt
import logging

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from usage.core.partition import (
    DEFAULT,
    TABLE,
    Partition,
    bounds,
    id_from,
    month_after,
    month_of,
    name_of,
)

# "part" in ASCII: whoever changes partitions holds it; another has nothing to do then.
LOCK = 0x70617274
LOCK_TIMEOUT_MS = 500
LOCK_NOT_AVAILABLE = "55P03"

_LIST = f"""
SELECT relname, pg_get_expr(relpartbound, oid), greatest(0, reltuples)::bigint,
    pg_total_relation_size(oid)
FROM pg_inherits JOIN pg_class ON oid = inhrelid
WHERE inhparent = '{TABLE}'::regclass
"""
_MOVE = """
WITH moved AS (DELETE FROM {default} WHERE exchange_id >= %s AND exchange_id < %s RETURNING *)
INSERT INTO {name} SELECT * FROM moved
"""

logger = logging.getLogger(__name__)


class Busy(Exception):
    """Somebody else holds what must be locked; a later attempt may succeed."""


def partitions() -> list[Partition]:
    """Return the partitions, oldest first; the default one is last. Rows are estimates."""
    with connection.cursor() as cursor:
        cursor.execute(_LIST)
        found = [Partition(name, *bounds(said), *rest) for name, said, *rest in cursor.fetchall()]
    return sorted(found, key=lambda p: (p.name == DEFAULT, p.lower.int if p.lower else 0))


def missing_months(now: dt.datetime, ahead: int) -> list[dt.datetime]:
    """Return the months without a partition, from the one of `now` to `ahead` after it."""
    ranges = [(p.lower.int if p.lower else 0, p.upper.int) for p in partitions() if p.upper]
    months = [month_of(now)]
    for _ in range(ahead):
        months.append(month_after(months[-1]))
    ids = {month: id_from(month).int for month in months}
    return [m for m in months if not any(lower <= ids[m] < upper for lower, upper in ranges)]


def has_strays() -> bool:
    """Return whether there are entries of no month: of clocks gone mad, or of a month not made."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT FROM {DEFAULT})")
        return bool(cursor.fetchone()[0])


def make_ahead(now: dt.datetime | None = None, ahead: int | None = None) -> list[str]:
    """Make the partitions that are missing up to `ahead` months from now; return their names.

    Raises `Busy` where that would keep others waiting.
    """
    months = settings.LEDGER_MONTHS_AHEAD if ahead is None else ahead
    missing = missing_months(now or timezone.now(), months)
    return [name_of(month) for month in missing if _make(month)]


def _make(month: dt.datetime) -> bool:
    """Make one month; return whether nobody else has done so meanwhile."""
    name, lower, upper = name_of(month), id_from(month), id_from(month_after(month))
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            claim()
            cursor.execute("SELECT to_regclass(%s)", [name])
            if cursor.fetchone()[0]:
                return False
            cursor.execute(
                f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
            )
            # Nothing new for this month may come into the default partition meanwhile.
            cursor.execute(f"LOCK TABLE {DEFAULT} IN ACCESS EXCLUSIVE MODE")
            cursor.execute(_MOVE.format(default=DEFAULT, name=name), [lower, upper])
            cursor.execute(
                f"ALTER TABLE {TABLE} ATTACH PARTITION {name}"
                f" FOR VALUES FROM ('{lower}') TO ('{upper}')"
            )
    except OperationalError as error:
        raise_if_busy(error)
        raise
    logger.info("made partition %s of the ledger", name)
    return True


def claim() -> None:
    """Keep others from changing partitions until the transaction ends, and wait for no lock long.

    Raises `Busy` while somebody else does.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            raise Busy
        cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")


def raise_if_busy(error: OperationalError) -> None:
    """Raise `Busy` if the error says that a lock was not had in time."""
    if getattr(error.__cause__, "sqlstate", "") == LOCK_NOT_AVAILABLE:
        raise Busy from error
