"""A flight: one upstream answer, read by its leader and by whoever joins."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import flights as flights_module
from proxy.core.errors import UpstreamFailed
from proxy.flights import FLIGHT_BYTES_MAX, Flights, Follower, LeaderFailed
from proxy.upstream import UpstreamBroken

NAME = "digest1"


@pytest.fixture
def flights() -> Flights:
    return Flights(bytes_max=64 * 1024 * 1024)


async def read_all(follower: Follower) -> bytes:
    await follower.begun()
    body = b""
    while piece := await follower.piece():
        body += piece
    follower.finish()
    return body


def test_there_is_nothing_to_join_at_first(flights):
    assert flights.join(NAME) is None


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=20), max_size=12),
    joins=st.lists(st.integers(0, 12), max_size=5),
)
def test_whoever_joins_whenever_reads_the_whole(pieces, joins):
    async def scenario() -> list[bytes]:
        flights = Flights(bytes_max=10**9)
        flight = flights.lead(NAME, "req_1")
        readers = []

        def join(position: int) -> None:
            for _ in range(joins.count(position)):
                follower = flights.join(NAME)
                assert follower is not None
                readers.append(asyncio.create_task(read_all(follower)))

        flight.begin(200, [], None)
        for position, piece in enumerate(pieces):
            join(position)
            await asyncio.sleep(0)
            flight.feed(piece)
        flight.end(broken=False)
        for position in range(len(pieces), 13):
            join(position)
        bodies = await asyncio.gather(*readers)
        flight.land()
        assert flights.bytes_kept == 0
        return bodies

    assert asyncio.run(scenario()) == [b"".join(pieces)] * len(joins)


async def test_followers_hear_of_a_leader_that_fails_before_the_answer(flights):
    flight = flights.lead(NAME, "req_1")
    follower = flights.join(NAME)
    reading = asyncio.create_task(read_all(follower))
    await asyncio.sleep(0)
    error = UpstreamFailed("no")
    flight.fail(error)
    with pytest.raises(LeaderFailed) as caught:
        await reading
    assert caught.value.error is error


async def test_followers_hear_of_an_answer_that_breaks_off(flights):
    flight = flights.lead(NAME, "req_1")
    flight.begin(200, [], None)
    flight.feed(b"half")
    follower = flights.join(NAME)
    flight.end(broken=True)
    assert await follower.piece() == b"half"
    with pytest.raises(UpstreamBroken):
        await follower.piece()


async def test_a_landed_flight_cannot_be_joined_but_is_read_to_its_end(flights):
    flight = flights.lead(NAME, "req_1")
    flight.begin(200, [], None)
    flight.feed(b"all")
    follower = flights.join(NAME)
    flight.end(broken=False)
    flight.land()
    assert flights.join(NAME) is None
    assert await read_all(follower) == b"all"
    assert flights.bytes_kept == 0


async def test_a_flight_that_is_too_large_takes_no_more_followers_and_forgets(flights):
    flight = flights.lead(NAME, "req_1")
    flight.begin(200, [], None)
    quick, slow = flights.join(NAME), flights.join(NAME)
    block = bytes(FLIGHT_BYTES_MAX // 4)
    for _ in range(6):
        flight.feed(block)
        assert await quick.piece() == block
    assert flights.join(NAME) is None
    assert flight.body == b""
    with pytest.raises(UpstreamBroken, match="too slowly"):
        await slow.piece()
    assert flights.bytes_kept <= FLIGHT_BYTES_MAX + len(block)
    quick.finish()
    assert flights.bytes_kept == 0


async def test_all_flights_together_are_bounded(flights):
    flights.bytes_max = 1000
    first, second = flights.lead("a", "req_1"), flights.lead("b", "req_2")
    first.feed(bytes(900))
    second.feed(bytes(900))
    assert flights.bytes_kept <= 1000
    assert first.body
    assert flights.join("b") is None


async def test_a_leader_is_told_when_the_last_follower_leaves(flights):
    told = []
    flight = flights.lead(NAME, "req_1")
    flight.on_deserted = lambda: told.append(1)
    first, second = flights.join(NAME), flights.join(NAME)
    first.finish()
    assert not told
    assert flight.followed
    second.finish()
    assert told
    assert not flight.followed


async def test_nobody_joins_a_leader_whose_client_does_not_read(flights, monkeypatch):
    flight = flights.lead(NAME, "req_1")
    flight.writing_since = flights_module.time.monotonic()
    assert flights.join(NAME) is not None
    monkeypatch.setattr(flights_module, "STALLED_S", -1.0)
    assert flights.join(NAME) is None


async def test_a_cancelled_follower_does_not_disturb_the_others(flights):
    flight = flights.lead(NAME, "req_1")
    one, other = (asyncio.create_task(read_all(flights.join(NAME))) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    flight.begin(200, [], None)
    flight.feed(b"x")
    flight.end(broken=False)
    assert await other == b"x"
