import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.retry import RetryBudget, repeatable, wait_s
from proxy.core.upstream_error import Fault

FEW, PART, WINDOW_S = RetryBudget.FEW, RetryBudget.PART, RetryBudget.WINDOW_S


def a_budget(exchanges, at=0.0):
    budget = RetryBudget()
    for _exchange in range(exchanges):
        budget.note(at)
    return budget


def taken(budget, now, wanted=10_000):
    return sum(budget.take(now) for _retry in range(wanted))


@pytest.mark.parametrize(
    ("exchanges", "retries"),
    [
        pytest.param(0, FEW, id="a few always"),
        pytest.param(FEW * PART, FEW, id="up to here the few are more"),
        pytest.param(10_000, 2000, id="a fifth of many"),
    ],
)
def test_retries_are_bounded(exchanges, retries):
    assert taken(a_budget(exchanges), now=1) == retries


def test_retries_count_for_ten_seconds():
    budget = a_budget(0)
    taken(budget, now=0)
    assert taken(budget, now=WINDOW_S - 0.1) == 0
    assert taken(budget, now=WINDOW_S) == FEW


def test_exchanges_count_for_ten_seconds():
    assert taken(a_budget(10_000), now=WINDOW_S) == FEW


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=300))
def test_no_window_ever_sees_more(steps):
    budget, now, seconds = RetryBudget(), 0.0, []
    for pause_s, is_retry in steps:
        now += pause_s
        if not is_retry:
            budget.note(now)
        elif budget.take(now):
            seconds.append(int(now))
    assert all(
        sum(second <= other < second + WINDOW_S for other in seconds) <= FEW for second in seconds
    )


@given(st.integers(1, 9), st.booleans(), st.floats(0, 1))
def test_a_wait_is_short_and_never_nothing(attempts, same, chance):
    assert 0.02 < wait_s(attempts, same, chance) <= 1


def test_waits_grow_and_spread():
    assert wait_s(2, False, 0.5) == 2 * wait_s(1, False, 0.5)
    assert wait_s(1, False, 1.0) == 2 * wait_s(1, False, 0.0)
    assert wait_s(1, True, 0.5) > wait_s(1, False, 0.5)


def test_an_account_is_asked_again_only_if_it_did_nothing_with_the_first():
    assert {fault for fault in Fault if repeatable(fault)} == {Fault.UNREACHED, Fault.OVERLOADED}
