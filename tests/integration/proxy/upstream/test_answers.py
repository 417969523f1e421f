"""What the client makes of what upstream sends: every way to end a body, and every way not to."""

import asyncio

import pytest

from proxy import connection
from proxy.upstream import UpstreamBroken, UpstreamUnreachable
from tests.integration.proxy.upstream.wire import OK, WHOLE, ask, read, saying, serving

CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body", "length"),
    [
        pytest.param(WHOLE, b"hello", 5, id="by length"),
        pytest.param(
            CHUNKED + b"3\r\nhel\r\n2;x=1\r\nlo\r\n0\r\n\r\n", b"hello", None, id="chunked"
        ),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\na: b\r\n\r\n", b"hello", None, id="trailers"),
        pytest.param(OK + b"\r\nhello", b"hello", None, id="by closing"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", None, id="HTTP/1.0"),
        pytest.param(OK + b"content-length: 0\r\n\r\n", b"", 0, id="empty"),
        pytest.param(b"HTTP/1.1 204 No\r\n\r\n", b"", None, id="204"),
        pytest.param(b"HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n", b"", 9, id="304"),
        pytest.param(b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\n" + WHOLE, b"hello", 5, id="103 first"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + WHOLE, b"hello", 5, id="100 thrice"),
    ],
)
async def test_a_whole_answer_is_read_to_its_end(client, answer, body, length):
    async with serving(saying(answer, then_close=True)) as server:
        found = await ask(client, server)
        assert (await read(found), found.length) == (body, length)


async def test_the_answer_to_head_has_no_body(client):
    async with serving(saying(OK + b"content-length: 5\r\n\r\n")) as server:
        answer = await ask(client, server, b"", method="HEAD")
        assert (answer.length, await read(answer)) == (5, b"")


async def test_header_names_are_lower_case_and_repeated_ones_stay(client):
    head = OK + b"X-One: 1\r\nx-one: Two\r\ncontent-length: 0\r\n\r\n"
    async with serving(saying(head)) as server:
        answer = await ask(client, server)
        answer.finish()
    assert answer.headers[:2] == [(b"x-one", b"1"), (b"x-one", b"Two")]
    assert (answer.header(b"x-one"), answer.header(b"x-two")) == (b"1", b"")


async def test_headers_of_interim_answers_are_not_the_answer_s(client):
    async with serving(saying(b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\n" + WHOLE)) as server:
        answer = await ask(client, server)
        await read(answer)
    assert (answer.status, answer.header(b"link")) == (200, b"")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", id="both"),
        pytest.param(OK + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n", id="both, 2"),
        pytest.param(OK + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello", id="2 lengths"),
        pytest.param(OK + b"content-length: +5\r\n\r\nhello", id="signed length"),
        pytest.param(OK + b"transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello", id="coding"),
        pytest.param(OK + b"transfer-encoding: chunked, x\r\n\r\n5\r\nhello", id="chunked first"),
        pytest.param(
            OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", id="twice"
        ),
        pytest.param(OK + b"content-length : 5\r\n\r\nhello", id="space before the colon"),
        pytest.param(OK + b"x: a\r\n b\r\ncontent-length: 5\r\n\r\nhello", id="folded"),
        pytest.param(OK + b"x: a\rb\r\n\r\n", id="bare CR"),
        pytest.param(OK + b"x: a\0b\r\n\r\n", id="NUL"),
        pytest.param(b"HTTP/1.1 200 OK\n\nhello", id="bare LF"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", id="not HTTP"),
        pytest.param(b"HTTP/2.0 200 OK\r\n\r\n", id="HTTP/2"),
        pytest.param(b"HTTP/1.1 099 ?\r\n\r\n", id="status below 100"),
        pytest.param(
            b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", id="upgrade unasked"
        ),
        pytest.param(OK + b"content-type: x\r\n", id="broken off"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_a_head_that_makes_no_sense_is_no_answer(client, head):
    async with serving(saying(head, then_close=True)) as server:
        with pytest.raises(UpstreamUnreachable) as caught:
            await ask(client, server)
    assert (caught.value.sent, caught.value.timed_out) == (True, False)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"zz\r\n", id="size that is none"),
        pytest.param(b"5\r\nhello!\r\n", id="longer than its size"),
        pytest.param(b"fffffffffffffffff\r\n", id="size without bound"),
        pytest.param(b"5\r\nhel", id="broken off in a chunk"),
        pytest.param(b"", id="broken off between chunks"),
    ],
)
async def test_bad_chunks_break_an_answer_after_what_was_good(client, rest):
    good_was_read = asyncio.Event()

    async def play(wire, server):
        await wire.request()
        await wire.say(CHUNKED + b"4\r\ngood\r\n")
        await good_was_read.wait()
        await wire.say(rest)

    async with serving(play) as server:
        answer = await ask(client, server)
        assert await answer.piece() == b"good"
        good_was_read.set()
        with pytest.raises(UpstreamBroken):
            await read(answer)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(OK + b"x: " + b"a" * 70_000, id="header"),
        pytest.param(OK + b"x: y\r\n" * 20_000, id="headers"),
        pytest.param(b"HTTP/1.1 100 C\r\n\r\n" * 5_000, id="interim answers"),
    ],
)
async def test_a_head_without_an_end_is_not_waited_for(client, head):
    async with serving(saying(head)) as server:
        with pytest.raises(UpstreamUnreachable, match="65536 bytes of headers"):
            await ask(client, server)


@pytest.mark.parametrize("rest", [b"5;" + b"x" * 600_000, b"0\r\na: " + b"x" * 600_000])
async def test_a_chunk_without_an_end_is_not_waited_for(client, rest):
    async with serving(saying(CHUNKED + rest)) as server:
        with pytest.raises(UpstreamBroken, match="65536 bytes of headers"):
            await read(await ask(client, server))


async def test_an_answer_shorter_than_its_length_is_broken(client):
    async with serving(saying(OK + b"content-length: 5\r\n\r\nhell", then_close=True)) as server:
        answer = await ask(client, server)
        assert await answer.piece() == b"hell"
        with pytest.raises(UpstreamBroken, match="closed by upstream"):
            await read(answer)


async def test_silence_before_an_answer_times_out(client):
    async with serving(saying(b"")) as server:
        with pytest.raises(UpstreamUnreachable, match="silent for 1 s") as caught:
            await ask(client, server)
    assert (caught.value.sent, caught.value.timed_out) == (True, True)


async def test_silence_in_an_answer_breaks_it(client):
    async with serving(saying(OK + b"content-length: 5\r\n\r\nhel")) as server:
        answer = await ask(client, server)
        with pytest.raises(UpstreamBroken, match="silent"):
            await read(answer)


async def test_an_answer_that_says_something_again_and_again_is_not_silent(client):
    async def play(wire, server):
        await wire.request()
        await wire.say(OK + b"content-length: 6\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(0.3)
            await wire.say(b"x")

    async with serving(play) as server:
        assert await read(await ask(client, server)) == b"xxxxxx"


async def test_a_slow_reader_is_not_upstream_s_silence(client):
    async with serving(
        saying(OK + b"content-length: 9000000\r\n\r\n" + b"x" * 9_000_000)
    ) as server:
        answer = await ask(client, server)
        await asyncio.sleep(1.5)
        assert len(await read(answer)) == 9_000_000


async def test_a_reader_that_does_not_read_stops_the_sending(client):
    sent = 0

    async def play(wire, server):
        nonlocal sent
        await wire.request()
        await wire.say(OK + b"\r\n")
        for _ in range(1000):
            await wire.say(b"x" * 65536)
            sent += 65536

    async with serving(play) as server:
        answer = await ask(client, server)
        await asyncio.sleep(0.5)
        # The kernel's buffers are part of it, and up to 6 MB each way on Linux.
        assert sent < 32_000_000
        most = connection.READ_BYTES_MAX + 256 * 1024
        assert 0 < len(await answer.piece()) <= most
        answer.finish()


async def test_what_arrived_together_is_one_piece(client):
    chunks = b"".join(b"1\r\n%d\r\n" % number for number in range(10))
    async with serving(saying(CHUNKED + chunks + b"0\r\n\r\n")) as server:
        answer = await ask(client, server)
        assert await answer.piece() == b"0123456789"
        answer.finish()
