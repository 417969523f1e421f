import pytest

from proxy.core.rest import ALL, DOUBTED_S, MOST_S, PROBE_S, SPENT_S, Rest, Rests
from proxy.core.selection import Standing
from proxy.core.upstream_error import Fault

A, HAIKU, OPUS = "1.aaaaaaaa", "claude-haiku-4-5", "claude-opus-4-6"
READY, RESTING, CLOSED = Standing
LEARNED = Rest(A, HAIKU, 0, 4, strict=False, failures=3, fault=Fault.OVERLOADED, reason="busy")


def fail(rests, fault, now, *, sent_at=None, model=HAIKU, **options):
    sent_at = now if sent_at is None else sent_at
    return rests.failed(A, model, fault, sent_at=sent_at, now=now, **options)


def stands(rests, now, model=HAIKU):
    return rests.standing(A, model, now)


def test_a_rest_that_upstream_asks_for_is_strict_and_as_long_as_it_says():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 0, retry_after_s=17)
    assert [stands(rests, now) for now in (0, 16.9, 17)] == [CLOSED, CLOSED, READY]
    assert rests.left_s(A, HAIKU, 5) == 12


def test_an_overload_without_a_time_is_a_guess_of_a_second():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 0)
    assert [stands(rests, now) for now in (0.9, 1)] == [RESTING, READY]


def test_an_overload_is_of_one_model():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 0, retry_after_s=17)
    assert stands(rests, 1, OPUS) is READY


@pytest.mark.parametrize("fault", [Fault.UNREACHED, Fault.BROKEN])
def test_a_third_failure_in_a_row_lets_the_whole_account_rest(fault):
    rests = Rests()
    assert [fail(rests, fault, now) for now in (0, 1)] == [None, None]
    assert fail(rests, fault, 2).model == ALL
    assert stands(rests, 2.5, OPUS) is RESTING


def test_an_answer_between_failures_starts_the_count_anew():
    rests = Rests()
    for now in range(0, 20, 2):
        fail(rests, Fault.FAILED, now)
        rests.answered(A, HAIKU, sent_at=now + 1)
    assert stands(rests, 20) is READY


def test_each_further_failure_doubles_the_rest_up_to_a_minute():
    rests, now, lengths = Rests(), 0.0, []
    for _failure in range(9):
        rest = fail(rests, Fault.OVERLOADED, now)
        lengths.append(rest.until - rest.since)
        now = rest.until
    assert lengths == [1, 2, 4, 8, 16, 32, MOST_S, MOST_S, MOST_S]


def test_what_was_under_way_when_a_rest_began_does_not_lengthen_it():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 10, sent_at=9)
    assert [fail(rests, Fault.OVERLOADED, 10.1, sent_at=9) for _other in range(63)] == [None] * 63
    assert rests.left_s(A, HAIKU, 10) == 1


def test_of_what_was_under_way_a_longer_wait_that_upstream_names_counts():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 10, sent_at=9, retry_after_s=5)
    fail(rests, Fault.OVERLOADED, 11, sent_at=9, retry_after_s=30)
    fail(rests, Fault.OVERLOADED, 12, sent_at=9, retry_after_s=1)
    assert rests.left_s(A, HAIKU, 12) == 29


def test_after_a_rest_one_goes_first():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 0)
    rests.sent(A, HAIKU, 1)
    assert [stands(rests, now) for now in (1, 1 + PROBE_S)] == [RESTING, READY]


def test_a_probe_that_is_answered_ends_it():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 0)
    rests.sent(A, HAIKU, 1)
    assert [rest.model for rest in rests.answered(A, HAIKU, sent_at=1)] == [HAIKU]
    assert stands(rests, 1) is READY


def test_an_answer_ends_a_guessed_rest_at_once():
    rests = Rests()
    fail(rests, Fault.SPENT, 0)
    assert rests.left_s(A, HAIKU, 0) == SPENT_S
    rests.answered(A, HAIKU, sent_at=1)
    assert stands(rests, 1) is READY


def test_an_answer_to_what_was_sent_before_the_rest_ends_nothing():
    rests = Rests()
    fail(rests, Fault.SPENT, 10, sent_at=9)
    assert rests.answered(A, HAIKU, sent_at=9) == []
    assert stands(rests, 11) is RESTING


def test_no_answer_ends_a_rest_that_upstream_asked_for():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 0, retry_after_s=17)
    assert rests.answered(A, HAIKU, sent_at=1) == []
    assert stands(rests, 2) is CLOSED


def test_a_refused_credential_is_only_doubted():
    rests = Rests()
    fail(rests, Fault.REFUSED, 0)
    assert stands(rests, 0, OPUS) is RESTING
    assert rests.left_s(A, OPUS, 0) == DOUBTED_S


def test_a_refused_account_stays_closed_whatever_it_does_then():
    rests = Rests()
    rests.refused(A, "suspended", 0, 60)
    fail(rests, Fault.REFUSED, 1)
    assert [stands(rests, now) for now in (59, 60)] == [CLOSED, READY]
    assert [rests.fault(A, now) for now in (59, 60)] == [Fault.REFUSED, None]


def test_a_rest_learned_from_elsewhere_counts_on():
    rests = Rests()
    rests.learn(LEARNED)
    assert stands(rests, 3) is RESTING
    fail(rests, Fault.OVERLOADED, 5)
    assert rests.left_s(A, HAIKU, 5) == 8


def test_a_shorter_rest_learned_from_elsewhere_changes_nothing():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 0, retry_after_s=17)
    rests.learn(LEARNED)
    assert stands(rests, 5) is CLOSED


def test_an_ended_rest_is_forgotten_with_its_failures():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 0)
    rests.end(A, HAIKU)
    assert (stands(rests, 0), list(rests.resting(0))) == (READY, [])
    assert rests.end(A, HAIKU) is None


def test_what_is_long_over_is_forgotten():
    rests = Rests()
    fail(rests, Fault.OVERLOADED, 0)
    rests.forget(10_000)
    assert fail(rests, Fault.OVERLOADED, 10_000).failures == 1
