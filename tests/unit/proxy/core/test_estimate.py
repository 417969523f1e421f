import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.estimate import tokens_of
from tests.estimates.corpus import CUTS_PERCENT, corpus, quantile

CORPUS = corpus()
KINDS = sorted({text.kind for text in CORPUS})


def errors(*kinds):
    return [abs(error) for text in CORPUS if text.kind in kinds for error in text.errors()]


def test_the_corpus_is_whole():
    assert len(CORPUS) >= 40
    assert all(text.ends[-1] == len(text.text) for text in CORPUS)
    assert len(errors(*KINDS)) == len(CORPUS) * len(CUTS_PERCENT)


def test_an_estimate_is_usually_off_by_less_than_5_percent():
    assert quantile(errors(*KINDS), 0.5) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_19_of_20_estimates_are_off_by_less_than_15_percent(kind):
    assert quantile(errors(kind), 0.5) < 0.05
    assert quantile(errors(kind), 0.95) < 0.15


def test_an_estimate_leans_to_neither_side():
    leanings = [error for text in CORPUS for error in text.errors()]
    assert abs(sum(leanings) / len(leanings)) < 0.02


@given(st.binary(max_size=2000))
def test_any_bytes_are_some_number_of_tokens(text):
    assert 0 <= tokens_of(text) <= 5 * len(text)


@given(st.text(max_size=200), st.text(max_size=200))
def test_more_text_is_hardly_ever_fewer_tokens(text, more):
    whole = tokens_of((text + more).encode())
    assert whole >= tokens_of(text.encode()) * 0.5


def test_nothing_is_no_tokens():
    assert tokens_of(b"") == 0
