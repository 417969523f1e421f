import pytest

from bench.distribution import added, percentile


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        pytest.param([7.0], 50, 7.0, id="one value is every percentile"),
        pytest.param([3.0, 1.0, 2.0], 50, 2.0, id="the middle one of three, in any order"),
        pytest.param([1.0, 2.0, 3.0, 4.0], 50, 2.0, id="the lower one of an even number"),
        pytest.param(list(range(1, 101)), 99, 99, id="p99 of a hundred"),
        pytest.param(list(range(1, 51)), 99, 50, id="p99 of fifty is the largest"),
        pytest.param([1.0, 2.0], 0, 1.0, id="nothing is the smallest"),
    ],
)
def test_percentile_is_the_nearest_rank(values, percent, expected):
    assert percentile(values, percent) == expected


def test_no_values_have_no_percentile():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_hop_adds_the_difference_of_percentiles():
    assert added([5.0, 6.0, 9.0], [1.0, 1.0, 2.0], 50) == 5.0
