import pytest

from usage.core.figures import change, compact, duration, percent


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1.0k"),
        (12_345, "12.3k"),
        (999_950, "1.00M"),
        (1_234_567, "1.23M"),
        (4_560_000_000, "4.56B"),
    ],
)
def test_counts_of_headlines(amount, text):
    assert compact(amount) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 s"),
        (45, "45 s"),
        (60, "1 m"),
        (90, "1 m 30 s"),
        (8_100, "2 h 15 m"),
        (3_600, "1 h"),
        (3_605, "1 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_spans_have_two_units(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(1, 0, "–"), (37, 100, "37 %"), (4, 1_000, "0.4 %"), (0, 5, "0 %")]
)
def test_shares(part, whole, text):
    assert percent(part, whole) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (112, 100, "+12 %"),
        (97, 100, "-3 %"),
        (5, 5, "no change"),
        (1, 0, "new"),
        (1_000_001, 1_000_000, "no change"),
        (0, 7, "-100 %"),
    ],
)
def test_changes(now, before, text):
    assert change(now, before) == text
