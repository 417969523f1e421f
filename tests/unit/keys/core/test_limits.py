import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.core.limits import (
    BUCKETS_MAX,
    WAIT_FOR_OTHERS_MS,
    Concurrency,
    Denied,
    Limit,
    Obstacle,
    Reading,
    Reason,
    Unit,
    bucket_s,
    buckets,
    deny,
    encode_question,
    leaves_at_ms,
    retry_at_ms,
)

NOW_MS = 1_800_000_000_000
DAY_S = 86_400


def a_limit(**fields) -> Limit:
    """100 tokens in a minute, in buckets of a second."""
    return Limit(**{"scope": "k1.0", "unit": Unit.TOKENS, "window_s": 60, "limit": 100} | fields)


def an_obstacle(limit=None, *, buckets=(), held=0, wanted=1, start_ms=None) -> Obstacle:
    """A limit that said no; its buckets are (seconds ago, amount)."""
    limit = limit or a_limit()
    used = sum(amount for _ago, amount in buckets)
    current = NOW_MS // (limit.bucket_s * 1000)
    frees_at_ms = start_ms + limit.window_s * 1000 if start_ms else None
    indices = tuple((current - ago, amount) for ago, amount in buckets)
    return Obstacle(Reading(limit, used, held, frees_at_ms), indices, wanted)


# --- Windows and buckets ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window_s", "expected_s", "expected_buckets"),
    [
        pytest.param(1, 1, 1, id="a second"),
        pytest.param(60, 1, 60, id="a minute in seconds"),
        pytest.param(300, 1, 300, id="the most buckets"),
        pytest.param(301, 2, 151, id="rounded up to whole buckets"),
        pytest.param(18_000, 60, 300, id="five hours in minutes"),
        pytest.param(30 * DAY_S, 8_640, 300, id="thirty days"),
    ],
)
def test_a_window_is_cut_into_buckets(window_s, expected_s, expected_buckets):
    limit = a_limit(window_s=window_s)
    assert (limit.bucket_s, buckets(limit)) == (expected_s, expected_buckets)


@given(st.integers(1, 400 * DAY_S))
def test_buckets_cover_the_window_and_are_few(window_s):
    limit = a_limit(window_s=window_s)
    assert buckets(limit) <= BUCKETS_MAX
    assert window_s <= buckets(limit) * bucket_s(window_s) < window_s + bucket_s(window_s)


@given(st.integers(1, 400 * DAY_S), st.integers(0, 2**42))
def test_a_use_leaves_no_sooner_than_its_window_and_less_than_two_buckets_late(window_s, used_ms):
    limit = a_limit(window_s=window_s)
    bucket_ms = limit.bucket_s * 1000
    stays_ms = leaves_at_ms(limit, used_ms // bucket_ms) - used_ms
    assert window_s * 1000 < stays_ms < window_s * 1000 + 2 * bucket_ms


@given(st.integers(1, 300), st.integers(0, 2**42))
def test_a_use_leaves_at_most_one_bucket_late_when_the_window_is_whole_buckets(window_s, used_ms):
    stays_ms = leaves_at_ms(a_limit(window_s=window_s), used_ms // 1000) - used_ms
    assert window_s * 1000 < stays_ms <= (window_s + 1) * 1000


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        pytest.param({}, "k1.0:tok:60", id="rolling"),
        pytest.param({"anchored": True}, "k1.0:tok:60:a", id="anchored"),
        pytest.param({"unit": Unit.NANOUSD, "scope": "t3.7"}, "t3.7:usd:60", id="of a team"),
    ],
)
def test_windows_have_names(fields, name):
    assert a_limit(**fields).window_name == name


def test_the_question_says_all_that_the_script_must_know():
    limits = (a_limit(limit=7, strict=True, anchored=True), a_limit(window_s=18_000))
    places = (Concurrency("k1.0", None), Concurrency("t3.0", 0))
    assert orjson.loads(encode_question(limits, places)) == {
        "limits": [
            ["k1.0:tok:60:a", "tok", 1_000, 60, 60_000, 7, 1, "k1.0"],
            ["k1.0:tok:18000", "tok", 60_000, 300, 0, 100, 0, "k1.0"],
        ],
        "scopes": [["k1.0", -1], ["t3.0", 0]],
    }


@pytest.mark.parametrize(
    ("used", "held", "remaining"),
    [(0, 0, 100), (60, 30, 10), (60, 40, 0), (160, 0, 0)],
)
def test_what_remains_is_never_below_nothing(used, held, remaining):
    assert Reading(a_limit(), used, held, None).remaining == remaining


# --- When to come back --------------------------------------------------------------------------

STRICT = a_limit(strict=True)
REQUESTS = a_limit(unit=Unit.REQUESTS, limit=3)


@pytest.mark.parametrize(
    ("obstacle", "expected_s"),
    [
        # NOW_MS begins a second; a bucket of 10 s ago leaves in 51 s: 60 - 10, and its own second.
        pytest.param(an_obstacle(buckets=[(10, 100)]), 51, id="the only use"),
        pytest.param(an_obstacle(buckets=[(10, 100), (59, 1)]), 51, id="100 left is not less"),
        pytest.param(an_obstacle(buckets=[(10, 99), (59, 1)]), 2, id="99 left is less"),
        pytest.param(an_obstacle(buckets=[(3, 50), (2, 60), (1, 90)]), 59, id="several must go"),
        pytest.param(an_obstacle(buckets=[(1, 90), (3, 50), (2, 60)]), 59, id="in any order"),
        pytest.param(
            an_obstacle(STRICT, buckets=[(9, 30), (5, 50)], wanted=50), 52, id="strict: 50 + 50"
        ),
        pytest.param(
            an_obstacle(STRICT, buckets=[(9, 30), (5, 50)], wanted=51), 56, id="strict: one more"
        ),
        pytest.param(
            an_obstacle(REQUESTS, buckets=[(20, 1), (10, 2)]), 41, id="the oldest request"
        ),
    ],
)
def test_the_way_is_free_when_enough_has_left(obstacle, expected_s):
    assert retry_at_ms(obstacle, NOW_MS) == NOW_MS + expected_s * 1000


def test_an_anchored_window_frees_everything_at_its_end():
    limit = a_limit(anchored=True)
    reading = Reading(limit, used=100, held=0, frees_at_ms=NOW_MS + 12_345)
    assert retry_at_ms(Obstacle(reading, (), 1), NOW_MS) == NOW_MS + 12_345


def test_behind_reservations_alone_the_wait_is_short():
    obstacle = an_obstacle(buckets=[(10, 40)], held=60)
    assert retry_at_ms(obstacle, NOW_MS) == NOW_MS + WAIT_FOR_OTHERS_MS


@pytest.mark.parametrize(
    "obstacle",
    [
        pytest.param(an_obstacle(a_limit(limit=0)), id="nothing is nothing"),
        pytest.param(an_obstacle(a_limit(unit=Unit.REQUESTS, limit=0)), id="no requests"),
        pytest.param(an_obstacle(STRICT, wanted=101), id="more than the limit itself"),
    ],
)
def test_what_can_never_pass_has_no_instant(obstacle):
    assert retry_at_ms(obstacle, NOW_MS) is None


# --- The denial ---------------------------------------------------------------------------------


def a_denial(obstacles=(), full=()) -> Denied:
    return deny(NOW_MS, (), (), tuple(obstacles), tuple(full))


def test_the_longest_wait_speaks_for_all():
    soon = an_obstacle(buckets=[(50, 100)])
    late = an_obstacle(a_limit(unit=Unit.NANOUSD), buckets=[(5, 100)])
    denied = a_denial([soon, late], [Concurrency("k1.0", 5)])
    assert (denied.reason, denied.retry_after_ms) == (Reason.NANOUSD, 56_000)


def test_never_is_the_longest_wait():
    denied = a_denial([an_obstacle(buckets=[(5, 100)])], [Concurrency("t3.0", 0)])
    assert (denied.reason, denied.scope, denied.retry_after_ms) == (
        Reason.CONCURRENCY,
        "t3.0",
        None,
    )


def test_a_full_house_may_have_room_in_a_moment():
    denied = a_denial(full=[Concurrency("k1.0", 5)])
    assert (denied.reason, denied.limit, denied.retry_after_ms) == (
        Reason.CONCURRENCY,
        5,
        WAIT_FOR_OTHERS_MS,
    )


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (Unit.REQUESTS, Reason.REQUESTS),
        (Unit.TOKENS, Reason.TOKENS),
        (Unit.NANOUSD, Reason.NANOUSD),
        (Unit.COUNTS, Reason.COUNTS),
    ],
)
def test_every_unit_has_its_reason(unit, reason):
    obstacle = an_obstacle(a_limit(unit=unit), buckets=[(1, 100)], wanted=9)
    denied = a_denial([obstacle])
    assert (denied.reason, denied.scope, denied.limit, denied.wanted) == (reason, "k1.0", 100, 9)
