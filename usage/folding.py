"""Adds what the ledger's trigger noted to the roll-ups of dashboards, for all shards at once.

A batch is one statement that deletes notes and adds them, so each counts once wherever a process is
killed. See `usage.rolling`.
"""

from django.db import connection, transaction

from usage.rolling import FOLD

# "fold" in ASCII: whoever adds to the roll-ups holds it; two would wait for each other's rows.
LOCK = 0x666F6C64
# More at once is cheaper for each, but its sums must stay in memory.
BATCH = 20_000
# A fold ends even if notes come faster; the next one starts within a second.
ROUNDS_MAX = 20


def fold() -> None:
    """Add what was noted. Does nothing while another process is at it."""
    for _round in range(ROUNDS_MAX):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            if not cursor.fetchone()[0] or not _fold_batch():
                return


def fold_all() -> None:
    """Add everything that was noted, this transaction's notes included."""
    with transaction.atomic():
        hold()
        while _fold_batch():
            pass


def hold() -> None:
    """Keep everybody else from adding to the roll-ups until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def _fold_batch() -> bool:
    with connection.cursor() as cursor:
        # Without notes, which is most of the time, not even the statement is planned.
        cursor.execute("SELECT EXISTS (SELECT FROM usage_rollupdelta)")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(FOLD, [BATCH])
        return True
