"""Percentiles, and what a hop adds to them. Pure."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of `values` do not exceed.

    Nearest rank: the answer is one of the values, so a p99 of fifty is their largest.
    """
    if not values:
        raise ValueError("no values")
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(0, rank - 1)]


def added(through: Sequence[float], direct: Sequence[float], percent: float) -> float:
    """Return how much later the percentile comes `through` a hop than `direct`."""
    return percentile(through, percent) - percentile(direct, percent)
