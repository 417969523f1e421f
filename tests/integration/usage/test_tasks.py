from claudcode.celery import app
from tests.ledger_events import a_closing, an_opening, append_event
from usage import tasks
from usage.models import LedgerEntry


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
