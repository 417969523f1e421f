import pytest

from bench.http1 import AnswerReader, head

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}"
ANSWERS = [
    pytest.param(WHOLE, 200, id="by length"),
    pytest.param(CHUNKED, 200, id="in chunks"),
    pytest.param(REFUSED, 429, id="refused"),
]


@pytest.mark.parametrize(("answer", "status"), ANSWERS)
def test_an_answer_fed_whole_is_whole(answer, status):
    reader = AnswerReader()
    assert reader.feed(answer)
    assert reader.status == status


@pytest.mark.parametrize(("answer", "status"), ANSWERS)
def test_an_answer_fed_byte_by_byte_is_whole_at_its_last_byte(answer, status):
    reader = AnswerReader()
    fed = [reader.feed(answer[place : place + 1]) for place in range(len(answer))]
    assert fed == [False] * (len(answer) - 1) + [True]
    assert reader.status == status


def test_a_head_says_how_long_its_body_is():
    assert head("/v1/messages", {"host": "h"}, 7) == (
        b"POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 7\r\n\r\n"
    )
