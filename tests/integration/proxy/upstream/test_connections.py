"""Which connection a request takes: kept ones, new ones, none; and that no request goes twice."""

import asyncio

import pytest

from proxy import connection
from proxy.upstream import Upstream, UpstreamClient, UpstreamUnreachable
from tests.integration.proxy.upstream.wire import OK, WHOLE, ask, read, saying, serving


async def settled(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_connection_is_kept_for_the_next_request(client):
    async with serving(saying(WHOLE)) as server:
        for _ in range(3):
            assert await read(await ask(client, server)) == b"hello"
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_requests_at_once_have_a_connection_each(client):
    async with serving(saying(WHOLE)) as server:
        answers = await asyncio.gather(*[ask(client, server) for _ in range(4)])
        bodies = await asyncio.gather(*[read(answer) for answer in answers])
    assert (server.connections, bodies) == (4, [b"hello"] * 4)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello", id="says close"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", id="HTTP/1.0"),
        pytest.param(WHOLE + b"X", id="a byte too many"),
        pytest.param(WHOLE + WHOLE, id="two answers"),
        pytest.param(WHOLE + b"HTTP/1.1 200 OK\r\nx: ", id="the beginning of another answer"),
        pytest.param(b"HTTP/1.1 204 No\r\n\r\nbody", id="a body where none belongs"),
    ],
)
async def test_a_connection_is_not_used_again_after(client, answer):
    async with serving(saying(answer)) as server:
        for _ in range(2):
            await read(await ask(client, server))
    assert server.connections == 2


async def test_a_connection_that_says_something_unasked_is_closed(client):
    async def play(wire, server):
        await wire.request()
        await wire.say(WHOLE)
        await asyncio.sleep(0.1)
        await wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        await wire.closed()

    async with serving(play) as server:
        await read(await ask(client, server))
        await settled(lambda: server.open == 0)
        assert await read(await ask(client, server)) == b"hello"


async def test_a_connection_that_upstream_closed_is_not_used(client):
    async with serving(saying(WHOLE, then_close=True)) as server:
        await read(await ask(client, server))
        await asyncio.sleep(0.1)
        assert await read(await ask(client, server)) == b"hello"


async def test_an_unfinished_answer_cuts_its_connection_off(client):
    async with serving(saying(OK + b"content-length: 9\r\n\r\nhello")) as server:
        answer = await ask(client, server)
        assert await answer.piece() == b"hello"
        answer.finish()
        await settled(lambda: server.open == 0)


async def test_an_unread_answer_cuts_its_connection_off(client):
    async with serving(saying(WHOLE)) as server:
        answer = await ask(client, server)
        await asyncio.sleep(0.05)
        answer.finish()
        await settled(lambda: server.open == 0)


async def test_finishing_twice_is_harmless(client):
    async with serving(saying(WHOLE)) as server:
        first = await ask(client, server)
        await read(first)
        second = await ask(client, server)
        first.finish()
        assert await read(second) == b"hello"


async def test_idle_connections_are_closed_after_a_while(client, monkeypatch):
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 0.2)
    async with serving(saying(WHOLE)) as server:
        await read(await ask(client, server))
        await settled(lambda: server.open == 0)


async def test_a_request_in_a_dying_kept_connection_is_not_sent_again(client):
    async def play(wire, server):
        server.requests.append(await wire.request())
        await wire.say(WHOLE)
        server.requests.append(await wire.request())

    async with serving(play) as server:
        await read(await ask(client, server))
        with pytest.raises(UpstreamUnreachable) as caught:
            await ask(client, server)
    assert (caught.value.sent, len(server.requests)) == (True, 2)


async def test_no_listener_is_unreachable_and_nothing_was_sent(client):
    async with serving(saying(WHOLE)) as server:
        pass
    with pytest.raises(UpstreamUnreachable) as caught:
        await ask(client, server)
    assert (caught.value.sent, caught.value.timed_out) == (False, False)


@pytest.mark.parametrize("url", ["ftp://a", "http://", "http://a:x", "http://\xff.\xff" + "a" * 99])
async def test_an_address_that_is_none_is_unreachable(client, url):
    with pytest.raises(UpstreamUnreachable) as caught:
        await client.send(Upstream("x", url, ()), "POST", "/", b"", [], b"")
    assert not caught.value.sent


async def test_a_credential_with_a_line_break_is_never_sent(client):
    async with serving(saying(WHOLE)) as server:
        with pytest.raises(UpstreamUnreachable) as caught:
            await ask(client, server, headers=[(b"x-api-key", b"a\r\nb: c")])
    assert (caught.value.sent, server.connections) == (False, 0)


async def test_a_handshake_that_takes_too_long_is_unreachable(client):
    async def play(wire, server):
        await wire.closed()

    async with serving(play) as server:
        address = Upstream("x", server.upstream.base_url.replace("http:", "https:"), ())
        with pytest.raises(UpstreamUnreachable) as caught:
            await client.send(address, "POST", "/", b"", [], b"")
    assert (caught.value.sent, caught.value.timed_out) == (False, True)


async def test_who_finds_all_connections_in_use_waits_for_one(client):
    async with serving(saying(WHOLE)) as server:
        answers = [await ask(client, server) for _ in range(4)]
        fifth = asyncio.create_task(ask(client, server))
        await asyncio.sleep(0.05)
        assert not fifth.done()
        await read(answers[0])
        assert await read(await fifth) == b"hello"
        for answer in answers:
            answer.finish()
    assert server.connections == 4


async def test_waiting_for_a_connection_has_an_end(client):
    async with serving(saying(WHOLE)) as server:
        answers = [await ask(client, server) for _ in range(4)]
        with pytest.raises(UpstreamUnreachable, match="in use") as caught:
            await ask(client, server)
        for answer in answers:
            answer.finish()
        assert (caught.value.sent, caught.value.timed_out) == (False, True)
        assert await read(await ask(client, server)) == b"hello"


async def test_only_so_many_wait_for_a_connection(client):
    async with serving(saying(WHOLE)) as server:
        answers = [await ask(client, server) for _ in range(4)]
        waiting = [asyncio.create_task(ask(client, server)) for _ in range(4)]
        await asyncio.sleep(0.05)
        with pytest.raises(UpstreamUnreachable) as caught:
            await ask(client, server)
        assert not caught.value.timed_out
        for answer in answers:
            answer.finish()
        for each in waiting:
            assert await read(await each) == b"hello"


async def test_a_turn_that_comes_as_its_waiter_gives_up_goes_to_the_next(client):
    async with serving(saying(WHOLE)) as server:
        answers = [await ask(client, server) for _ in range(4)]
        first, second = (asyncio.create_task(ask(client, server)) for _ in range(2))
        await asyncio.sleep(0.05)
        await answers[0].piece()
        await answers[0].piece()
        answers[0].finish()
        first.cancel()
        assert await read(await second) == b"hello"
        for answer in answers:
            answer.finish()


async def test_idle_connections_elsewhere_make_room(client):
    async with serving(saying(WHOLE)) as one, serving(saying(WHOLE)) as other:
        answers = [await ask(client, one) for _ in range(4)]
        for answer in answers:
            await read(answer)
        assert one.open == 4
        await read(await ask(client, other))
        await settled(lambda: one.open + other.open == 4)


async def test_callers_that_give_up_leave_nothing_behind(client):
    async with serving(saying(b"")) as server:
        asking = [asyncio.create_task(ask(client, server)) for _ in range(8)]
        await settled(lambda: len(server.requests) == 4)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await settled(lambda: server.open == 0)
    async with serving(saying(WHOLE)) as server:
        answers = [await ask(client, server) for _ in range(4)]
        for answer in answers:
            await read(answer)


@pytest.mark.parametrize("turns", range(8))
async def test_a_caller_may_give_up_at_any_moment(client, turns):
    async with serving(saying(WHOLE)) as server:
        for _ in range(20):
            asking = asyncio.create_task(ask(client, server))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            for answer in await asyncio.gather(asking, return_exceptions=True):
                if not isinstance(answer, BaseException):
                    answer.finish()
        assert await read(await ask(client, server)) == b"hello"


async def test_closing_the_client_ends_what_is_under_way(client):
    async with serving(saying(b"")) as server:
        asking = asyncio.create_task(ask(client, server))
        await settled(lambda: len(server.requests) == 1)
        await client.close()
        with pytest.raises(UpstreamUnreachable):
            await asking


async def test_a_thousand_connections_at_once():
    client = UpstreamClient(connections_max=1000, connect_seconds_max=30, read_seconds_max=30)
    async with serving(saying(WHOLE)) as server:
        for _ in range(2):
            answers = await asyncio.gather(*[ask(client, server) for _ in range(1000)])
            bodies = await asyncio.gather(*[read(answer) for answer in answers])
            assert bodies == [b"hello"] * 1000
        assert server.connections == 1000
        await client.close()
        await settled(lambda: server.open == 0)
