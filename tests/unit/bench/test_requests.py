import orjson
import pytest

from bench.requests import body, requests


@pytest.mark.parametrize("size_bytes", [1_000, 50_000, 800_000])
def test_a_body_has_exactly_the_size_asked_for(size_bytes):
    assert len(body(size_bytes, streamed=False)) == size_bytes


def test_a_body_is_a_conversation_that_asks_for_a_stream():
    asked = orjson.loads(body(10_000, streamed=True))
    assert asked["stream"] is True
    assert {message["role"] for message in asked["messages"]} == {"user", "assistant"}


def test_no_two_requests_are_alike():
    next_request = requests(["sk-cc-a"], 1_000, "whole")
    assert b"".join(next_request()) != b"".join(next_request())


def test_keys_take_turns():
    next_request = requests(["sk-cc-a", "sk-cc-b"], 1_000, "whole")
    first, second = b"".join(next_request()), b"".join(next_request())
    assert b"x-api-key: sk-cc-a\r\n" in first
    assert b"x-api-key: sk-cc-b\r\n" in second
