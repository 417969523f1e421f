import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.cache_entry import (
    ENTRY_BYTES_MAX,
    FORMAT,
    TTL_S_MAX,
    UNPACKED_BYTES_MAX,
    Entry,
    decode,
    encode,
    ttl_s,
)

HOUR = 3600


def an_entry(**fields):
    given = {
        "body": b'{"type":"message"}',
        "streamed": False,
        "filled_by": "req_1",
        "stored_at_ms": 1_700_000_000_000,
        "ttl_s": HOUR,
        "charged_tokens": 1250,
        "cost_nanousd": 2**60,
        "model_answered": "claude-haiku-4-5",
    }
    return Entry(**given | fields)


def noise(size):
    """Bytes that cannot be packed any smaller."""
    state, found = 1, bytearray()
    while len(found) < size:
        state = state * 6364136223846793005 % 2**64 + 1442695040888963407
        found += (state >> 16 & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(found[:size])


@given(st.binary(), st.booleans(), st.text(st.characters(exclude_categories=["Cs"]), max_size=99))
def test_what_was_stored_is_what_is_found(body, streamed, text):
    entry = an_entry(body=body, streamed=streamed, model_answered=text, filled_by=text)
    assert decode(encode(entry)) == entry


def test_answers_are_packed():
    assert len(encode(an_entry(body=b"so it is said again and again. " * 1000))) < 1000


def test_a_large_answer_is_stored():
    entry = an_entry(body=bytes(UNPACKED_BYTES_MAX - 1000))
    assert decode(encode(entry)) == entry


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(bytes(UNPACKED_BYTES_MAX), id="unpacked"),
        pytest.param(noise(ENTRY_BYTES_MAX), id="packed"),
    ],
)
def test_a_larger_one_is_not(body):
    assert encode(an_entry(body=body)) is None


@given(st.data())
def test_a_part_of_an_entry_is_none(data):
    stored = encode(an_entry())
    assert decode(stored[: data.draw(st.integers(0, len(stored) - 1))]) is None


@given(st.data())
def test_damage_never_raises_and_never_gives_another_entry(data):
    stored = bytearray(encode(an_entry()))
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= data.draw(st.integers(1, 255))
    found = decode(bytes(stored))
    assert found in (None, an_entry())


@given(st.binary())
def test_other_bytes_are_none(stored):
    assert decode(FORMAT + stored) is None
    assert decode(stored) is None


def test_another_format_is_none():
    assert decode(b"0" + encode(an_entry())[1:]) is None


def test_more_after_the_end_is_none():
    assert decode(encode(an_entry()) + b"x") is None


def test_a_bomb_is_not_unpacked():
    whole = zlib.decompress(encode(an_entry(body=b""))[len(FORMAT) :])
    largest, bomb = (whole + bytes(UNPACKED_BYTES_MAX - len(whole) + more) for more in (0, 1))
    assert decode(FORMAT + zlib.compress(largest)) is not None
    assert decode(FORMAT + zlib.compress(bomb)) is None


@pytest.mark.parametrize(
    ("base_s", "prompt_tokens", "expected"),
    [
        pytest.param(HOUR, 0, HOUR, id="nothing"),
        pytest.param(HOUR, 999, HOUR, id="short"),
        pytest.param(HOUR, 1_000, 2 * HOUR, id="a thousand"),
        pytest.param(HOUR, 4_000, 4 * HOUR, id="four thousand"),
        pytest.param(HOUR, 16_000, 8 * HOUR, id="sixteen thousand"),
        pytest.param(HOUR, 64_000, 16 * HOUR, id="sixty-four thousand"),
        pytest.param(HOUR, 10**9, 16 * HOUR, id="whatever"),
        pytest.param(2 * HOUR, 64_000, TTL_S_MAX, id="a day at most"),
        pytest.param(48 * HOUR, 64_000, 48 * HOUR, id="but not less than the operator said"),
        pytest.param(0, 64_000, 0, id="not at all"),
    ],
)
def test_longer_prompts_are_kept_longer(base_s, prompt_tokens, expected):
    assert ttl_s(base_s, prompt_tokens) == expected
