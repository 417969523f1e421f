"""The judge of a fleet's limits: what is promised passes, and nothing else."""

import pytest

from tests.fleet.limits import Blind, Kind, Limited, Use, judge


def limited(kind: Kind, limit: int) -> Limited:
    return Limited(1, kind, limit, window_s=60)


def requests(*admitted_at: float) -> list[Use]:
    return [Use(at, at + 0.1, 10) for at in admitted_at]


THREE_AT_ONCE = [Use(0, 10, 10), Use(2, 12, 10), Use(4, 14, 10)]
THIRD_IS_LATE = [Use(0, 10, 60), Use(0, 10, 60), Use(20, 21, 60)]


@pytest.mark.parametrize(
    ("kind", "limit", "uses"),
    [
        pytest.param(Kind.REQUESTS, 3, requests(0, 1, 2), id="as many requests as the limit"),
        pytest.param(Kind.REQUESTS, 2, requests(0, 1, 61.5), id="the first has left the window"),
        pytest.param(
            Kind.REQUESTS, 2, requests(0, 30, 57.5), id="who asked early may be admitted late"
        ),
        pytest.param(Kind.CONCURRENCY, 3, THREE_AT_ONCE, id="as many at once as the limit"),
        pytest.param(
            Kind.CONCURRENCY, 1, [Use(0, 5, 1), Use(2.5, 6, 1)], id="one ended as the next asked"
        ),
        pytest.param(Kind.STRICT, 30, THREE_AT_ONCE, id="as much as a strict budget"),
        pytest.param(Kind.SOFT, 10, THREE_AT_ONCE, id="all in flight before the first was charged"),
    ],
)
def test_what_keeps_its_limit_passes(kind, limit, uses):
    verdict = judge(limited(kind, limit), uses, [])
    assert (verdict.kept, verdict.broken) == (True, 0)


@pytest.mark.parametrize(
    ("kind", "limit", "uses", "broken"),
    [
        pytest.param(Kind.REQUESTS, 2, requests(0, 1, 2), 1, id="a request too many"),
        pytest.param(Kind.CONCURRENCY, 2, THREE_AT_ONCE, 1, id="one too many at once"),
        pytest.param(Kind.STRICT, 29, THREE_AT_ONCE, 1, id="a token above a strict budget"),
        pytest.param(Kind.SOFT, 100, THIRD_IS_LATE, 20, id="let in when a soft budget was used up"),
    ],
)
def test_what_breaks_its_limit_does_not(kind, limit, uses, broken):
    verdict = judge(limited(kind, limit), uses, [])
    assert (verdict.kept, verdict.broken) == (False, broken)


def test_a_failover_may_forget_what_was_there_then():
    verdict = judge(limited(Kind.REQUESTS, 2), requests(0, 1, 2), [Blind(0.5, 1.5)])
    assert (verdict.kept, verdict.excess, verdict.allowed) == (True, 1, 1)


def test_a_failover_may_not_forget_more_than_that():
    verdict = judge(limited(Kind.REQUESTS, 2), requests(0, 1, 2, 3, 4), [Blind(0.5, 1.5)])
    assert (verdict.kept, verdict.excess, verdict.allowed) == (False, 3, 1)


def test_a_failover_long_ago_excuses_nothing():
    verdict = judge(limited(Kind.REQUESTS, 2), requests(100, 101, 102), [Blind(10, 20)])
    assert (verdict.kept, verdict.broken) == (False, 1)
