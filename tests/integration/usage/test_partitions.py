"""The ledger's partitions: what is made ahead, where rows go, what roll-ups are told."""

import datetime as dt
import threading
from uuid import UUID

import pytest
from django.db import connection, transaction

from proxy.call import new_id
from tests.ledger_events import a_closing, an_opening, append_event
from usage import ledger, partitions
from usage.core.partition import DEFAULT, FIRST, Partition, id_from, month_after, month_of, name_of
from usage.models import LedgerEntry
from usage.reading.scope import everything
from usage.reading.totals import totals
from usage.upkeep import Upkeep
from usage.verify import verify

NOW = dt.datetime.now(dt.UTC)
FAR = dt.datetime(2090, 5, 17, tzinfo=dt.UTC)


def an_id(moment=NOW, number=1):
    return UUID(int=id_from(moment).int + number).hex


def spend(valkey, moment=NOW, number=1, **fields):
    """Settle one exchange that was admitted at `moment`; return its id."""
    at_ms = int(moment.timestamp() * 1000)
    opening = an_opening(exchange_id=an_id(moment, number), admitted_at_ms=at_ms, **fields)
    append_event(valkey, opening, a_closing(), charged_at_ms=at_ms + 1_200)
    ledger.drain()
    return opening.exchange_id


def where(exchange_id):
    """Return the name of the partition that an entry is in."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableoid::regclass::text FROM usage_ledgerentry WHERE exchange_id = %s",
            [exchange_id],
        )
        return cursor.fetchone()[0]


def rows_in(name):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {name}")
        return cursor.fetchone()[0]


def names():
    return [partition.name for partition in partitions.partitions()]


def test_an_installation_begins_with_this_month_and_months_ahead(db):
    months = [month_of(NOW)]
    for _ in range(3):
        months.append(month_after(months[-1]))
    assert names() == [FIRST, *map(name_of, months), DEFAULT]


def test_an_exchange_is_in_the_month_of_its_admission(db, valkey):
    opening = an_opening(exchange_id=new_id())
    append_event(valkey, opening, a_closing())
    ledger.drain()
    assert where(opening.exchange_id) == name_of(NOW)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        pytest.param(month_of(NOW), name_of(NOW), id="the first millisecond"),
        pytest.param(month_of(NOW) - dt.timedelta(milliseconds=1), FIRST, id="the one before"),
        pytest.param(FAR, DEFAULT, id="a clock gone mad"),
    ],
)
def test_no_insertion_fails_for_want_of_a_partition(db, valkey, moment, expected):
    assert where(spend(valkey, moment)) == expected


@pytest.mark.parametrize("moment", [NOW, FAR], ids=["month", "default"])
def test_a_late_settlement_replaces_the_abandonment_in_any_partition(db, valkey, moment):
    opening = an_opening(exchange_id=an_id(moment))
    append_event(valkey, opening)
    ledger.drain()
    append_event(valkey, opening, a_closing())
    ledger.drain()
    assert LedgerEntry.objects.get().status == "completed"
    assert verify(valkey).differences == ()


def test_what_came_before_its_month_was_made_moves_there_and_counts_once(db, valkey):
    exchange_id = spend(valkey, FAR)
    spend(valkey, FAR + dt.timedelta(days=40))
    before = totals(everything(), FAR - dt.timedelta(days=60), FAR + dt.timedelta(days=60)).now
    assert partitions.make_ahead(FAR, 0) == [name_of(FAR)]
    assert where(exchange_id) == name_of(FAR)
    assert rows_in(DEFAULT) == 1
    after = totals(everything(), FAR - dt.timedelta(days=60), FAR + dt.timedelta(days=60)).now
    assert (after, after["requests"]) == (before, 2)
    assert verify(valkey).differences == ()


def test_making_ahead_again_makes_nothing(db):
    assert len(partitions.make_ahead(FAR, 2)) == 3
    assert partitions.make_ahead(FAR, 2) == []


def test_a_new_month_has_the_indexes_and_checks_of_the_ledger(db):
    (name,) = partitions.make_ahead(FAR, 0)
    with connection.cursor() as cursor:
        made = connection.introspection.get_constraints(cursor, name)
        asked = connection.introspection.get_constraints(cursor, "usage_ledgerentry")
    kinds = ("columns", "primary_key", "unique", "check", "index", "type", "orders")
    described = [[c.get(kind) for kind in kinds] for c in made.values()]
    assert sorted(described, key=repr) == sorted(
        ([c.get(kind) for kind in kinds] for c in asked.values()), key=repr
    )
    assert all(c["index"] or c["check"] or c["primary_key"] for c in asked.values())


def test_two_workers_make_a_month_once(transactional_db):
    made, workers = [], []

    def work():
        try:
            made.extend(partitions.make_ahead(FAR, 0))
        except partitions.Busy:
            made.append("busy")
        finally:
            connection.close()

    for _ in range(3):
        workers.append(threading.Thread(target=work))
        workers[-1].start()
    for worker in workers:
        worker.join()
    try:
        assert made.count(name_of(FAR)) == 1
        assert names().count(name_of(FAR)) == 1
    finally:
        _drop(name_of(FAR))


def test_a_ledger_that_is_read_for_long_is_left_alone(transactional_db):
    reading, read = threading.Event(), threading.Event()

    def export():
        with transaction.atomic():
            list(LedgerEntry.objects.all()[:1])
            reading.set()
            read.wait(30)
        connection.close()

    reader = threading.Thread(target=export)
    reader.start()
    reading.wait(30)
    try:
        with pytest.raises(partitions.Busy):
            partitions.make_ahead(FAR, 0)
        assert name_of(FAR) not in names()
    finally:
        read.set()
        reader.join()


def test_a_worker_makes_months_ahead_as_it_starts(db, settings):
    settings.LEDGER_MONTHS_AHEAD = 5
    Upkeep().tend()
    assert len(names()) == 2 + 1 + 5


def test_bounds_are_read_as_postgres_says_them(db):
    first, month, *_rest, default = partitions.partitions()
    assert (first.lower, first.upper) == (None, month.lower)
    assert month.lower == id_from(month_of(NOW))
    assert month.ends_at == month_after(NOW)
    assert isinstance(default, Partition)
    assert (default.lower, default.upper) == (None, None)


def _drop(name):
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {name}")
