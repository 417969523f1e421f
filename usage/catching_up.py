"""Adds entries that are older than the roll-ups of dashboards to them, and drops old sessions.

Any number of processes may do this at once, and each may be killed anywhere: a batch and how far
it came are one transaction. See `usage.rolling`.
"""

import datetime as dt
import time
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from usage.folding import fold_all, hold
from usage.models import Backfill, LedgerEntry, LedgerFloor, SessionRollup
from usage.rolling import BEGIN, END, STEP, TABLES

# The drain waits for a batch at most: about a second.
BATCH = 10_000
# A drain every second must not wait for more than this, nor look for old sessions more often.
SECONDS_MAX = 5.0
SESSION_DAYS = 30
_PRUNE_EVERY_S = 3_600.0

_pruned_at_s = float("-inf")


def tend(seconds_max: float = SECONDS_MAX) -> None:
    """Add batches of old entries for a while if there are any; drop old sessions now and then."""
    global _pruned_at_s
    deadline = time.monotonic() + seconds_max
    while Backfill.objects.exists() and time.monotonic() < deadline:
        add_batch()
    if time.monotonic() - _pruned_at_s > _PRUNE_EVERY_S:
        prune_sessions()
        _pruned_at_s = time.monotonic()


def add_batch(size: int = BATCH) -> int:
    """Add the next entries to the roll-ups; return how many, 0 when all are there."""
    with transaction.atomic(), connection.cursor() as cursor:
        hold()
        position = Backfill.objects.select_for_update().first()
        if position is None:
            return 0
        after = position.exchange_id
        ids = list(
            LedgerEntry.objects.filter(exchange_id__gt=after)
            .order_by("exchange_id")
            .values_list("exchange_id", flat=True)[:size]
        )
        cursor.execute(STEP, [after, ids[-1] if len(ids) == size else END])
        if len(ids) < size:
            position.delete()
        else:
            Backfill.objects.update(exchange_id=ids[-1])
        return len(ids)


def rebuild() -> None:
    """Empty the roll-ups and begin to add all of the ledger again; `tend` goes on with it.

    What holds entries that retention has dropped is kept as it is.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        hold()
        # Nobody writes to the ledger from here to the commit.
        cursor.execute("LOCK TABLE usage_ledgerentry IN SHARE ROW EXCLUSIVE MODE")
        # Notes may belong to what is kept.
        fold_all()
        cursor.execute("TRUNCATE usage_backfill, usage_rollupdelta")
        if LedgerFloor.objects.exists():
            for table in TABLES:
                cursor.execute(f"DELETE FROM {table.name} AS stored WHERE {table.whole('stored')}")
        else:
            cursor.execute(f"TRUNCATE {', '.join(table.name for table in TABLES)}")
        cursor.execute(BEGIN)


def reached() -> UUID | None:
    """Return up to which entry roll-ups are complete; `None` when they are."""
    return Backfill.objects.values_list("exchange_id", flat=True).first()


def sessions_since(now: dt.datetime) -> dt.datetime:
    """Return the first day of which sessions are kept for certain."""
    midnight = now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - dt.timedelta(days=SESSION_DAYS - 1)


def prune_sessions(now: dt.datetime | None = None) -> int:
    """Drop the sessions' days that are too old; return how many rows that were."""
    since = sessions_since(now or timezone.now())
    return SessionRollup.objects.filter(day__lt=since).delete()[0]
