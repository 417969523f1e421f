"""What the gateway does while Valkey's or Postgres' disk is full, and after."""

import contextlib
from dataclasses import dataclass

import pytest
from django.db import DatabaseError

from tests.acceptance.engine import Engine
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation, disconnect, ledger_entry
from tests.acceptance.outage import charged, unavailable, wait_until_nothing_is_in_flight
from tests.acceptance.small_disk import SmallDisk, mounts
from tests.waiting import wait_until
from usage import ledger

pytestmark = mounts
# An empty cluster with its write-ahead log takes 60 MB.
POSTGRES_MB = 200
VALKEY_MB = 16


@dataclass(frozen=True, slots=True)
class Store:
    """An engine whose data is on a disk of its own."""

    engine: Engine
    disk: SmallDisk


@contextlib.contextmanager
def a_store(name, megabytes):
    engine = Engine(name)
    try:
        with SmallDisk(engine.folder / name, megabytes) as disk:
            try:
                engine.start()
                yield Store(engine, disk)
            finally:
                engine.stop()
    finally:
        engine.remove()


@pytest.fixture(scope="module")
def postgres():
    with a_store("postgres", POSTGRES_MB) as store:
        yield store


@pytest.fixture(scope="module")
def valkey():
    with a_store("valkey", VALKEY_MB) as store:
        yield store


@pytest.fixture(scope="module")
def installation(postgres, valkey, django_db_blocker):
    installation = Installation(postgres.engine.url, valkey.engine.url)
    with django_db_blocker.unblock(), installation.connected():
        installation.migrate()
        yield installation


@pytest.fixture(scope="module")
def gateway(installation, simulator):
    with GatewayProcess(installation, simulator.url) as gateway:
        yield gateway


@pytest.fixture
def known(developer):
    """A developer whose key the gateway has seen, in one exchange."""
    assert developer.ask().status_code == 200
    return developer


def test_503_while_valkeys_disk_is_full_and_all_is_recorded_after(known, valkey):
    with known.listen("[[sim:tokens=60]] [[sim:rate=20]]") as answer, valkey.disk.full():
        wait_until(lambda: known.ask().status_code == 503, seconds=10)
        assert unavailable(known.ask())
        assert list(answer.iter_lines())[-2] == 'data: {"type":"message_stop"}'
    wait_until(lambda: known.ask().status_code == 200, seconds=10)
    assert ledger_entry(answer.headers["request-id"]).output_tokens == 60
    wait_until_nothing_is_in_flight(known)
    assert set(charged(known)) == {"completed"}


def test_nobody_notices_that_postgres_disk_is_full_and_all_is_recorded_after(known, postgres):
    statuses = [200]
    with postgres.disk.full():
        with pytest.raises(DatabaseError):
            ask_until_the_drain_fails(known, statuses)
        statuses += [known.ask().status_code for _call in range(10)]
    disconnect()
    postgres.engine.revive()
    wait_until_nothing_is_in_flight(known)
    assert set(statuses) == {200}
    assert charged(known) == ["completed"] * len(statuses)


def ask_until_the_drain_fails(known, statuses):
    while True:  # Until a table needs one page more than there is.
        statuses.append(known.ask().status_code)
        ledger.drain()
