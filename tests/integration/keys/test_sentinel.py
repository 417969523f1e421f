"""The limiter behind Sentinel: whichever server it names has the limits, and no other."""

import asyncio
import contextlib

import pytest

from keys import valkey
from keys.limiter import Limiter, LimiterUnavailable
from proxy.listening import end, listen_forever
from tests.integration.keys.test_cluster import policy_of
from tests.integration.keys.test_limiter import Ledger, a_settlement, admit
from tests.valkey_sentinel import a_watched_primary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    with a_watched_primary(tmp_path_factory.mktemp("sentinel")) as watched:
        yield watched


@pytest.fixture
async def client(watched):
    client = valkey.async_client_of(watched.url, 1.0)
    yield client
    await client.aclose()


@pytest.fixture
async def limiter(client):
    async with Limiter(client, Ledger(), lease_ttl_ms=60_000) as limiter:
        yield limiter


async def settled(limiter, exchange):
    """Admit and settle an exchange, however often it must be tried."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(LimiterUnavailable):
                await admit(limiter, exchange, policy=policy_of(0))
                break
            await asyncio.sleep(0.05)
        again = False
        while True:
            with contextlib.suppress(LimiterUnavailable):
                settlement = a_settlement(exchange, 70, policy_of(0))
                return await limiter.settle(settlement, again=again)
            again = True
            await asyncio.sleep(0.05)


async def test_the_server_that_is_named_has_the_limits(limiter, watched):
    await settled(limiter, "before")
    watched.fail_over()
    await settled(limiter, "after")
    assert {b"{s00}:leases", b"{s00}:w:k1.0:tok:3600"} & set(watched.primary().client.keys())
    [reading] = (await limiter.peek(policy_of(0))).readings
    assert reading.used == 140


async def test_a_server_that_stands_still_is_left_and_not_believed_when_it_wakes(limiter, watched):
    await settled(limiter, "again")
    frozen = watched.primary()
    frozen.freeze()
    async with asyncio.timeout(20):
        while watched.primary() is frozen:
            await asyncio.sleep(0.05)
    await settled(limiter, "elsewhere")
    frozen.thaw()
    # For a moment it takes itself for a primary.
    before = frozen.client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
    await settled(limiter, "and again")
    assert frozen.client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0) == before


async def test_a_primary_that_was_replaced_is_left_though_it_answers(limiter, watched):
    await settled(limiter, "one more")
    replaced = watched.primary()
    # So that the sentinel cannot close our connections there, as it does on the whole.
    replaced.client.execute_command(
        "ACL", "SETUSER", "default", "-client|kill", "-replicaof", "-slaveof", "-config"
    )
    try:
        watched.fail_over()
        async with asyncio.timeout(20):
            while limiter.link.connected and limiter.link._connection.port == replaced.port:
                await asyncio.sleep(0.05)
        await settled(limiter, "yet another")
        assert limiter.link._connection.port == watched.primary().port
    finally:
        replaced.client.execute_command("ACL", "SETUSER", "default", "+@all")


async def test_who_listens_follows(client, watched):
    heard, lost = [], []
    listening = asyncio.create_task(
        listen_forever(client, "news", heard=heard.append, lost=lambda: lost.append(1))
    )
    try:
        async with asyncio.timeout(10):
            while heard != [None]:
                await asyncio.sleep(0.02)
        watched.fail_over()
        async with asyncio.timeout(20):
            while heard[-1] != b"hello":
                watched.primary().client.publish("news", "hello")
                await asyncio.sleep(0.05)
        assert lost
    finally:
        await end([listening])
