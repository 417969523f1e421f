"""Drains that are killed with -9 while they write."""

import os
import signal
import subprocess
import sys
import time

from django.db import connection, transaction

from tests.ledger_events import a_closing, an_opening, append_event
from usage import ledger
from usage.core.event import ExchangeStatus
from usage.folding import fold_all
from usage.models import GroupRollup, HourlyRollup, KeyRollup, LedgerEntry, RollupDelta
from usage.statements import COMPARE
from usage.verify import verify

EVENTS = 1_200
DRAIN_FOR_EVER = """
import django
django.setup()
from usage import ledger
while True:
    ledger.drain()
"""
FOLD = "import django; django.setup(); from usage.folding import fold; fold()"
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def drain_until_killed(environment, rows_at_least):
    child = subprocess.Popen([sys.executable, "-c", DRAIN_FOR_EVER], env=environment)
    try:
        deadline = time.monotonic() + 30
        while LedgerEntry.objects.count() < rows_at_least:
            assert child.poll() is None
            assert time.monotonic() < deadline
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def test_drains_killed_while_they_write_lose_nothing_and_count_nothing_twice(
    database_url, valkey, settings
):
    for number in range(EVENTS // 2):
        opening = an_opening(apikey_id=number % 5)
        append_event(valkey, opening, a_closing(status=ExchangeStatus.ABANDONED), shard=number % 3)
        append_event(valkey, opening, a_closing(), shard=number % 3)
    environment = os.environ | {"DATABASE_URL": database_url, "CLAUDCODE_DRAIN_BATCH": "7"}
    for kill in range(1, 4):
        drain_until_killed(environment, kill * EVENTS // 10)
    ledger.drain()
    assert LedgerEntry.objects.filter(status="completed").count() == EVENTS // 2
    assert sum(row.requests for row in HourlyRollup.objects.all()) == EVENTS // 2
    with connection.cursor() as cursor:
        cursor.execute(COMPARE)
        assert cursor.fetchall() == []
    assert verify(valkey).differences == ()
    assert not RollupDelta.objects.exists()
    for rollup in (KeyRollup, GroupRollup):
        days = rollup.objects.filter(grain="d")
        everybody = days.filter(facet="", team_id=0) if rollup is GroupRollup else days
        assert sum(row.requests for row in everybody) == EVENTS // 2


def fold_killed_at_the_notes(environment):
    """Kill a fold while it waits for notes that we hold: it has done all that it does before."""
    with transaction.atomic(), connection.cursor() as cursor:
        assert list(RollupDelta.objects.select_for_update())
        child = subprocess.Popen([sys.executable, "-c", FOLD], env=environment)
        try:
            deadline = time.monotonic() + 30
            waiting = 0
            while not waiting:
                assert child.poll() is None
                assert time.monotonic() < deadline
                cursor.execute("SELECT pg_stat_clear_snapshot()")
                cursor.execute(WAITING)
                (waiting,) = cursor.fetchone()
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()


def test_a_fold_that_is_killed_adds_nothing_twice(database_url, valkey):
    for number in range(6):
        append_event(valkey, an_opening(apikey_id=number), a_closing())
    ledger.drain()
    LedgerEntry.objects.filter(apikey_id__lt=2).delete()
    fold_killed_at_the_notes(os.environ | {"DATABASE_URL": database_url})
    fold_all()
    assert not RollupDelta.objects.exists()
    assert sum(row.requests for row in KeyRollup.objects.filter(grain="d")) == 4
