from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage.core.price import Price, PriceBook, cost_nanousd, humane_usd, nanousd_per_token
from usage.core.tokens import TokenUsage


def a_price(model="claude-haiku-4-5", starts_at_ms=0, prompt_tokens_min=0, **rates):
    defaults = {
        "input_nanousd": 1_000,
        "output_nanousd": 5_000,
        "cache_creation_nanousd": 1_250,
        "cache_creation_1h_nanousd": 2_000,
        "cache_read_nanousd": 100,
        "web_search_nanousd": 10_000_000,
    }
    return Price(model, starts_at_ms, prompt_tokens_min, **(defaults | rates))


HAIKU = a_price()
OPUS = a_price("claude-opus-4-6", input_nanousd=5_000, output_nanousd=25_000, us_percent=110)


@pytest.mark.parametrize(
    ("usd_per_mtok", "nanousd"),
    [
        pytest.param("3", 3_000, id="whole dollars"),
        pytest.param("6.25", 6_250, id="cents"),
        pytest.param("0.001", 1, id="the finest price there is"),
        pytest.param("0", 0, id="free"),
    ],
)
def test_a_typed_price_becomes_whole_nanodollars(usd_per_mtok, nanousd):
    assert nanousd_per_token(Decimal(usd_per_mtok)) == nanousd


def test_a_price_finer_than_a_nanodollar_is_refused():
    with pytest.raises(ValueError, match="finer than one nano-dollar"):
        nanousd_per_token(Decimal("0.0005"))


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        pytest.param({"input_tokens": 7}, 7_000, id="input"),
        pytest.param({"output_tokens": 7}, 35_000, id="output"),
        pytest.param({"cache_read_input_tokens": 7}, 700, id="cache read"),
        pytest.param({"cache_creation_input_tokens": 8}, 10_000, id="five-minute write"),
        pytest.param(
            {"cache_creation_input_tokens": 8, "cache_creation_1h_input_tokens": 8},
            16_000,
            id="one-hour write",
        ),
        pytest.param(
            {"cache_creation_input_tokens": 8, "cache_creation_1h_input_tokens": 4},
            13_000,
            id="4 at 1,250 and 4 at 2,000",
        ),
        pytest.param(
            {"cache_creation_1h_input_tokens": 4},
            8_000,
            id="a part larger than its whole is not a discount",
        ),
        pytest.param({"web_search_requests": 2}, 20_000_000, id="web search"),
        pytest.param({}, 0, id="nothing"),
    ],
)
def test_each_kind_has_its_rate(usage, cost):
    assert cost_nanousd(TokenUsage(**usage), HAIKU) == cost


@pytest.mark.parametrize(
    ("geo", "cost"),
    [
        pytest.param("us", 11_000_000 + 10_000_000, id="us: tokens but not searches"),
        pytest.param("", 10_000_000 + 10_000_000, id="no word"),
        pytest.param("eu", 10_000_000 + 10_000_000, id="another word"),
    ],
)
def test_inference_in_the_us_costs_more(geo, cost):
    usage = TokenUsage(input_tokens=2_000, web_search_requests=1, inference_geo=geo)
    assert cost_nanousd(usage, OPUS) == cost


def test_a_fraction_of_a_nanodollar_rounds_up():
    price = a_price(input_nanousd=1, us_percent=110)
    assert cost_nanousd(TokenUsage(input_tokens=1, inference_geo="us"), price) == 2


def test_the_dearest_way_to_bill_a_token():
    price = a_price(cache_creation_1h_nanousd=2_000, output_nanousd=5_000, us_percent=110)
    assert (price.input_nanousd_max, price.output_nanousd_max) == (2_200, 5_500)


def test_an_unknown_model_costs_as_the_dearest_known():
    assert PriceBook((HAIKU, OPUS)).price("claude-next", 10, at_ms=1) is OPUS


def test_a_dated_snapshot_costs_as_its_model():
    assert PriceBook((HAIKU, OPUS)).price("claude-haiku-4-5-20251001", 10, at_ms=1) is HAIKU


def test_a_dated_snapshot_may_have_a_price_of_its_own():
    dated = a_price("claude-haiku-4-5-20251001", input_nanousd=7)
    assert PriceBook((HAIKU, dated)).price("claude-haiku-4-5-20251001", 10, at_ms=1) is dated


@pytest.mark.parametrize(
    ("at_ms", "input_nanousd"),
    [
        pytest.param(999, 1_000, id="before the new list"),
        pytest.param(1_000, 2_000, id="from its first instant"),
        pytest.param(9_999, 2_000, id="long after"),
    ],
)
def test_the_latest_started_list_is_in_force(at_ms, input_nanousd):
    book = PriceBook((HAIKU, a_price(starts_at_ms=1_000, input_nanousd=2_000)))
    assert book.price(HAIKU.model, 10, at_ms).input_nanousd == input_nanousd


@pytest.mark.parametrize(
    ("prompt_tokens", "input_nanousd"),
    [
        pytest.param(199_999, 1_000, id="below the band"),
        pytest.param(200_000, 2_000, id="its first token"),
    ],
)
def test_long_prompts_have_their_band(prompt_tokens, input_nanousd):
    book = PriceBook((HAIKU, a_price(prompt_tokens_min=200_000, input_nanousd=2_000)))
    assert book.price(HAIKU.model, prompt_tokens, at_ms=1).input_nanousd == input_nanousd


def test_a_band_of_an_old_list_never_mixes_with_a_new_one():
    old_band = a_price(prompt_tokens_min=200_000, input_nanousd=2_000)
    new = a_price(starts_at_ms=1_000, input_nanousd=3_000)
    assert PriceBook((HAIKU, old_band, new)).price(HAIKU.model, 300_000, at_ms=1_000) is new


def test_a_model_whose_price_has_not_started_costs_as_the_dearest():
    book = PriceBook((HAIKU, OPUS, a_price("claude-next", starts_at_ms=1_000, input_nanousd=1)))
    assert book.price("claude-next", 10, at_ms=999) is OPUS


def test_prices_that_all_lie_ahead_still_count():
    assert PriceBook((a_price(starts_at_ms=1_000),)).price("claude-next", 10, at_ms=0)


MOMENTS = st.sampled_from([0, 10, 20, 30])
TOKENS = st.sampled_from([0, 5, 10, 15])


def looked_up(prices, model, prompt_tokens, at_ms):
    """Look through all prices: the latest list that has started, and of it the highest band."""
    started = [p for p in prices if p.model == model and p.starts_at_ms <= at_ms]
    latest = max((p.starts_at_ms for p in started), default=None)
    bands = [
        p for p in started if p.starts_at_ms == latest and p.prompt_tokens_min <= prompt_tokens
    ]
    return max(bands, key=lambda p: p.prompt_tokens_min, default=OPUS)


@given(
    lists=st.sets(st.tuples(st.sampled_from(["a", "b"]), MOMENTS, TOKENS), max_size=12),
    order=st.randoms(use_true_random=False),
    model=st.sampled_from(["a", "b", "a-20260101"]),
    prompt_tokens=st.integers(0, 20),
    at_ms=st.integers(0, 40),
)
def test_the_index_finds_what_looking_through_all_prices_finds(
    lists, order, model, prompt_tokens, at_ms
):
    # OPUS is dearer than all of them, so it stands for whatever has no price in force.
    prices = [OPUS, *(a_price(*each) for each in sorted(lists))]
    order.shuffle(prices)
    expected = looked_up(prices, model.partition("-")[0], prompt_tokens, at_ms)
    assert PriceBook(tuple(prices)).price(model, prompt_tokens, at_ms) == expected


def test_an_empty_book_has_no_price():
    with pytest.raises(LookupError):
        PriceBook(()).price("claude-haiku-4-5", 10, at_ms=0)


@pytest.mark.parametrize(
    ("amount_nanousd", "shown"),
    [
        pytest.param(0, "$0.00", id="nothing"),
        pytest.param(1, "<$0.0001", id="next to nothing"),
        pytest.param(99_999, "<$0.0001", id="just below what is shown"),
        pytest.param(100_000, "$0.0001", id="the least that is shown"),
        pytest.param(12_345_678, "$0.0123", id="a cent and a bit"),
        pytest.param(1_000_000_000, "$1.00", id="a dollar"),
        pytest.param(1_234_500_000_000, "$1,234.50", id="a lot"),
    ],
)
def test_dollars_are_shown_as_people_read_them(amount_nanousd, shown):
    assert humane_usd(amount_nanousd) == shown
