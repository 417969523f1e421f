"""Histograms of milliseconds with fixed bounds: any two can be added, bucket by bucket.

Bounds grow by the fourth root of two, so whole milliseconds in one bucket differ by less than that
factor, and their geometric mean is off from any of them by at most its square root.
"""

import math
from collections.abc import Mapping

# To 2^22 ms, which is 70 minutes: no exchange lasts so long. Longer ones count as that long.
_DOUBLINGS = 22
BOUNDS: tuple[int, ...] = tuple(sorted({round(2 ** (k / 4)) for k in range(4 * _DOUBLINGS + 1)}))


def bucket_of(milliseconds: int) -> int:
    """Return how many bounds are not above `milliseconds`, as `width_bucket` of Postgres does."""
    return sum(bound <= milliseconds for bound in BOUNDS)


def middle_ms(bucket: int) -> float:
    """Return the geometric mean of the shortest and the longest that the bucket holds."""
    if bucket == 0:
        return 0.0
    lowest = BOUNDS[bucket - 1]
    return math.sqrt(lowest * (BOUNDS[bucket] - 1)) if bucket < len(BOUNDS) else float(lowest)


# How far a percentile can be off, up or down: 10 %.
ERROR_PERCENT = 10.0


def percentile_ms(counts: Mapping[int, int], percent: int) -> float | None:
    """Return below what `percent` of the counted lie, to `ERROR_PERCENT`; `None` of nothing.

    That is the nearest rank: of n values in order, the one numbered ceil(n * percent / 100).
    """
    left = -(-sum(counts.values()) * percent // 100)
    for bucket in sorted(counts):
        left -= counts[bucket]
        if left <= 0 and counts[bucket]:
            return middle_ms(bucket)
    return None
