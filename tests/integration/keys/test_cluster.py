"""The limiter on a Valkey Cluster: slots that move, primaries that fail, nobody charged twice."""

import asyncio
import contextlib
import random

import pytest
from redis import RedisError
from redis.crc import key_slot

from keys import valkey
from keys.core.limits import Concurrency, Limit, Unit
from keys.limiter import AdmissionUnknown, Limiter, LimiterUnavailable, Settlement, shard_tag
from keys.limiter import source as limiter_source
from keys.link import LinkDown, Replication
from proxy.listening import end, listen_forever
from tests.integration.keys.test_limiter import Ledger, admit
from tests.policies import a_policy
from tests.valkey_cluster import Cluster, a_cluster

pytestmark = pytest.mark.slow

SHARDS = 8
STEADY = Limit("k1.0", Unit.TOKENS, 3_600, 10**9)
# How long one who settles comes again; nobody is away for longer here.
SETTLED_WITHIN_S = 30
CROWD = 12


@pytest.fixture(scope="module")
def running_cluster(tmp_path_factory):
    with a_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster):
    running_cluster.flush()
    yield running_cluster
    running_cluster.heal()


@pytest.fixture
async def limiter(cluster):
    async with a_limiter(cluster) as limiter:
        yield limiter


@contextlib.asynccontextmanager
async def a_limiter(cluster, **options):
    client = valkey.async_client_of(cluster.url, 1.0)
    async with Limiter(client, Ledger(), lease_ttl_ms=60_000, **options) as limiter:
        yield limiter
    await client.aclose()


def policy_of(shard):
    place = (Concurrency("k1.0", None),)
    return a_policy(shard=shard, limits=(STEADY,), concurrencies=place)


class Crowd:
    """Clients on all shards that admit and settle for as long as they are let; they keep books."""

    def __init__(self, limiter, shards=range(SHARDS)):
        self._limiter, self._shards = limiter, shards
        self._stopping = asyncio.Event()
        self.used = dict.fromkeys(shards, 0)
        self.settled: dict[int, list[str]] = {shard: [] for shard in shards}
        self.refused = 0

    @contextlib.asynccontextmanager
    async def at_work(self):
        """Let them work while the block runs, and end what they began."""
        clients = [asyncio.create_task(self._client(number)) for number in range(CROWD)]
        try:
            yield self
        finally:
            self._stopping.set()
            await asyncio.gather(*clients)

    async def more(self, count, *, seconds=30):
        """Wait until so many more exchanges are settled."""
        goal = self._done() + count
        async with asyncio.timeout(seconds):
            while self._done() < goal:
                await asyncio.sleep(0.02)

    def _done(self):
        return sum(map(len, self.settled.values()))

    async def _client(self, number):
        dice, call = random.Random(number), 0
        while not self._stopping.is_set():
            call += 1
            shard = dice.choice(list(self._shards))
            await self._exchange(shard, f"e{number}-{call}", dice)

    async def _exchange(self, shard, exchange, dice):
        policy, tokens = policy_of(shard), dice.randint(1, 100)
        try:
            await admit(self._limiter, exchange, policy=policy)
        except AdmissionUnknown:
            await self._until_passed(self._void, shard, exchange)
            self.refused += 1
        except LimiterUnavailable:
            self.refused += 1
            await asyncio.sleep(0.05)
        else:
            await asyncio.sleep(dice.random() / 100)
            await self._until_passed(self._settle, shard, exchange, tokens)
            self.used[shard] += tokens
            self.settled[shard].append(exchange)

    async def _until_passed(self, work, *arguments):
        again = False
        async with asyncio.timeout(SETTLED_WITHIN_S):
            while True:
                with contextlib.suppress(LimiterUnavailable):
                    return await work(*arguments, again=again)
                again = True
                await asyncio.sleep(0.05)

    async def _settle(self, shard, exchange, tokens, *, again):
        await self._limiter.settle(_settlement(shard, exchange, tokens), again=again)

    async def _void(self, shard, exchange, *, again):
        await self._limiter.void(_settlement(shard, exchange, 0))


def _settlement(shard, exchange, tokens):
    return Settlement(shard, exchange, "k1.0", b"{}", tokens, 0, b'{"c": 1}')


async def assert_books_agree(cluster, limiter, crowd, *, voided=False):
    """Every window counts what its clients used, and every settlement has its event."""
    client = valkey.client_of(cluster.url, 2.0)
    for shard, used in crowd.used.items():
        [reading] = (await settled_standing(limiter, shard)).readings
        assert (reading.used, reading.held) == (used, 0), f"shard {shard}"
        events = client.xrange(f"{shard_tag(shard)}:events")
        told = {fields[b"x"].decode() for _id, fields in events}
        assert told >= set(crowd.settled[shard])
        assert voided or told == set(crowd.settled[shard])


async def test_exchanges_are_admitted_and_settled_on_every_primary(cluster, limiter):
    homes = {cluster.primary_of(shard_tag(shard)).port for shard in range(SHARDS)}
    assert len(homes) == 3
    crowd = Crowd(limiter)
    async with crowd.at_work():
        await crowd.more(100)
    assert crowd.refused == 0
    await assert_books_agree(cluster, limiter, crowd)


async def test_a_primary_that_hands_over_loses_nothing(cluster, limiter):
    crowd = Crowd(limiter)
    async with crowd.at_work():
        await crowd.more(50)
        old = cluster.primary_of(shard_tag(0))
        new = cluster.replica_of(old)
        new.client.execute_command("CLUSTER", "FAILOVER")
        async with asyncio.timeout(20):
            while cluster.primary_of(shard_tag(0)) is not new:
                await asyncio.sleep(0.02)
        await crowd.more(50)
    await assert_books_agree(cluster, limiter, crowd, voided=True)


async def test_a_slot_that_moves_at_once_loses_nothing(cluster, limiter):
    """Valkey 9: CLUSTER MIGRATESLOTS."""
    slot = key_slot(shard_tag(0).encode())
    source = cluster.primary_of(shard_tag(0))
    target = next(each for each in cluster.primaries() if each is not source)
    crowd = Crowd(limiter, range(3))
    async with crowd.at_work():
        await crowd.more(50)
        migrate_whole(source, target, slot)
        async with asyncio.timeout(20):
            while cluster.primary_of(shard_tag(0)) is not target:
                await asyncio.sleep(0.02)
        await crowd.more(50)
    await assert_books_agree(cluster, limiter, crowd, voided=True)


async def test_a_slot_that_moves_key_by_key_is_used_by_nobody_and_loses_nothing(cluster, limiter):
    slot = key_slot(shard_tag(1).encode())
    source = cluster.primary_of(shard_tag(1))
    target = next(each for each in cluster.primaries() if each is not source)
    crowd = Crowd(limiter, range(3))
    async with crowd.at_work():
        await crowd.more(50)
        begin_moving(source, target, slot)
        keys = source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10_000)
        await asyncio.to_thread(move, source, target, keys[::2])
        before = len(crowd.settled[1])
        await crowd.more(50)  # On other shards.
        assert len(crowd.settled[1]) <= before + CROWD
        await asyncio.to_thread(finish_moving, cluster, source, target, slot)
        moved_at = len(crowd.settled[1])
        async with asyncio.timeout(20):
            while len(crowd.settled[1]) < moved_at + 20:
                await asyncio.sleep(0.02)
    assert crowd.refused > 0
    await assert_books_agree(cluster, limiter, crowd, voided=True)


@pytest.mark.parametrize("moved", ["leases", "w:k1.0:tok:3600"])
async def test_no_script_runs_on_half_a_slot(cluster, limiter, moved):
    await admit(limiter, policy=policy_of(3))
    tag = shard_tag(3)
    source = cluster.primary_of(tag)
    target = next(each for each in cluster.primaries() if each is not source)
    begin_moving(source, target, key_slot(tag.encode()))
    move(source, target, [f"{tag}:{moved}"])
    with pytest.raises(LimiterUnavailable) as caught:
        await admit(limiter, "another", policy=policy_of(3))
    assert isinstance(caught.value.__cause__, LinkDown)
    # redis-py follows a redirection to the other node.
    script = valkey.client_of(cluster.url, 2.0).register_script(limiter_source("sweep"))
    with pytest.raises(RedisError):
        await asyncio.to_thread(script, keys=[f"{tag}:leases"], args=[0, 10])
    finish_moving(cluster, source, target, key_slot(tag.encode()))
    verdict = await settled_standing(limiter, 3)
    assert (verdict.readings[0].held, verdict.in_flight) == (100, (1,))


async def test_a_slot_in_motion_is_told_within_the_bound(cluster, limiter):
    slot = key_slot(shard_tag(2).encode())
    source = cluster.primary_of(shard_tag(2))
    target = next(each for each in cluster.primaries() if each is not source)
    begin_moving(source, target, slot)
    try:
        async with asyncio.timeout(5):
            with pytest.raises(LimiterUnavailable) as caught:
                await admit(limiter, policy=policy_of(2))
        assert not isinstance(caught.value, AdmissionUnknown)
        assert isinstance(caught.value.__cause__, LinkDown)
        await admit(limiter, policy=policy_of(0))
    finally:
        for server in (source, target):
            server.client.execute_command("CLUSTER", "SETSLOT", slot, "STABLE")


async def test_a_primary_that_is_killed_is_replaced_within_seconds(cluster):
    replication = Replication(1, 500)
    async with a_limiter(cluster, replication=replication) as limiter:
        crowd = Crowd(limiter)
        async with crowd.at_work():
            await crowd.more(100)
            cluster.primary_of(shard_tag(0)).kill()
            async with asyncio.timeout(30):
                while not await passes(limiter, 0):
                    await asyncio.sleep(0.05)
            await crowd.more(100)
        await assert_books_agree(cluster, limiter, crowd, voided=True)


async def test_a_primary_that_stands_still_is_replaced_within_seconds(cluster, limiter):
    frozen = cluster.primary_of(shard_tag(0))
    await admit(limiter, policy=policy_of(0))
    frozen.freeze()
    async with asyncio.timeout(30):
        while not await passes(limiter, 0):
            await asyncio.sleep(0.05)
    frozen.thaw()
    # It still takes itself for a primary, but nobody asks it.
    await admit(limiter, "later", policy=policy_of(0))
    assert cluster.primary_of(shard_tag(0)) is not frozen


async def passes(limiter, shard):
    """Return how the shard stands, `None` if nobody can tell just now."""
    with contextlib.suppress(LimiterUnavailable):
        return await limiter.peek(policy_of(shard))


async def settled_standing(limiter, shard):
    """Return how the shard stands, as soon as anybody can tell."""
    async with asyncio.timeout(10):
        while (verdict := await passes(limiter, shard)) is None:
            await asyncio.sleep(0.05)
    return verdict


# --- How slots move ------------------------------------------------------------------------------


def node_id(server):
    return server.client.execute_command("CLUSTER", "MYID").decode()


def migrate_whole(source, target, slot):
    source.client.execute_command(
        "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", node_id(target)
    )


def begin_moving(source, target, slot):
    target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
    source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))


def move(source, target, keys):
    if keys:
        source.client.execute_command(
            "MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys
        )


def finish_moving(cluster: Cluster, source, target, slot):
    while keys := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1_000):
        move(source, target, keys)
    for server in (target, source):
        server.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", node_id(target))


# --- Who listens ---------------------------------------------------------------------------------


async def test_a_node_that_is_alone_is_not_listened_to(cluster):
    """It answers pings, and hears nothing of what is said on the others."""
    client, heard, lost = valkey.async_client_of(cluster.url, 1.0), [], []
    listening = asyncio.create_task(
        listen_forever(client, "news", heard=heard.append, lost=lambda: lost.append(True))
    )
    try:
        async with asyncio.timeout(10):
            while heard != [None]:
                await asyncio.sleep(0.02)
        alone = listened_to(cluster)
        for other in cluster.servers:
            if other is not alone:
                other.freeze()
        async with asyncio.timeout(20):
            while not lost:
                await asyncio.sleep(0.05)
        assert alone.client.ping()
    finally:
        for server in cluster.servers:
            server.thaw()
        await end([listening])
        await client.aclose()


def listened_to(cluster):
    found = [s for s in cluster.primaries() if s.client.pubsub_numsub("news")[0][1] > 0]
    assert len(found) == 1
    return found[0]
