import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.core.budget import (
    WINDOW_S_MAX,
    BadBudget,
    BudgetSpec,
    format_amount,
    format_usd,
    format_window,
    nanousd,
    parse_tokens,
    parse_usd,
    parse_window,
)
from keys.core.limits import AMOUNT_MAX, Unit


@pytest.mark.parametrize(
    ("text", "window_s"),
    [
        pytest.param("1s", 1, id="a second"),
        pytest.param("15m", 900, id="15 x 60"),
        pytest.param("5h", 18_000, id="5 x 3600"),
        pytest.param("30d", 2_592_000, id="30 x 86400"),
        pytest.param("2w", 1_209_600, id="14 x 86400"),
        pytest.param("366d", WINDOW_S_MAX, id="the longest"),
    ],
)
def test_windows(text, window_s):
    assert parse_window(text) == window_s


@pytest.mark.parametrize(
    "text", ["", "5", "h", "0h", "05h", "5H", "5 h", "-5h", "1.5h", "5y", "٥h"]
)
def test_what_is_no_window_is_refused(text):
    with pytest.raises(BadBudget, match="is not a window"):
        parse_window(text)


@pytest.mark.parametrize("text", ["367d", "53w", "999999999w"])
def test_a_window_longer_than_a_year_is_refused(text):
    with pytest.raises(BadBudget, match="longer than 366d"):
        parse_window(text)


def test_tokens():
    assert parse_tokens("5000000/5h") == BudgetSpec(Unit.TOKENS, 18_000, 5_000_000)


def test_underscores_group_tokens():
    assert parse_tokens("5_000_000/5h").limit == 5_000_000


def test_zero_is_a_budget_of_nothing():
    assert parse_tokens("0/1d").limit == 0


def test_strict_and_anchored_are_taken_over():
    spec = parse_usd("20/30d", strict=True, anchored=True)
    assert spec == BudgetSpec(Unit.NANOUSD, 2_592_000, 20_000_000_000, True, True)


@pytest.mark.parametrize("text", ["/5h", "5k/5h", "1e6/5h", "-1/5h", "+1/5h", "1.0/5h", "٥/5h"])
def test_what_are_no_tokens_is_refused(text):
    with pytest.raises(BadBudget, match="not a whole number of tokens"):
        parse_tokens(text)


@pytest.mark.parametrize("parse", [parse_tokens, parse_usd])
def test_a_budget_needs_a_window(parse):
    with pytest.raises(BadBudget, match="is not a budget, as in"):
        parse("5000000")


@pytest.mark.parametrize("parse", [parse_tokens, parse_usd])
def test_more_than_can_be_counted_is_refused(parse):
    with pytest.raises(BadBudget, match="more than can be counted exactly"):
        parse(f"{AMOUNT_MAX + 1}/1d")


def test_the_largest_number_of_tokens_is_let_in():
    assert parse_tokens(f"{AMOUNT_MAX}/1d").limit == AMOUNT_MAX


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        pytest.param("20", 20_000_000_000, id="20 x 10**9"),
        pytest.param("0.5", 500_000_000, id="half a dollar"),
        pytest.param("0.000000001", 1, id="the smallest"),
        pytest.param("0", 0, id="nothing"),
    ],
)
def test_dollars_are_whole_nano_dollars(text, amount):
    assert nanousd(text) == amount


@pytest.mark.parametrize(
    "text", ["", "$20", "20 ", "2,5", "1e3", "NaN", "Infinity", "-1", ".5", "5.", "0.0000000001"]
)
def test_what_are_no_dollars_is_refused(text):
    with pytest.raises(BadBudget):
        nanousd(text)


@given(st.integers(min_value=0, max_value=AMOUNT_MAX))
def test_dollars_survive_being_written_and_read(amount):
    assert nanousd(format_usd(amount)) == amount


@given(st.integers(min_value=1, max_value=WINDOW_S_MAX))
def test_windows_survive_being_written_and_read(window_s):
    assert parse_window(format_window(window_s)) == window_s


@pytest.mark.parametrize(
    ("unit", "amount", "text"),
    [
        pytest.param(Unit.TOKENS, 5_000_000, "5,000,000 tokens", id="tokens"),
        pytest.param(Unit.NANOUSD, 20_500_000_000, "20.50 USD", id="dollars"),
        pytest.param(Unit.NANOUSD, 1, "0.000000001 USD", id="a nano-dollar"),
        pytest.param(Unit.TOKENS, None, "unlimited", id="no limit"),
    ],
)
def test_amounts_as_people_read_them(unit, amount, text):
    assert format_amount(unit, amount) == text
