"""Counting exchanges: what comes of it, that it is bounded, and that processes add up."""

import orjson
import pytest

from usage.core.event import Attempt, CacheOutcome, Closing, ExchangeStatus
from usage.core.tally import (
    OTHER,
    SECONDS,
    SERIES_MAX,
    Histogram,
    Tally,
    added,
    cumulated,
    read_snapshot,
)
from usage.core.tokens import TokenUsage


def a_closing(upstream: str = "main") -> Closing:
    return Closing(
        status=ExchangeStatus.COMPLETED,
        http_status=200,
        error_type="",
        model_answered="claude-a",
        upstream=upstream,
        upstream_request_id="",
        attempts=(Attempt("spare", "529", 20), Attempt(upstream, "answered", 700)),
        cache=CacheOutcome.MISS,
        cache_source="",
        usage=TokenUsage(input_tokens=10, output_tokens=4),
        charged_tokens=14,
        cost_nanousd=500,
        saved_tokens=0,
        saved_nanousd=0,
        estimated=False,
        first_byte_ms=800,
        total_ms=4000,
    )


def test_an_exchange_is_counted_by_model_account_outcome_and_cache():
    tally = Tally()
    tally.exchange("claude-a", a_closing())
    counters = tally.snapshot({}).counters
    assert counters["exchanges", "claude-a", "main", "completed", "miss"] == 1
    assert counters["tokens", "claude-a", "input"] == 10
    assert counters["cost_nanousd", "claude-a"] == 500
    assert counters["upstream_attempts", "spare", "529"] == 1


def test_times_of_all_accounts_of_a_model_are_one_histogram():
    tally = Tally()
    tally.exchange("claude-a", a_closing())
    tally.exchange("claude-a", a_closing("spare"))
    found = tally.snapshot({}).histograms["exchange_first_byte_seconds", "claude-a"]
    assert (sum(found.counts), found.total) == (2, 1.6)


@pytest.mark.parametrize(("seconds", "bucket"), [(0.05, 0), (0.051, 1), (901, len(SECONDS))])
def test_a_value_is_in_the_first_bucket_whose_bound_is_not_below_it(seconds, bucket):
    histogram = Histogram(SECONDS)
    histogram.observe(seconds)
    assert histogram.counts.index(1) == bucket
    assert cumulated(histogram.counts)[-1] == 1


def test_series_are_bounded_and_nothing_is_lost():
    tally = Tally()
    for number in range(SERIES_MAX + 50):
        tally.count("requests", f"/{number}", "2xx")
        tally.exchange(f"model-{number}", a_closing())
    counters = tally.snapshot({}).counters
    # Attempts at two accounts are among the series.
    assert counters["requests", OTHER, OTHER] == 52
    assert counters["exchanges", OTHER, OTHER, "completed", "miss"] == 50


def test_processes_add_up_by_what_they_left_each_other():
    tally = Tally()
    tally.exchange("claude-a", a_closing())
    own = tally.snapshot({"workers": 1})
    read = read_snapshot(orjson.loads(orjson.dumps(own.as_json())))
    both = added([own, read])
    assert both.counters["tokens", "claude-a", "output"] == 8
    assert both.gauges == {"workers": 2}
    assert sum(both.histograms["exchange_duration_seconds", "claude-a"].counts) == 2
    assert sum(own.histograms["exchange_duration_seconds", "claude-a"].counts) == 1
