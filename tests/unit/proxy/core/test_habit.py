import pytest

from proxy.core.habit import TOKENS_MAX, Habit, input_tokens_max, learn, wanted
from proxy.core.request import MessagesRequest
from usage.core.price import Price
from usage.core.tokens import TokenUsage

PRICE = Price("claude-haiku-4-5", 0, 0, 1_000, 5_000, 1_250, 2_000, 100, 10_000_000)


def a_request(**fields):
    given = {"model": "claude-haiku-4-5", "streamed": True, "max_tokens": 500, "body_bytes": 4000}
    return MessagesRequest(**given | fields)


def an_answer(output_tokens=100, input_tokens=1000, **counts):
    return TokenUsage(input_tokens=input_tokens, output_tokens=output_tokens, **counts)


def test_a_first_request_holds_a_quarter_of_its_bytes_and_its_max_tokens():
    hold = wanted(Habit(), a_request(), PRICE, price_most=PRICE, input_tokens_max=5000)
    assert (hold.input_tokens, hold.tokens) == (1001, 1001 + 500)
    # In nano-dollars: 1,000 an input token, 5,000 an output token.
    assert (hold.input_nanousd, hold.nanousd) == (1001 * 1000, 1001 * 1000 + 500 * 5000)


def test_a_strict_hold_is_the_most_that_can_be_used():
    hold = wanted(Habit(), a_request(), PRICE, price_most=PRICE, input_tokens_max=5000)
    assert hold.tokens_strict == 5000 + 500
    # The dearest way in is a cache written for an hour, at 2,000.
    assert hold.nanousd_strict == 5000 * 2000 + 500 * 5000


def test_a_strict_hold_is_priced_as_the_longest_prompt_it_may_be():
    longer = Price("claude-haiku-4-5", 0, 100, 3_000, 9_000, 3_000, 4_000, 300, 0)
    hold = wanted(Habit(), a_request(), PRICE, price_most=longer, input_tokens_max=5000)
    assert hold.nanousd_strict == 5000 * 4000 + 500 * 9000


@pytest.mark.parametrize(
    ("max_tokens", "held"),
    [
        pytest.param(50, 50, id="max_tokens below the usual"),
        pytest.param(64_000, 121, id="the usual and twice its spread"),
    ],
)
def test_no_more_is_held_than_answers_usually_take(max_tokens, held):
    habit = Habit(output_tokens=100, output_spread_tokens=10)
    hold = wanted(
        habit, a_request(max_tokens=max_tokens), PRICE, price_most=PRICE, input_tokens_max=5000
    )
    assert hold.tokens - hold.input_tokens == held


def test_an_endless_max_tokens_stays_countable():
    hold = wanted(
        Habit(), a_request(max_tokens=2**64 - 1), PRICE, price_most=PRICE, input_tokens_max=10**6
    )
    assert hold.tokens_strict == TOKENS_MAX + 10**6
    assert hold.nanousd_strict < 2**53


@pytest.mark.parametrize(
    ("body_bytes", "bounded", "most"),
    [
        pytest.param(1000, True, 2024, id="a token a byte, and what wraps it"),
        pytest.param(10**7, True, 200_000, id="never more than fits"),
        pytest.param(1000, False, 200_000, id="a picture can be anything"),
    ],
)
def test_the_most_input_a_body_can_come_to(body_bytes, bounded, most):
    assert input_tokens_max(body_bytes, bounded, 200_000) == most


def test_a_habit_is_learned_within_two_dozen_answers():
    habit = Habit()
    for _call in range(24):
        habit = learn(habit, a_request(body_bytes=2000), an_answer(100, 1000), 50, 10)
    assert habit.body_bytes_per_token == pytest.approx(2, rel=0.05)
    assert habit.output_tokens == pytest.approx(100, rel=0.25)
    assert habit.output_ratio == pytest.approx(2, rel=0.05)


def test_cached_input_weighs_a_tenth_in_the_ratio():
    usage = an_answer(0, 100, cache_read_input_tokens=9000)
    habit = learn(Habit(body_bytes_per_token=4.0), a_request(body_bytes=4000), usage, 0, 10)
    # 4,000 bytes made 100 + 900 tokens: four bytes a token, as before.
    assert habit.body_bytes_per_token == 4.0


@pytest.mark.parametrize(
    ("output_tokens", "estimate"),
    [
        pytest.param(49, 60.0, id="a short answer"),
        pytest.param(500, 49.0, id="little of it was shown"),
        pytest.param(500, 0.0, id="one not streamed"),
    ],
)
def test_some_answers_teach_nothing_about_estimates(output_tokens, estimate):
    habit = learn(Habit(), a_request(), an_answer(output_tokens), estimate, 10)
    assert habit.output_ratio == Habit().output_ratio


@pytest.mark.parametrize(("output_tokens", "most"), [(10**6, 2.1), (50, 1.0)])
def test_one_odd_answer_does_not_upset_the_next_estimate(output_tokens, most):
    habit = learn(Habit(), a_request(), an_answer(output_tokens), 1000.0, 10)
    assert 0.9 <= habit.output_ratio <= most


@pytest.mark.parametrize(
    ("body_bytes", "input_tokens", "least", "most"),
    [
        pytest.param(10**7, 1, 4, 20, id="a huge body of nothing"),
        pytest.param(10, 10**6, 3, 4, id="a tiny body of much"),
    ],
)
def test_one_odd_call_does_not_upset_the_next(body_bytes, input_tokens, least, most):
    usage = an_answer(0, input_tokens)
    habit = learn(Habit(), a_request(body_bytes=body_bytes), usage, 0, 10)
    assert least <= habit.body_bytes_per_token <= most
