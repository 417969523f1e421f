import pytest

from keys.core.limits import Reason, Unit
from proxy.core.denial import amount, rate_limited, resets_in
from tests.unit.proxy.core.verdicts import NOW_MS, a_denial, a_reading

HOUR_MS = 3_600_000
WAIT_MS = 2 * HOUR_MS + 900_000
CENT = 10_000_000


@pytest.mark.parametrize(
    ("denied", "message"),
    [
        pytest.param(
            a_denial(Reason.TOKENS, window_s=18_000, limit=5000, used=5012, retry_after_ms=WAIT_MS),
            "Token budget exceeded. Resets in 2h 15m."
            " Used 5,012 of 5,000 tokens in 5h by this key.",
            id="as documented",
        ),
        pytest.param(
            a_denial(Reason.TOKENS, used=10, held=95),
            "Token budget exceeded. Resets in 30s. Used 10 of 100 tokens in 1m by this key,"
            " 95 tokens more held by requests in flight.",
            id="held by others",
        ),
        pytest.param(
            a_denial(Reason.NANOUSD, scope="t3.0", limit=200 * CENT, used=201 * CENT),
            "USD budget exceeded. Resets in 30s. Used $2.01 of $2.00 in 1m by the team.",
            id="a team's dollars",
        ),
        pytest.param(
            a_denial(Reason.REQUESTS, limit=60),
            "Rate limit exceeded: this API key may make 60 requests a minute. Try again in 30s.",
            id="requests",
        ),
        pytest.param(
            a_denial(Reason.COUNTS, limit=3000),
            "Rate limit exceeded: this API key may make 3,000 count_tokens calls a minute."
            " Try again in 30s.",
            id="counts",
        ),
        pytest.param(
            a_denial(Reason.CONCURRENCY, limit=5, scope="t3.0", retry_after_ms=1000),
            "Too many requests in flight: this team may have 5 at once. Try again in 1s.",
            id="concurrency",
        ),
        pytest.param(
            a_denial(Reason.REQUESTS, limit=0, used=0, retry_after_ms=None),
            "Rate limit exceeded: this API key may make 0 requests a minute. It allows none.",
            id="nothing at all",
        ),
        pytest.param(
            a_denial(
                Reason.TOKENS, limit=5000, used=0, strict=True, wanted=9100, retry_after_ms=None
            ),
            "Token budget exceeded. This request could use up to 9,100 tokens, more than all that"
            " this key may use in 1m (5,000 tokens). Lower max_tokens.",
            id="can never fit",
        ),
    ],
)
def test_the_message_says_what_happened_and_when_to_come_back(denied, message):
    assert rate_limited(denied).message == message


@pytest.mark.parametrize(
    ("retry_after_ms", "header"),
    [
        pytest.param(0, 1, id="never nothing"),
        pytest.param(1, 1, id="rounded up"),
        pytest.param(1000, 1, id="exact"),
        pytest.param(1001, 2, id="rounded up again"),
        pytest.param(None, 60, id="never: a whole window"),
    ],
)
def test_the_wait_is_in_whole_seconds(retry_after_ms, header):
    denied = a_denial(Reason.TOKENS, retry_after_ms=retry_after_ms)
    assert rate_limited(denied).retry_after_s == header


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (1234567, Unit.TOKENS, "1,234,567 tokens"),
        (0, Unit.NANOUSD, "$0.00"),
        (4_200_000, Unit.NANOUSD, "$0.0042"),
        (1240 * CENT, Unit.NANOUSD, "$12.40"),
    ],
)
def test_amounts_are_read_by_people(number, unit, text):
    assert amount(number, unit) == text


@pytest.mark.parametrize(
    ("frees_at_ms", "text"),
    [
        pytest.param(None, "0m", id="nothing used"),
        pytest.param(NOW_MS + 1, "1s", id="in a moment"),
        pytest.param(NOW_MS + WAIT_MS, "2h 15m", id="as documented"),
        pytest.param(NOW_MS - 5, "0s", id="by now"),
    ],
)
def test_when_the_oldest_use_leaves(frees_at_ms, text):
    assert resets_in(a_reading(frees_at_ms=frees_at_ms), NOW_MS) == text


def test_what_no_wait_will_let_in_is_not_to_be_tried_again():
    denied = a_denial(Reason.REQUESTS, limit=0, used=0, retry_after_ms=None)
    assert (b"x-should-retry", b"false") in rate_limited(denied).headers()


def test_a_short_wait_may_be_waited():
    names = [name for name, _value in rate_limited(a_denial(Reason.REQUESTS)).headers()]
    assert names == [b"retry-after"]
