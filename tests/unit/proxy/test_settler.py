import asyncio
from types import SimpleNamespace

import pytest

from keys.limiter import Progress, Settlement
from proxy.settler import Settler
from tests.policies import a_policy

RENEW_S = 0.001
SETTLEMENT = Settlement(0, "e1", "k1.0", b"{}", 1, 1, b"{}")
EXCHANGE = SimpleNamespace(
    exchange_id="e1",
    policy=a_policy(),
    wanted=None,
    opening=b"{}",
    progress=lambda: Progress("e1", 0, 0, b""),
)


class EmptiedStore:
    """A limiter that knows no lease; its settlements pass when told."""

    def __init__(self):
        self.passes = asyncio.Event()
        self.renewals = 0
        self.restored = []

    async def settle(self, settlement, *, again):
        await self.passes.wait()

    async def renew(self, shard, progress):
        self.renewals += len(progress)
        return [step.exchange_id for step in progress]

    async def restore(self, policy, exchange_id, wanted, opening):
        self.restored.append(exchange_id)

    async def renewed(self, times):
        async with asyncio.timeout(5):
            while self.renewals < times:
                await asyncio.sleep(RENEW_S)


@pytest.fixture
async def store():
    return EmptiedStore()


@pytest.fixture
async def settler(store):
    settler = Settler(store, renew_s=RENEW_S)
    settler.start()
    settler.hold(EXCHANGE)
    yield settler
    store.passes.set()
    await settler.stop(1)


async def test_a_lease_that_the_store_lost_is_taken_again(store, settler):
    await store.renewed(times=2)
    assert store.restored


async def test_a_lease_is_not_taken_again_once_its_settlement_is_on_its_way(store, settler):
    settler.settle(SETTLEMENT)
    await store.renewed(times=3)
    assert not store.restored


async def test_a_settled_exchange_is_held_no_longer(store, settler):
    store.passes.set()
    await settler.settle(SETTLEMENT)
    assert settler.in_flight == 0
