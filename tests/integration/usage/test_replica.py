"""What is read from a replica, and what never is. The replica is a database of the same server."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections

from claudcode import stores
from keys.models import ApiKey
from usage import replica
from usage.models import HourlyRollup, LedgerEntry


@pytest.fixture
def asked(db, settings, monkeypatch) -> Iterator[list[str]]:
    """A replica by the settings, which cannot be reached; collects where a question was asked."""
    nowhere = "postgresql://nobody@127.0.0.1:1/nowhere"
    monkeypatch.setitem(connections.databases, replica.REPLICA, stores.replica(nowhere, 1))
    monkeypatch.setattr(replica, "_standing", replica.Standing())
    settings.REPLICA_URL = nowhere
    yield []
    with suppress(AttributeError):  # Nobody asked it.
        del connections[replica.REPLICA]


def test_without_one_the_primary_is_asked():
    assert replica.read(replica.alias) == DEFAULT_DB_ALIAS
    assert replica.age_s() is None
    assert replica.shown_age_s() == 0


def test_one_that_cannot_be_reached_is_not_asked(asked):
    standing = replica.Standing()
    assert standing.age_s() is None
    assert replica.read(replica.alias) == DEFAULT_DB_ALIAS


@pytest.mark.parametrize("model", [LedgerEntry, HourlyRollup])
def test_outside_of_a_reading_usage_is_on_the_primary(model):
    assert replica.Router().db_for_read(model) == DEFAULT_DB_ALIAS


def test_inside_of_one_usage_alone_is_on_the_replica_and_writes_are_not():
    token = replica._reads_from.set(replica.REPLICA)
    try:
        assert replica.Router().db_for_read(LedgerEntry) == replica.REPLICA
        assert replica.Router().db_for_read(ApiKey) is None
        assert replica.Router().db_for_write(LedgerEntry) == DEFAULT_DB_ALIAS
    finally:
        replica._reads_from.reset(token)


def test_a_replica_that_fails_in_the_middle_is_given_up(asked, monkeypatch):
    standing = replica.Standing()
    standing._fresh_at, standing._look_at = float("inf"), float("inf")
    monkeypatch.setattr(replica, "_standing", standing)

    def ask() -> str:
        asked.append(replica.alias())
        if asked[-1] == replica.REPLICA:
            raise OperationalError
        return "an answer"

    assert replica.read(ask) == "an answer"
    assert asked == [replica.REPLICA, DEFAULT_DB_ALIAS]
    assert replica.read(ask) == "an answer"
    assert asked[2:] == [DEFAULT_DB_ALIAS]


def test_what_was_noted_and_is_replayed_is_seen():
    standing = replica.Standing()
    # at 10 the primary was at 100, and the replica had all of it; at 20 it lacked what was new.
    assert standing._seen_at(10, 100, 100, None) == 10
    assert standing._seen_at(20, 200, 150, None) == 10
    assert standing._seen_at(30, 300, 200, None) == 20
    assert standing._seen_at(40, 300, 300, None) == 40


def test_without_a_note_the_last_transaction_says_how_old_it_is():
    standing = replica.Standing()
    assert standing._seen_at(100, 900, 500, 7.0) == 93
    assert replica.Standing()._seen_at(100, 900, 500, None) is None
