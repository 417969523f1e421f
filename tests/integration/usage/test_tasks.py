import logging

import pytest

from claudcode.celery import app
from tests.ledger_events import a_closing, an_opening, append_event
from usage import tasks
from usage.models import LedgerEntry


@pytest.fixture
def small_valkey(valkey):
    yield valkey
    valkey.config_set("maxmemory", 0)


def test_the_schedule_names_tasks_that_exist():
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert {"usage.tasks.drain", "usage.tasks.sweep"} <= scheduled
    assert scheduled <= app.tasks.keys()


def test_drain_writes_what_waits(db, valkey):
    append_event(valkey, an_opening(), a_closing())
    tasks.drain()
    assert LedgerEntry.objects.count() == 1


def test_sweep_abandons_expired_leases(db, valkey):
    opening = an_opening()
    valkey.zadd("{s00}:leases", {opening.exchange_id: 1})
    tasks.sweep()
    assert valkey.zcard("{s00}:leases") == 0


def test_a_worker_that_nobody_asks_does_its_work_unasked(db, valkey):
    append_event(valkey, an_opening(), a_closing())
    tasks.Housekeeping().look()
    assert LedgerEntry.objects.count() == 1


def test_a_worker_that_is_asked_does_not(db, valkey):
    append_event(valkey, an_opening(), a_closing())
    housekeeping = tasks.Housekeeping()
    housekeeping.asked()
    housekeeping.look()
    assert LedgerEntry.objects.count() == 0


def test_events_that_take_most_of_the_memory_are_logged(db, small_valkey, caplog):
    small_valkey.xadd("{s03}:events", {"x": "1" * 100_000})
    small_valkey.config_set("maxmemory", 150_000)
    housekeeping = tasks.Housekeeping()
    housekeeping.asked()
    with caplog.at_level(logging.ERROR):
        housekeeping.look()
    assert "of the memory that Valkey may use" in caplog.text
