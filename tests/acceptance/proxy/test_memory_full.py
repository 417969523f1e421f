"""What the gateway does while Valkey's memory is full, and after."""

import contextlib

import pytest

from keys.sweep import sweep
from tests.acceptance.developer import a_question
from tests.acceptance.engine import Engine
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation, ledger_entry
from tests.acceptance.outage import charged, unavailable, wait_until_nothing_is_in_flight
from tests.waiting import wait_until
from usage import ledger

# Less than Valkey takes for itself: everything that can be refused is.
NO_ROOM = "1mb"
UNBOUNDED = "0"
# A lease must be renewed, and would run out, while a test keeps Valkey full.
SHORT_LEASES = {"LEASE_TTL_S": "5", "LEASE_RENEW_S": "1"}
COSTS_A_LIMIT = [
    pytest.param("POST", "/v1/messages", id="messages"),
    pytest.param("POST", "/v1/messages/count_tokens", id="count_tokens"),
]


@pytest.fixture(scope="module")
def installation(django_db_blocker):
    with Engine("postgres") as postgres, Engine("valkey") as valkey:
        installation = Installation(postgres.url, valkey.url)
        with django_db_blocker.unblock(), installation.connected():
            installation.migrate()
            yield installation


@pytest.fixture(scope="module")
def gateway(installation, simulator):
    with GatewayProcess(installation, simulator.url, **SHORT_LEASES) as gateway:
        yield gateway


@pytest.fixture
def known(developer):
    """A developer whose key the gateway has seen, in one exchange."""
    assert developer.ask().status_code == 200
    return developer


@pytest.fixture
def valkey(installation):
    with installation.valkey() as client:
        yield client
        client.config_set("maxmemory", UNBOUNDED)


@contextlib.contextmanager
def full(valkey):
    """Valkey's memory full, for as long as the block runs."""
    valkey.config_set("maxmemory", NO_ROOM)
    try:
        yield
    finally:
        valkey.config_set("maxmemory", UNBOUNDED)


@pytest.mark.parametrize(("method", "path"), COSTS_A_LIMIT)
def test_503_within_two_seconds_while_memory_is_full(known, valkey, method, path):
    with full(valkey):
        assert unavailable(known.send(method, path, json=a_question()))
    wait_until(lambda: known.ask().status_code == 200, seconds=3)


def test_cached_answers_make_room_before_anybody_is_refused(known, valkey):
    valkey.config_set("maxmemory", valkey.info("memory")["used_memory"] + 2_000_000)
    for number in range(500):
        valkey.set(f"{{s00}}:r:k1.1:{number:064x}", bytes(10_000), ex=600)
    statuses = [known.ask().status_code for _call in range(20)]
    assert valkey.info("stats")["evicted_keys"] > 0
    assert statuses == [200] * 20


def test_a_stream_keeps_its_lease_and_is_settled_while_memory_is_full(known, valkey):
    with known.listen("[[sim:tokens=80]] [[sim:rate=10]]") as answer:
        lines = answer.iter_lines()
        next(lines)
        with full(valkey):
            abandoned = sum(sweep() for _line in lines)
            entry = ledger_entry(answer.headers["request-id"])
    assert abandoned == 0
    assert (entry.status, entry.output_tokens) == ("completed", 80)
    wait_until_nothing_is_in_flight(known)


def test_the_drain_makes_room_while_memory_is_full(known, valkey, settings):
    settings.EVENTS_KEEP_S = 0
    statuses = [known.ask().status_code for _call in range(20)]
    wait_until_nothing_is_in_flight(known)
    with full(valkey):
        ledger.drain()
        left = [valkey.xlen(ledger.events_key(shard)) for shard in range(settings.SHARDS)]
    # The last of a shard stays until it is older than now.
    assert (statuses, max(left)) == ([200] * 20, 1)


def test_the_ledger_has_each_exchange_once_after_memory_was_full(known, valkey):
    with full(valkey):
        refused = [known.ask().status_code for _call in range(5)]
    wait_until(lambda: known.ask().status_code == 200, seconds=3)
    assert refused == [503] * 5
    wait_until_nothing_is_in_flight(known)
    assert charged(known) == ["completed"] * 2
