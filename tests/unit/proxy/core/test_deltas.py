import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.deltas import COUNTED_BYTES_MAX, KEPT_BYTES_MAX, DeltaText
from proxy.core.estimate import tokens_of

ENGLISH = "The tide comes in twice a day, and everyone has learned to plan around it. "


def a_delta(fields, separators=(",", ":"), padding=""):
    data = {"type": "content_block_delta", "index": 0, "delta": fields}
    written = json.dumps(data, separators=separators, ensure_ascii=False)
    return f"event: content_block_delta\ndata: {written[:-1]}{padding}}}".encode()


def text_delta(text, **layout):
    return a_delta({"type": "text_delta", "text": text}, **layout)


def tokens(*deltas):
    text = DeltaText()
    for delta in deltas:
        text.add(delta)
    return text.tokens


@pytest.mark.parametrize(
    ("kind", "field"),
    [("text_delta", "text"), ("thinking_delta", "thinking"), ("input_json_delta", "partial_json")],
)
@pytest.mark.parametrize(
    "layout",
    [
        pytest.param({}, id="compact"),
        pytest.param({"padding": "      "}, id="padded"),
        pytest.param({"separators": (", ", ": ")}, id="with blanks"),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ENGLISH, id="text"),
        pytest.param("", id="nothing"),
        pytest.param('say ":" and ": "}', id="what looks like an end"),
        pytest.param('{"text": "x", "thinking":"y"}', id="what looks like a head"),
        pytest.param("}}}}", id="braces"),
        pytest.param("a\\", id="a backslash at the end"),
        pytest.param('\\"', id="a backslash and a quote"),
        pytest.param("zażółć\n\tgęślą 🎉", id="other characters"),
    ],
)
def test_text_is_found_in_every_shape(kind, field, layout, text):
    delta = a_delta({"type": kind, field: text}, **layout)
    assert tokens(delta, delta) == pytest.approx(tokens_of((text * 2).encode()))


@given(st.text())
def test_what_a_text_says_does_not_move_its_ends(said):
    assert tokens(text_delta(said)) == pytest.approx(tokens_of(said.encode()))


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "signature_delta", "signature": "EqQBCkYIBRgCKkAx" * 20},
        {"type": "citations_delta", "citation": {"cited_text": ENGLISH, "title": "Tides"}},
    ],
    ids=["a signature", "a citation"],
)
def test_what_is_no_output_is_passed_over(fields):
    assert tokens(a_delta(fields)) == 0
    assert tokens(text_delta(ENGLISH), a_delta(fields)) == tokens(text_delta(ENGLISH))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"thinking": "", "estimated_tokens": 64}, 64, id="hidden"),
        pytest.param({"estimated_tokens": 64, "thinking": ""}, 64, id="told before the text"),
        pytest.param({"thinking": ENGLISH, "estimated_tokens": None}, None, id="shown"),
    ],
)
def test_hidden_thinking_counts_as_upstream_estimates_it(fields, expected):
    delta = a_delta({"type": "thinking_delta"} | fields)
    shown = tokens_of(ENGLISH.encode() * 2)
    assert tokens(delta, delta) == pytest.approx(shown if expected is None else 2 * expected)


def test_small_deltas_are_counted_like_one():
    pieces = [text_delta(ENGLISH[at : at + 3]) for at in range(0, len(ENGLISH), 3)]
    assert tokens(*pieces) == pytest.approx(tokens(text_delta(ENGLISH)))


def test_a_change_of_block_is_followed():
    thinking = a_delta({"type": "thinking_delta", "thinking": ENGLISH})
    second = text_delta(ENGLISH).replace(b'"index":0', b'"index":1')
    assert tokens(thinking, thinking, second, second) == pytest.approx(
        tokens_of((ENGLISH * 4).encode()), rel=0.01
    )


def test_no_more_than_a_piece_of_the_text_is_kept():
    text = DeltaText()
    for _delta in range(200):
        text.add(text_delta(ENGLISH))
        assert len(text._text) <= KEPT_BYTES_MAX
    assert text.tokens == pytest.approx(200 * tokens_of(ENGLISH.encode()), rel=0.02)


def test_of_a_huge_delta_a_part_stands_for_all():
    huge = ENGLISH * (10 * COUNTED_BYTES_MAX // len(ENGLISH))
    assert tokens(text_delta(huge)) == pytest.approx(tokens_of(huge.encode()), rel=0.01)
