import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.counting import REMEMBERED_CHARS_MIN, STRETCH_CHARS, count, pieces
from simulator.filler import VOCABULARY


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("Hello there", ["Hello", " there"], id="words take the blank before them"),
        pytest.param("internationally", ["intern", "ationa", "lly"], id="six letters at most"),
        pytest.param("in 2026", ["in", " 202", "6"], id="three digits"),
        pytest.param("a);\n\n  b", ["a", ");", "\n\n  ", "b"], id="punctuation and blanks"),
        pytest.param("Привет", ["Пр", "ив", "ет"], id="two letters of Cyrillic"),
        pytest.param("你好🙂", ["你", "好", "🙂"], id="one character of the rest"),
    ],
)
def test_pieces(text, expected):
    assert pieces(text) == expected


@given(st.text())
def test_pieces_joined_are_the_text(text):
    assert "".join(pieces(text)) == text


@given(st.text(), st.integers(0, 20))
def test_an_answer_that_is_cut_counts_the_same_as_a_prompt(text, tokens):
    shown = pieces(text)[:tokens]
    assert pieces("".join(shown)) == shown


@pytest.mark.parametrize("length", [REMEMBERED_CHARS_MIN - 1, REMEMBERED_CHARS_MIN, 9000])
def test_long_texts_count_like_short_ones(length):
    text = ("Hello, " * length)[:length]
    assert count(text) == len(pieces(text)) == count(text)


def test_very_long_texts_are_counted_in_stretches():
    assert count("a " * STRETCH_CHARS) == pytest.approx(STRETCH_CHARS, abs=3)


def test_every_word_of_the_filler_is_one_token():
    assert pieces("".join(VOCABULARY)) == list(VOCABULARY)
