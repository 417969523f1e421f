"""Where the network cuts an answer means nothing: any cutting gives the same body and headers."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.connection import Connection
from proxy.upstream import UpstreamBroken
from tests.integration.proxy.upstream.wire import OK, read

SHORT = st.binary(max_size=40)


class Transport(asyncio.Transport):
    """Takes what is written and remembers whether it was cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def writelines(self, data) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.aborted = True


async def received(pieces: list[bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool]:
    """Return status, headers, body, and whether the connection can be used again."""
    connection = Connection(read_seconds_max=9, ended=lambda _: None, lost=lambda _: None)
    connection.connection_made(Transport())
    answer = connection.begin(b"", b"", bodiless=False)
    for piece in pieces:
        connection.data_received(piece)
    await answer.begun()
    body = await read(answer)
    usable = connection.usable
    connection.connection_lost(None)
    return answer.status, answer.headers, body, usable


def cut(answer: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % len(answer) for place in at), len(answer)]
    return [answer[start:end] for start, end in itertools.pairwise(edges) if start < end]


def chunked(chunks: list[bytes]) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    return OK + b"transfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


@given(st.lists(SHORT), st.lists(st.integers(min_value=0, max_value=10_000)))
def test_any_cutting_of_a_chunked_answer_gives_the_same_body(chunks, at):
    status, headers, body, usable = asyncio.run(received(cut(chunked(chunks), at)))
    assert (status, body, usable) == (200, b"".join(chunks), True)
    assert headers == [(b"transfer-encoding", b"chunked")]


@given(SHORT, st.lists(st.integers(min_value=0, max_value=10_000)))
def test_any_cutting_of_an_answer_with_a_length_gives_the_same_body(content, at):
    head = b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK + b"content-length: %d\r\n\r\n"
    status, headers, body, usable = asyncio.run(received(cut(head % len(content) + content, at)))
    assert (status, body, usable) == (200, content, True)
    assert headers == [(b"content-length", b"%d" % len(content))]


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0, max_value=10_000)))
def test_rubbish_breaks_an_answer_and_never_the_client(rubbish, at):
    async def fed() -> None:
        connection = Connection(read_seconds_max=9, ended=lambda _: None, lost=lambda _: None)
        connection.connection_made(Transport())
        answer = connection.begin(b"", b"", bodiless=False)
        for piece in cut(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n~" + rubbish, at):
            if not connection._transport.is_closing():
                connection.data_received(piece)
        connection.connection_lost(None)
        await answer.begun()
        assert await answer.piece() == b"hi"
        with pytest.raises(UpstreamBroken):
            await answer.piece()

    asyncio.run(fed())
