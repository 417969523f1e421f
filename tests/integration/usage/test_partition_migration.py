"""The migration that makes a table of partitions out of the ledger, on a ledger that has rows."""

import datetime as dt
import threading

import pytest
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from tests.integration.usage.test_partitions import FAR, NOW, names, spend, where
from usage import ledger
from usage.core.partition import DEFAULT, FIRST, moment_of, month_after, name_of
from usage.models import LedgerEntry
from usage.partitions import partitions
from usage.verify import verify

# Of a month that is made at once, and begins after the old table's end.
LATER = month_after(month_after(month_after(NOW)))
BEFORE, AFTER = ("usage", "0008_status"), ("usage", "0009_partitions")


def migrate(target):
    MigrationExecutor(connection).migrate([target])


def schema():
    """Return the names and definitions of what belongs to the table that everybody names."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, replace(indexdef, ' ON ONLY ', ' ON ') FROM pg_indexes"
            " WHERE tablename = 'usage_ledgerentry'"
            " UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = 'usage_ledgerentry'::regclass AND contype <> 'n'"
            " UNION ALL SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger"
            " WHERE tgrelid = 'usage_ledgerentry'::regclass AND NOT tgisinternal ORDER BY 1, 2"
        )
        return cursor.fetchall()


@pytest.fixture
def one_table(transactional_db):
    """The ledger as it was before: one table."""
    migrate(BEFORE)
    yield
    LedgerEntry.objects.all().delete()
    # As a new installation makes them, for the tests that come after.
    migrate(BEFORE)
    migrate(AFTER)


def test_there_and_back_again_loses_nothing(one_table, valkey):
    moments = (NOW - dt.timedelta(days=400), NOW, LATER, FAR)
    ids = [spend(valkey, moment) for moment in moments]
    was = schema()
    migrate(AFTER)
    assert schema() == was
    assert [where(exchange_id) for exchange_id in ids] == [FIRST, FIRST, name_of(LATER), DEFAULT]
    assert verify(valkey).differences == ()
    migrate(BEFORE)
    assert schema() == was
    assert LedgerEntry.objects.count() == 4
    assert verify(valkey).differences == ()


def test_the_old_table_ends_with_a_month_to_come(one_table, valkey):
    spend(valkey)
    migrate(AFTER)
    first, *months, _default = partitions()
    assert first.ends_at == month_after(NOW + dt.timedelta(days=7))
    assert moment_of(months[0].lower) == first.ends_at
    assert names()[-2] == name_of(month_after(month_after(month_after(NOW))))


def test_it_goes_on_where_it_was_killed(one_table, valkey):
    spend(valkey, FAR)
    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW looks AS SELECT * FROM usage_ledgerentry")
        cursor.execute("CREATE TABLE usage_ledgerentry_first ()")  # Stops the last step.
    with pytest.raises(Exception, match="already exists"):
        migrate(AFTER)
    spend(valkey, NOW)  # The release before goes on.
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE usage_ledgerentry_first")
        cursor.execute("DROP VIEW looks")
    migrate(AFTER)
    assert LedgerEntry.objects.count() == 2
    assert verify(valkey).differences == ()


def test_whoever_reads_for_long_is_waited_for_without_holding_up_drains(one_table, valkey):
    spend(valkey, number=1)
    reading, read = threading.Event(), threading.Event()

    def export():
        with transaction.atomic():
            list(LedgerEntry.objects.all()[:1])
            reading.set()
            read.wait(60)
        connection.close()

    def upgrade():
        migrate(AFTER)
        connection.close()

    reader, upgrader = threading.Thread(target=export), threading.Thread(target=upgrade)
    reader.start()
    reading.wait(60)
    upgrader.start()
    for number in range(2, 6):
        spend(valkey, number=number)
    assert (names(), upgrader.is_alive()) == ([], True)
    read.set()
    reader.join()
    upgrader.join()
    ledger.drain()
    assert (len(names()) > 3, LedgerEntry.objects.count()) == (True, 5)
    assert verify(valkey).differences == ()


def test_others_may_still_read_it(one_table):
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE claudcode_looks_at_tests")
        try:
            cursor.execute("GRANT SELECT ON usage_ledgerentry TO claudcode_looks_at_tests")
            migrate(AFTER)
            cursor.execute("SET ROLE claudcode_looks_at_tests")
            cursor.execute("SELECT count(*) FROM usage_ledgerentry")
            assert cursor.fetchone() == (0,)
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP OWNED BY claudcode_looks_at_tests")
            cursor.execute("DROP ROLE claudcode_looks_at_tests")
